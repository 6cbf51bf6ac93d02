//! What the tracker tells Prometheus: experience.md 9. Counters and histograms move only after the tracker caught up, so a store
//! that is rebuilt does not count history again; gauges follow the store.

use std::collections::{HashMap, HashSet};

use model::{Domain, LetterClass, Reason, Timestamp};
use rusqlite::Connection;

use crate::{
    fleet::Fleet,
    store::{
        Error, Noted,
        query::{
            letters,
            needs::{self, Need, Said},
            overview,
        },
    },
};

/// The group label's topic of a follower that reads every topic.
const EVERY: &str = "*";
/// What a person may do to a record or a letter.
const ACTS: [&str; 3] = ["replay", "discard", "resend"];

/// What may happen here, at zero, so that its first time is an increase.
pub(crate) fn zeros(fleet: &Fleet) {
    let zero = |kind: needs::Kind, system: &str| telemetry::NEEDS_A_PERSON.with_label_values(&[kind.name(), system]).set(0);
    zero(needs::Kind::Behind, "tracker");
    zero(needs::Kind::Quarantined, "validator");
    zero(needs::Kind::Overdue, "validator");
    fleet.sources.keys().chain(fleet.destinations.keys()).for_each(|system| zero(needs::Kind::Silent, system));
    for (destination, part) in &fleet.destinations {
        for domain in part.domains.keys().map(|domain| domain.name()) {
            telemetry::PROPAGATION_SECONDS.with_label_values(&[domain, destination]);
            for outcome in ["met", "missed"] {
                telemetry::PROPAGATION_DEADLINES.with_label_values(&[domain, destination, outcome]);
            }
        }
    }
    for domain in fleet.domains.keys().map(|domain| domain.name()) {
        for act in ACTS {
            telemetry::CORRECTIONS.with_label_values(&[domain, act]);
        }
        for class in LetterClass::SYMBOLS.iter().map(|class| class.name()) {
            telemetry::DEAD_LETTER_DETECT_SECONDS.with_label_values(&[domain, class]);
            telemetry::DEAD_LETTER_RESOLVE_SECONDS.with_label_values(&[domain, class]);
        }
    }
}

/// How old everything is that the tracker says: the age of the newest record it has read, 0 while there are no more.
pub(crate) fn behind(group: &str, as_of: Timestamp, now: Timestamp) {
    telemetry::CONSUMER_LAG_SECONDS.with_label_values(&[group, EVERY]).set(now.since(as_of).as_secs_f64());
}

/// Counts what applying records brought.
pub(crate) fn count(noted: &[Noted]) {
    for noted in noted {
        match noted {
            Noted::Propagated { domain, destination, seconds } => {
                telemetry::PROPAGATION_SECONDS.with_label_values(&[domain.name(), destination]).observe(*seconds);
            }
            Noted::Deadline { domain, destination, met } => {
                let outcome = if *met { "met" } else { "missed" };
                telemetry::PROPAGATION_DEADLINES.with_label_values(&[domain.name(), destination, outcome]).inc();
            }
            Noted::Detected { domain, class, seconds } => {
                telemetry::DEAD_LETTER_DETECT_SECONDS.with_label_values(&[domain, class]).observe(*seconds);
            }
            Noted::Resolved { domain, class, seconds } => {
                telemetry::DEAD_LETTER_RESOLVE_SECONDS.with_label_values(&[domain, class]).observe(*seconds);
            }
            Noted::Corrected { domain, kind } => telemetry::CORRECTIONS.with_label_values(&[domain.as_str(), kind]).inc(),
        }
    }
}

/// A value of every gauge, read from one snapshot.
pub(crate) struct Reading {
    cells: Vec<(Domain, String, overview::Counts)>,
    letters: Vec<letters::OpenGroup>,
    needs: Vec<Need>,
    at: Timestamp,
}

