//! `millrace dlq show`: what happened, who can fix it and how, what differs, what was tried, what to type next.

use model::Timestamp;
use serde_json::Value;

use crate::{
    exit::{Done, Failure, Outcome},
    explain,
    options::Global,
    output::{self, at, instant, integer, text},
    server::Server,
    words,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// As `dlq list` shows it
    id: String,

    /// What failed, in full
    #[arg(long)]
    payload: bool,
}

impl Args {
    pub(crate) async fn run(&self, global: &Global) -> Outcome {
        let answer = Server::find(global)?.get(&super::letter_path(&self.id), &[]).await.map_err(|failure| {
            if failure.is_not_found() {
                Failure::not_found(format!("{}; see `millrace dlq list --state all`", failure.text()))
            } else {
                failure
            }
        })?;
        global.output().object(&answer.body, &self.id, || render(&answer.body, answer.as_of, self.payload))?;
        Ok(Done::Yes)
    }
}

fn render(letter: &Value, now: Timestamp, payload: bool) -> String {
    let mut lines = Lines::default();
    let status = at(letter, "status");
    let stored = at(letter, "letter");
    lines.add("What happened", happened(status));
    lines.add("Rule or code", rule(status, stored));
    lines.add("Who can fix it", fix(status));
    differences(letter, &mut lines);
    for finding in at(stored, "findings").as_array().into_iter().flatten() {
        let observed = text(finding, "observed");
        let observed = if observed.is_empty() { String::new() } else { format!(" (value {observed})") };
        lines.add(
            "Finding",
            format!("{} {}: {}{observed}", text(finding, "rule_id"), text(finding, "path"), text(finding, "message")),
        );
    }
    lines.add("Origin", origin(status, stored, now));
    for step in at(letter, "history").as_array().into_iter().flatten().skip(1) {
        lines.add("History", history(step, now));
    }
    let state = text(status, "state").to_lowercase();
    lines.add("State", closed(status, &state));
    if payload {
        let body = serde_json::to_string_pretty(at(letter, "payload")).unwrap_or_default();
        body.lines().for_each(|line| lines.add("Payload", line.to_owned()));
    }
    let id = text(status, "id");
    if state == "open" {
        let replay = format!("millrace dlq replay {id}      millrace dlq discard {id} --reason \"…\"");
        lines.add("Next", replay);
    } else if state == "discarded" {
        lines.add("Next", format!("millrace dlq replay {id}"));
    }
    lines.text()
}

fn happened(status: &Value) -> String {
    let (system, domain, message) = (text(status, "system"), text(status, "domain"), text(status, "message"));
    let key = text(status, "key");
    let key = if key.is_empty() { text(status, "source_key") } else { key };
    match text(status, "stage").as_str() {
        "DELIVER" => format!("{system} refused {domain} {key} revision {}: {message}", text(status, "revision")),
        "VALIDATE" => format!("{domain} {key} from {} was refused: {message}", text(status, "source")),
        _ => format!("{domain} {key} of {system} could not be captured: {message}"),
    }
}

fn rule(status: &Value, stored: &Value) -> String {
    let (code, field, observed) = (text(status, "code"), text(status, "field"), text(stored, "observed"));
    let mut line = code;
    if !field.is_empty() {
        line.push_str(&format!(", field {field}"));
    }
    if !observed.is_empty() {
        line.push_str(&format!(", value {observed:?}"));
    }
    line
}

fn fix(status: &Value) -> String {
    let (owner, code) = (text(status, "owner"), text(status, "code"));
    let owner = if owner.is_empty() { text(status, "system") } else { owner };
    match explain::what_to_do(&code) {
        Some(what) => format!("{owner}: {what}   (docs/errors/{code}.md)"),
        None => format!("{owner}   (millrace explain {code})"),
    }
}

fn differences(letter: &Value, lines: &mut Lines) {
    let all = at(letter, "differences").as_array().cloned().unwrap_or_default();
    let system = text(letter, "status.system");
    match (at(letter, "sent_revision").as_i64(), at(letter, "there_revision").as_i64()) {
        (Some(sent), Some(there)) => {
            let titles = ["", &format!("sent ({sent})"), &format!("at {system} ({there})")];
            let rows = all.iter().map(|difference| {
                vec![text(difference, "path"), at(difference, "sent").to_string(), at(difference, "there").to_string()]
            });
            if all.is_empty() {
                lines.add("Difference", format!("none between revision {sent} and revision {there}, which {system} has"));
            } else {
                output::grid(Some(&titles), &[], rows).lines().for_each(|line| lines.add("Difference", line.to_owned()));
            }
        }
        (Some(sent), None) => lines.add("Difference", format!("{system} has no revision to compare revision {sent} with")),
        (None, _) => {}
    }
}

fn origin(status: &Value, stored: &Value, now: Timestamp) -> String {
    let topic = text(stored, "topic");
    let place = if topic.is_empty() {
        format!("{} {} of {}", text(status, "domain"), text(status, "source_key"), text(status, "system"))
    } else {
        format!("{topic} {}@{}", integer(stored, "partition"), integer(stored, "offset"))
    };
    let first = instant(status, "opened_at").map(|at| words::clock(at, now)).unwrap_or_default();
    let attempts = integer(stored, "attempts").max(1);
    let tries = if attempts == 1 { "1 try".to_owned() } else { format!("{attempts} tries") };
    format!("{place}, first failed {first} UTC, {tries}")
}

fn history(step: &Value, now: Timestamp) -> String {
    let when = instant(step, "at").map(|at| words::clock(at, now)).unwrap_or_default();
    let mut line = format!("{when} {} by {}", text(step, "state"), text(step, "by"));
    let (plan, reason) = (text(step, "plan"), text(step, "reason"));
    if !plan.is_empty() {
        line.push_str(&format!(", plan {plan}"));
    }
    if !reason.is_empty() {
        line.push_str(&format!(": {reason}"));
    }
    line
}

fn closed(status: &Value, state: &str) -> String {
    let hops = integer(status, "hops");
    let replays = if hops == 0 { String::new() } else { format!(", replayed {}", words::count(hops, "time")) };
    let by = text(status, "closed_by");
    let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
    let helped = if hops >= 5 && state == "open" { "; replaying has not helped (--again to insist)" } else { "" };
    format!("{state}{by}{replays}{helped}")
}

/// Labelled lines; a label that repeats is written once.
#[derive(Default)]
struct Lines {
    text: String,
    last: &'static str,
}

impl Lines {
    fn add(&mut self, label: &'static str, line: String) {
        let shown = if label == self.last { "" } else { label };
        self.last = label;
        self.text.push_str(&format!("{shown:15} {line}\n"));
    }

    fn text(self) -> String {
        self.text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}
