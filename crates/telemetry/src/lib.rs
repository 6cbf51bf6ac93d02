//! Metric and field names: the one list. Dashboards, alerts, documents and tests are checked against it.
//!
//! A family is declared once, below, with its labels and the services that emit it, and lives in the process's default registry
//! from its first use on. Labels are closed sets (domain, destination, outcome, code, ...): never a key, an offset or an error's
//! text. Times are seconds, sizes bytes.

pub mod field;
pub mod secret;
pub mod trace;

use std::sync::LazyLock;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, register_gauge_vec, register_histogram_vec,
    register_int_counter_vec, register_int_gauge_vec,
};

/// A declared family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Declared {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    /// The services that emit it.
    pub services: &'static [&'static str],
    /// Upper bounds of a histogram; every label set has a series for each of them, one without bound, a sum and a count.
    pub buckets: Option<&'static [f64]>,
    /// True where a quiet, healthy process emits it too; the others wait for their event (a refusal, a recycle).
    pub steady: bool,
}

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// From the source's commit to the destination's acceptance.
const PROPAGATION: &[f64] = &[1., 2., 5., 10., 30., 60., 120., 300., 900., 3600.];
/// One stage or one call.
const CALL: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 15., 60.];
/// Hours that people need.
const PEOPLE: &[f64] = &[60., 300., 900., 3600., 14_400., 28_800., 86_400., 259_200., 604_800.];