/// # Errors
/// When the store cannot be read.
pub(crate) fn read(sql: &Connection, fleet: &Fleet, as_of: Timestamp, now: Timestamp) -> Result<Reading, Error> {
    let statuses = overview::statuses(sql, fleet)?;
    let standings = overview::standings(sql, fleet, &statuses, now)?;
    let sources = overview::sources(sql, fleet)?;
    let said = Said { destinations: &statuses, sources: &sources };
    let mut cells = Vec::new();
    for ((name, domain), groups) in &standings {
        let state = statuses.get(name).and_then(Option::as_ref).map(|status| status.state).unwrap_or_default();
        cells.push((*domain, (*name).to_owned(), overview::counts(sql, fleet, name, *domain, state, groups, now)?));
    }
    let needs = needs::needs(sql, fleet, &said, &standings, Some(as_of), now)?;
    Ok(Reading { cells, letters: letters::open_groups(sql)?, needs, at: now })
}

/// The gauges, and which label sets they showed last: a set that vanished goes to zero instead of standing still.
#[derive(Default)]
pub(crate) struct Gauges {
    waiting: HashSet<[String; 3]>,
    letters: HashSet<[String; 4]>,
    needs: HashSet<[String; 2]>,
}

impl Gauges {
    pub(crate) fn set(&mut self, reading: &Reading) {
        let mut waiting = HashSet::new();
        for (domain, destination, counts) in &reading.cells {
            let place = [domain.name(), destination.as_str()];
            telemetry::PROPAGATION_OLDEST_WAITING
                .with_label_values(&place)
                .set(counts.oldest_waiting_seconds.unwrap_or_default());
            if let Some(deadline) = counts.deadline_seconds {
                telemetry::PROPAGATION_DEADLINE_SECONDS.with_label_values(&place).set(deadline);
            }
            let refused = Some(("refused", counts.refused)).filter(|(_, count)| *count > 0);
            // A destination that has everything shows a zero instead of nothing.
            let queued = Reason::Queued.name();
            let none = Some((queued, 0)).filter(|_| !counts.reasons.contains_key(queued));
            let reasons = counts.reasons.iter().map(|(reason, count)| (*reason, *count));
            for (reason, count) in reasons.chain(refused).chain(none) {
                telemetry::PROPAGATION_WAITING.with_label_values(&[domain.name(), destination, reason]).set(count);
                waiting.insert([domain.name().to_owned(), destination.clone(), reason.to_owned()]);
            }
        }
        for gone in self.waiting.difference(&waiting) {
            telemetry::PROPAGATION_WAITING.with_label_values(&gone.each_ref().map(String::as_str)).set(0);
        }
        self.waiting = waiting;
        self.set_letters(reading);
        self.set_needs(reading);
    }

    /// The same lines that people read, so that an alert and a screen never disagree.
    fn set_needs(&mut self, reading: &Reading) {
        let mut counts: HashMap<[String; 2], i64> = HashMap::new();
        for need in &reading.needs {
            *counts.entry([need.kind.name().to_owned(), need.system.clone()]).or_default() += need.count;
        }
        for (labels, count) in &counts {
            telemetry::NEEDS_A_PERSON.with_label_values(&labels.each_ref().map(String::as_str)).set(*count);
        }
        let needs: HashSet<_> = counts.into_keys().collect();
        for gone in self.needs.difference(&needs) {
            telemetry::NEEDS_A_PERSON.with_label_values(&gone.each_ref().map(String::as_str)).set(0);
        }
        self.needs = needs;
    }

    fn set_letters(&mut self, reading: &Reading) {
        let mut letters = HashSet::new();
        for group in &reading.letters {
            let destination = if group.stage == "deliver" { group.system.clone() } else { String::new() };
            let labels = [group.stage.clone(), destination, group.domain.clone(), group.class.clone()];
            let names = labels.each_ref().map(String::as_str);
            telemetry::DEAD_LETTERS_OPEN.with_label_values(&names).set(group.count);
            telemetry::DEAD_LETTERS_OLDEST_OPEN_SECONDS
                .with_label_values(&names)
                .set(reading.at.since(group.oldest).as_secs_f64());
            letters.insert(labels);
        }
        for gone in self.letters.difference(&letters) {
            let names = gone.each_ref().map(String::as_str);
            telemetry::DEAD_LETTERS_OPEN.with_label_values(&names).set(0);
            telemetry::DEAD_LETTERS_OLDEST_OPEN_SECONDS.with_label_values(&names).set(0.0);
        }
        self.letters = letters;
    }
}
