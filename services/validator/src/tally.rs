//! Metrics of a batch, told when it is durable: an aborted batch counts nothing twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use model::{Domain, Finding, LetterClass, Reason, Timestamp};

const STAGE: &str = "validate";

/// What may happen here, at zero, so that its first time is an increase.
pub(crate) fn zeros(domains: impl Iterator<Item = Domain>) {
    telemetry::DEAD_LETTER_WRITE_FAILURES.with_label_values(&[STAGE, ""]);
    for domain in domains {
        for outcome in ["ok", "duplicate", "stale", "held", "superseded", "dead_lettered", "skipped"] {
            telemetry::RECORDS.with_label_values(&[domain.name(), STAGE, "", outcome]);
        }
    }
}

/// What happened in a batch.
#[derive(Default)]
pub(crate) struct Tally {
    records: Vec<(Domain, &'static str)>,
    findings: Vec<(Domain, String, &'static str)>,
    letters: Vec<(Domain, LetterClass, String)>,
    stages: Vec<(Domain, &'static str, Duration)>,
}

impl Tally {
    /// `ok`, `duplicate`, `stale`, `held`, `superseded`, `dead_lettered`, `skipped`.
    pub(crate) fn record(&mut self, domain: Domain, outcome: &'static str) {
        self.records.push((domain, outcome));
    }

    pub(crate) fn findings(&mut self, domain: Domain, findings: &[Finding]) {
        let rows = findings.iter().map(|finding| (domain, finding.rule_id.clone(), finding.severity.name()));
        self.findings.extend(rows);
    }

    pub(crate) fn letter(&mut self, domain: Domain, class: LetterClass, code: &str) {
        self.letters.push((domain, class, code.to_owned()));
    }

    /// `validate`: from the change's arrival on its topic; `wait`: from when it was first held.
    pub(crate) fn stage(&mut self, domain: Domain, stage: &'static str, duration: Duration) {
        self.stages.push((domain, stage, duration));
    }

    /// The batch is not durable: its letters were not written, and are decided again.
    pub(crate) fn drop_all(&mut self) {
        let letters = self.letters.len() as u64;
        telemetry::DEAD_LETTER_WRITE_FAILURES.with_label_values(&[STAGE, ""]).inc_by(letters);
        *self = Self::default();
    }

    pub(crate) fn tell(&mut self) {
        for (domain, outcome) in self.records.drain(..) {
            telemetry::RECORDS.with_label_values(&[domain.name(), STAGE, "", outcome]).inc();
        }
        for (domain, rule, severity) in self.findings.drain(..) {
            telemetry::FINDINGS.with_label_values(&[domain.name(), rule.as_str(), severity]).inc();
        }
        for (domain, class, code) in self.letters.drain(..) {
            telemetry::DEAD_LETTERS_WRITTEN.with_label_values(&[STAGE, "", domain.name(), class.name(), code.as_str()]).inc();
        }
        for (domain, stage, duration) in self.stages.drain(..) {
            telemetry::STAGE_SECONDS.with_label_values(&[domain.name(), stage]).observe(duration.as_secs_f64());
        }
    }
}

/// How many changes wait, and since when, per domain and reason.
pub(crate) type Waiting = BTreeMap<(Domain, &'static str), (i64, Timestamp)>;

/// The process's held gauges: the sum over its workers.
#[derive(Default)]
pub(crate) struct HeldGauges {
    workers: Mutex<BTreeMap<usize, Waiting>>,
}

impl HeldGauges {
    /// Replaces what `worker` said before and sets the gauges; what no longer waits is 0.
    pub(crate) fn set(&self, worker: usize, waiting: Waiting, domains: impl Iterator<Item = Domain>, now: Timestamp) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.insert(worker, waiting);
        let mut labels: BTreeSet<(Domain, &'static str)> = domains
            .flat_map(|domain| [Reason::Record, Reason::Approval, Reason::Steward].map(|reason| (domain, reason.name())))
            .collect();
        labels.extend(workers.values().flat_map(|waiting| waiting.keys().copied()));
        for (domain, reason) in labels {
            let rows = || workers.values().filter_map(|waiting| waiting.get(&(domain, reason)));
            let count: i64 = rows().map(|(count, _)| count).sum();
            let age = rows().map(|(_, since)| now.since(*since)).max().unwrap_or_default();
            telemetry::HELD_RECORDS.with_label_values(&[domain.name(), reason]).set(count);
            telemetry::HELD_OLDEST_SECONDS.with_label_values(&[domain.name(), reason]).set(age.as_secs_f64());
        }
    }
}