macro_rules! declare {
    (@static counter $(#[$doc:meta])* $id:ident $name:literal $help:literal [$($label:literal),*]) => {
        $(#[$doc])*
        pub static $id: LazyLock<IntCounterVec> = LazyLock::new(|| {
            register_int_counter_vec!(Opts::new($name, $help), &[$($label),*]).expect("declared once, in this list")
        });
    };
    (@static gauge $(#[$doc:meta])* $id:ident $name:literal $help:literal [$($label:literal),*]) => {
        $(#[$doc])*
        pub static $id: LazyLock<IntGaugeVec> = LazyLock::new(|| {
            register_int_gauge_vec!(Opts::new($name, $help), &[$($label),*]).expect("declared once, in this list")
        });
    };
    (@static seconds $(#[$doc:meta])* $id:ident $name:literal $help:literal [$($label:literal),*]) => {
        $(#[$doc])*
        pub static $id: LazyLock<GaugeVec> = LazyLock::new(|| {
            register_gauge_vec!(Opts::new($name, $help), &[$($label),*]).expect("declared once, in this list")
        });
    };
    (@static $buckets:ident $(#[$doc:meta])* $id:ident $name:literal $help:literal [$($label:literal),*]) => {
        $(#[$doc])*
        pub static $id: LazyLock<HistogramVec> = LazyLock::new(|| {
            register_histogram_vec!(HistogramOpts::new($name, $help).buckets($buckets.to_vec()), &[$($label),*])
                .expect("declared once, in this list")
        });
    };
    (@kind counter) => { Kind::Counter };
    (@kind gauge) => { Kind::Gauge };
    (@kind seconds) => { Kind::Gauge };
    (@kind $buckets:ident) => { Kind::Histogram };
    (@buckets counter) => { None };
    (@buckets gauge) => { None };
    (@buckets seconds) => { None };
    (@buckets $buckets:ident) => { Some($buckets) };
    ($($kind:ident $id:ident $name:literal [$($label:literal),*] by [$($service:literal),*] $when:ident $help:literal;)*) => {
        $(declare!(@static $kind #[doc = $help] $id $name $help [$($label),*]);)*

        /// Every family of the house, in the order of the documentation.
        pub const CATALOGUE: &[Declared] = &[$(Declared {
            name: $name,
            kind: declare!(@kind $kind),
            labels: &[$($label),*],
            help: $help,
            services: &[$($service),*],
            buckets: declare!(@buckets $kind),
            steady: declare!(@when $when),
        }),*];
    };
    (@when steady) => { true };
    (@when event) => { false };
}

declare! {
    PROPAGATION PROPAGATION_SECONDS "millrace_propagation_seconds" ["domain", "destination"] by ["tracker"] steady
        "Source commit to acceptance by the destination, in seconds.";
    counter PROPAGATION_DEADLINES "millrace_propagation_deadlines_total" ["domain", "destination", "outcome"] by ["tracker"] steady
        "Deadlines met or missed, once per revision and destination, missed at the moment it passes.";
    seconds PROPAGATION_DEADLINE_SECONDS "millrace_propagation_deadline_seconds" ["domain", "destination"] by ["tracker"] steady
        "The promised propagation time.";
    gauge PROPAGATION_WAITING "millrace_propagation_waiting_records" ["domain", "destination", "reason"] by ["tracker"] steady
        "Records waiting now, by why-late reason.";
    seconds PROPAGATION_OLDEST_WAITING "millrace_propagation_oldest_waiting_seconds" ["domain", "destination"] by ["tracker"] steady
        "Age of the oldest record that a destination still lacks; 0 when none.";
    gauge NEEDS_A_PERSON "millrace_needs_a_person" ["kind", "system"] by ["tracker"] steady
        "Records, letters and systems that need a person, as `millrace status` lists them.";
    CALL STAGE_SECONDS "millrace_stage_seconds" ["domain", "stage"] by ["publisher", "validator", "sink"] event
        "Where time goes: capture, validate, wait, deliver, accept.";
    counter RECORDS "millrace_records_total" ["domain", "stage", "destination", "outcome"] by ["publisher", "validator", "sink"] steady
        "Records by what became of them: ok, duplicate, echo, stale, skipped, held, superseded, dead_lettered.";
    counter FINDINGS "millrace_findings_total" ["domain", "rule", "severity"] by ["validator"] event
        "Rule violations.";
    gauge HELD_RECORDS "millrace_held_records" ["domain", "reason"] by ["validator"] steady
        "Changes that wait at the validator for something named.";
    seconds HELD_OLDEST_SECONDS "millrace_held_oldest_seconds" ["domain", "reason"] by ["validator"] steady
        "Age of the oldest held change; 0 when none.";
    counter DESTINATION_REQUESTS "millrace_destination_requests_total" ["destination", "operation", "outcome"] by ["sink"] steady
        "Calls to a destination by class of its answer.";
    CALL DESTINATION_REQUEST_SECONDS "millrace_destination_request_seconds" ["destination", "operation", "outcome"] by ["sink"] event
        "Duration of calls to a destination.";
    gauge DESTINATION_STATE "millrace_destination_state" ["destination", "state"] by ["sink"] steady
        "1 for the state a destination is in, 0 for the others: ok, paused, unavailable, resyncing.";
    seconds DESTINATION_RATE_LIMIT "millrace_destination_rate_limit" ["destination"] by ["sink"] steady
        "Calls a second that the landscape allows; 0 is no limit.";
    gauge PARKED_KEYS "millrace_parked_keys" ["destination", "domain"] by ["sink"] steady
        "Keys stopped at this destination by a permanent error.";
    gauge DEAD_LETTERS_OPEN "millrace_dead_letters_open" ["stage", "destination", "domain", "class"] by ["tracker"] event
        "Dead letters that a person must look at.";
    seconds DEAD_LETTERS_OLDEST_OPEN_SECONDS "millrace_dead_letters_oldest_open_seconds" ["stage", "destination", "domain", "class"]
        by ["tracker"] event
        "Age of the oldest open dead letter.";
    counter DEAD_LETTERS_WRITTEN "millrace_dead_letters_written_total" ["stage", "destination", "domain", "class", "code"]
        by ["publisher", "validator", "sink"] event
        "Dead letters written.";
    counter DEAD_LETTERS_CLOSED "millrace_dead_letters_closed_total" ["stage", "destination", "how"] by ["replayer"] steady
        "Dead letters closed: accepted, superseded, discarded.";
    counter DEAD_LETTER_WRITE_FAILURES "millrace_dead_letter_write_failures_total" ["stage", "destination"]
        by ["publisher", "validator", "sink"] steady
        "Dead letters that could not be written; the slot waits, nothing is dropped.";
    PEOPLE DEAD_LETTER_DETECT_SECONDS "millrace_dead_letter_detect_seconds" ["domain", "class"] by ["tracker"] steady
        "From the source's commit to the dead letter.";
    PEOPLE DEAD_LETTER_RESOLVE_SECONDS "millrace_dead_letter_resolve_seconds" ["domain", "class"] by ["tracker"] steady
        "From the dead letter to its end.";
    counter CORRECTIONS "millrace_corrections_total" ["domain", "kind"] by ["tracker"] steady
        "Manual acts: replay, discard, resend.";
    gauge REPLAY_PLANS "millrace_replay_plans" ["state"] by ["replayer"] steady
        "Replay plans by state.";
    counter REPLAY_RECORDS "millrace_replay_records_total" ["destination", "outcome"] by ["replayer"] steady
        "Letters sent again, and what became of them: sent, accepted, refused.";
    gauge CONSUMER_LAG_RECORDS "millrace_consumer_lag_records" ["group", "topic"] by ["validator", "sink", "replayer"] event
        "Records between the position of this process in the group and the end of the topic.";
    seconds CONSUMER_LAG_SECONDS "millrace_consumer_lag_seconds" ["group", "topic"]
        by ["validator", "sink", "replayer", "tracker"] event
        "At most the age of the next unread record; 0 when there is none. The tracker reads every topic (`*`).";
    counter CONSUMER_REBALANCES "millrace_consumer_rebalances_total" ["group"] by ["validator", "sink", "replayer"] steady
        "Assignments received.";
    counter COMMIT_FAILURES "millrace_commit_failures_total" ["group"] by ["validator", "sink", "replayer"] steady
        "Offset commits that were refused or timed out.";
    counter TRANSACTIONS_ABORTED "millrace_transactions_aborted_total" ["component"] by ["publisher", "validator", "replayer"] steady
        "Transactions aborted and done again.";
    counter PRODUCER_RECYCLES "millrace_producer_recycles_total" ["component"] by ["publisher", "validator", "replayer"] steady
        "Producers thrown away after doubt about a transaction.";
    gauge TORN_SLOTS "millrace_torn_slots" ["group"] by ["validator", "sink"] steady
        "Slots paused because not every topic of theirs is assigned here.";
    counter REVISION_CONFLICTS "millrace_revision_conflicts_total" ["destination", "domain"] by ["sink"] steady
        "A revision accepted before arrived again from another change.";
    seconds SOURCE_LAST_SUCCESS "millrace_source_last_success_timestamp_seconds" ["source"] by ["publisher"] steady
        "When the last complete capture pass ended, Unix time; an empty pass counts. Before the first one: when the publisher began.";
    seconds SOURCE_CURSOR "millrace_source_cursor_timestamp_seconds" ["source", "stream"] by ["publisher"] event
        "Stamp from which a polled stream is read on, Unix time; later than now, nothing new would be read.";
    counter REGISTRY_REQUESTS "millrace_registry_requests_total" ["operation", "outcome"]
        by ["publisher", "validator", "sink", "replayer", "tracker"] steady
        "Requests to the schema registry.";
    CALL REGISTRY_REQUEST_SECONDS "millrace_registry_request_seconds" ["operation", "outcome"]
        by ["publisher", "validator", "sink", "replayer", "tracker"] steady
        "Duration of requests to the schema registry.";
    counter SPANS_DROPPED "millrace_spans_dropped_total" ["reason"]
        by ["publisher", "validator", "sink", "replayer", "tracker"] event
        "Spans that did not reach the collector: the queue was full, an export failed, or the process ended.";
    gauge LANDSCAPE_INFO "millrace_landscape_info" ["policy_version"]
        by ["publisher", "validator", "sink", "replayer", "tracker"] steady
        "1, labelled with the landscape this process runs on.";
    gauge BUILD_INFO "millrace_build_info" ["version", "revision"]
        by ["publisher", "validator", "sink", "replayer", "tracker"] steady
        "1, labelled with this build.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_prefixed_and_no_label_is_one_that_the_scraper_adds() {
        let mut names: Vec<_> = CATALOGUE.iter().map(|family| family.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(count, names.len());
        for family in CATALOGUE {
            assert!(family.name.starts_with("millrace_"), "{}", family.name);
            assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
            for label in family.labels {
                assert!(
                    !["job", "instance", "service", "pod", "namespace", "endpoint"].contains(label),
                    "{}: {label}",
                    family.name
                );
            }
        }
    }

    #[test]
    fn a_family_can_be_used() {
        RECORDS.with_label_values(&["item", "validate", "", "ok"]).inc();
        STAGE_SECONDS.with_label_values(&["item", "validate"]).observe(0.01);
        assert!(prometheus::gather().iter().any(|family| family.name() == "millrace_records_total"));
    }
}
