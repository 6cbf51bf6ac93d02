//! What the chart's dashboards and rules ask, and who has been answered.

use anyhow::{Context, Result, ensure};
use chart::monitoring;
use devstack::prometheus::{Prometheus, Sample};
use millrace_e2e::until;

use crate::world::PATIENCE;

/// As Grafana fills them in; the windows hold the whole run.
const VARIABLES: [(&str, &str); 6] =
    [("__rate_interval", "10m"), ("__range", "30m"), ("job", ".+"), ("instance", ".+"), ("domain", ".*"), ("destination", ".*")];

/// Alerts on trouble that this run has none of: what they compare must have an answer, not the comparison.
const UNCAUSED: [(&str, &str); 10] = [
    ("MillraceNeedsAPerson", "what this run brings about has alerts of its own"),
    ("MillraceDeadLetterWriteFailing", "Kafka takes every letter"),
    ("MillraceDeadLettersOpenTooLong", "no letter is four hours old"),
    ("MillraceRevisionConflict", "one validator gives every revision once"),
    ("MillraceSourceSilent", "every source is read"),
    ("MillraceConsumerLagging", "no group is five minutes behind"),
    ("MillraceRebalancing", "no member comes or goes"),
    ("MillraceSlotsTorn", "all members subscribe to the same topics"),
    ("MillraceRecyclesFrequent", "no broker is slow for ten minutes"),
    ("MillraceLandscapeMixed", "all run on one landscape"),
];

/// An alert on polled sources; those of this run drop files. `publisher.rs` looks at what it asks for.
const POLLED: &str = "MillraceSourceCursorAhead";

/// The answer of now.
pub(super) fn ask(prometheus: &Prometheus, expr: &str) -> Result<Vec<Sample>> {
    tokio::task::block_in_place(|| prometheus.ask(expr))
}

#[derive(Clone)]
struct Question {
    place: String,
    expr: String,
    is_answered: bool,
}

/// All of them.
#[derive(Clone)]
pub(super) struct Questions(Vec<Question>);

impl Questions {
    pub(super) fn of_the_chart() -> Result<Self> {
        let question = |place: String, expr: String| Question { place, expr, is_answered: false };
        let mut all = Vec::new();
        for (name, dashboard) in monitoring::dashboards()? {
            let destination = if name == "destination.json" { "mes-pune" } else { ".*" };
            let mut values = VARIABLES;
            values[5].1 = destination;
            for query in monitoring::queries(&name, &dashboard) {
                all.push(question(query.place, monitoring::substituted(&query.expr, &values)));
            }
            for (series, label) in monitoring::variables(&dashboard) {
                let expr = format!("count by ({label}) ({})", monitoring::substituted(&series, &values));
                all.push(question(format!("{name}, variable of {label}"), expr));
            }
        }
        let rules = monitoring::rules()?;
        ensure!(rules.iter().any(|rule| rule.name == POLLED), "{POLLED} is gone");
        for rule in rules.into_iter().filter(|rule| rule.name != POLLED) {
            let expr = match UNCAUSED.iter().find(|(alert, _)| *alert == rule.name) {
                Some((alert, _)) => {
                    let (compared, with) = rule.expr.split_once(" > ").with_context(|| format!("{alert} compares nothing"))?;
                    ensure!(with.starts_with(|digit: char| digit.is_ascii_digit()), "{alert} compares with a number");
                    compared.to_owned()
                }
                None => rule.expr.clone(),
            };
            all.push(question(rule.name.clone(), expr));
            if !rule.is_alert {
                all.push(question(format!("{}, as recorded", rule.name), rule.name));
            }
        }
        ensure!(UNCAUSED.iter().all(|(alert, _)| all.iter().any(|one| one.place == *alert)), "an alert of UNCAUSED is gone");
        Ok(Self(all))
    }

    /// Asks what has not been answered yet. A number that is none (0 / 0 where nothing happened) is no answer.
    pub(super) fn ask_all(&mut self, prometheus: &Prometheus) -> Result<()> {
        for question in self.0.iter_mut().filter(|question| !question.is_answered) {
            let answer = ask(prometheus, &question.expr).with_context(|| question.place.clone())?;
            question.is_answered = answer.iter().any(|sample| !sample.value.is_nan());
        }
        Ok(())
    }

    /// Waits until one is.
    pub(super) async fn answered(&mut self, prometheus: &Prometheus, place: &str) -> Result<()> {
        let question =
            self.0.iter_mut().find(|question| question.place == place).with_context(|| format!("no question {place}"))?;
        let expr = &question.expr;
        until(&format!("an answer for {place}"), PATIENCE, || async {
            match ask(prometheus, expr) {
                Ok(answer) if answer.iter().any(|sample| !sample.value.is_nan()) => Ok(()),
                Ok(answer) => Err(format!("{expr}: {answer:?}")),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await?;
        question.is_answered = true;
        Ok(())
    }

    /// Those without an answer.
    pub(super) fn open(&self) -> Vec<String> {
        self.0
            .iter()
            .filter(|question| !question.is_answered)
            .map(|question| format!("{}: {}", question.place, question.expr))
            .collect()
    }
}
