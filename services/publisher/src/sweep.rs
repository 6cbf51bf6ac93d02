//! What complete readings of a source say: which keys are gone, and which listed ids were never read.
//!
//! Invariant: a key is gone once two complete readings lack it, at least [`Absences::spacing`] apart, and none between them shows it.
//! A list that shifts while it is read leaves out living records.
//!
//! What is counted here does not outlive the process: after a restart the count begins again, which deletes later, never earlier.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

/// Two readings that are closer than this may have met the same hiccup.
const LEAST_SPACING: Duration = Duration::from_secs(30);
/// How long an id that no reading holds is left alone before it is looked for again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// Keys that complete readings lacked.
#[derive(Debug)]
pub(crate) struct Absences {
    spacing: Duration,
    /// Key → end of the first reading that lacked it.
    missing: HashMap<String, Instant>,
}

impl Absences {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { spacing: interval.max(LEAST_SPACING), missing: HashMap::new() }
    }

    /// They live, as any reading shows, complete or not.
    pub(crate) fn seen(&mut self, keys: &HashSet<String>) {
        self.missing.retain(|key, _| !keys.contains(key));
    }

    /// All keys that a complete reading lacked: those of them whose end is not certain yet.
    pub(crate) fn doubted(&mut self, absent: &[String], begun: Instant, ended: Instant) -> Vec<String> {
        let still: HashSet<&String> = absent.iter().collect();
        self.missing.retain(|key, _| still.contains(key));
        let mut doubted = Vec::new();
        for key in absent {
            let first = *self.missing.entry(key.clone()).or_insert(ended);
            if begun < first + self.spacing {
                doubted.push(key.clone());
            }
        }
        doubted
    }

    /// When the next reading can end a doubt.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.missing.values().map(|first| *first + self.spacing).filter(|at| *at > now).min()
    }
}

/// Ids that a sweep listed and nobody has read.
#[derive(Debug)]
pub(crate) struct Unread {
    listed: HashSet<String>,
    /// Those of them that a whole reading did not hold either.
    missed: BTreeSet<String>,
    again: Option<Instant>,
    pause: Duration,
}

impl Unread {
    pub(crate) fn new() -> Self {
        Self { listed: HashSet::new(), missed: BTreeSet::new(), again: None, pause: PAUSES.0 }
    }

    /// The ids of a sweep that are not known.
    pub(crate) fn listed(&mut self, unknown: HashSet<String>) {
        self.missed.retain(|id| unknown.contains(id));
        self.listed = unknown;
    }

    /// After a poll, which may have read what was new: whether it takes a whole reading to find the others.
    pub(crate) fn is_due(&mut self, knows: impl Fn(&str) -> bool, now: Instant) -> bool {
        self.listed.retain(|id| !knows(id));
        self.listed.iter().any(|id| !self.missed.contains(id))
            || (!self.listed.is_empty() && self.again.is_none_or(|again| now >= again))
    }

    /// After a whole reading: what it did not hold, in order.
    pub(crate) fn looked_for(&mut self, knows: impl Fn(&str) -> bool, now: Instant) -> &BTreeSet<String> {
        self.listed.retain(|id| !knows(id));
        self.missed = self.listed.iter().cloned().collect();
        self.pause = if self.missed.is_empty() { PAUSES.0 } else { (self.pause * 2).min(PAUSES.1) };
        self.again = Some(now + self.pause);
        &self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(list: &[&str]) -> Vec<String> {
        list.iter().map(|key| (*key).to_owned()).collect()
    }

    fn set(list: &[&str]) -> HashSet<String> {
        keys(list).into_iter().collect()
    }

    struct Clock(Instant);

    impl Clock {
        fn at(&self, seconds: u64) -> Instant {
            self.0 + Duration::from_secs(seconds)
        }
    }

    #[test]
    fn a_key_is_gone_after_two_readings_that_are_an_interval_apart() {
        let clock = Clock(Instant::now());
        for (interval, spacing) in [(2, 30), (60, 60)] {
            let mut absences = Absences::new(Duration::from_secs(interval));
            assert_eq!(absences.doubted(&keys(&["a"]), clock.at(0), clock.at(5)), ["a"]);
            assert_eq!(absences.next(clock.at(5)), Some(clock.at(5 + spacing)), "counted from the end of the first");
            assert_eq!(absences.doubted(&keys(&["a", "b"]), clock.at(4 + spacing), clock.at(4 + spacing)), ["a", "b"]);
            assert_eq!(absences.doubted(&keys(&["a", "b"]), clock.at(5 + spacing), clock.at(6 + spacing)), ["b"]);
            assert!(absences.doubted(&keys(&["a"]), clock.at(7 + spacing), clock.at(8 + spacing)).is_empty(), "it stays so");
        }
    }

    #[test]
    fn a_key_that_shows_in_between_begins_anew() {
        let clock = Clock(Instant::now());
        let mut absences = Absences::new(Duration::from_secs(30));
        assert_eq!(absences.doubted(&keys(&["a", "b"]), clock.at(0), clock.at(0)).len(), 2);
        absences.seen(&set(&["a"]));
        assert!(absences.doubted(&[], clock.at(10), clock.at(10)).is_empty(), "a complete reading holds both");
        assert_eq!(absences.doubted(&keys(&["a", "b"]), clock.at(40), clock.at(40)), ["a", "b"]);
    }

    #[test]
    fn an_id_that_the_next_poll_reads_needs_no_whole_reading() {
        let clock = Clock(Instant::now());
        let mut unread = Unread::new();
        unread.listed(set(&["new"]));
        assert!(!unread.is_due(|id| id == "new", clock.at(0)));
        unread.listed(set(&["late"]));
        assert!(unread.is_due(|_| false, clock.at(0)));
        assert!(unread.looked_for(|id| id == "late", clock.at(0)).is_empty());
        assert!(!unread.is_due(|_| false, clock.at(0)));
    }

    #[test]
    fn an_id_that_no_reading_holds_is_looked_for_less_and_less_often_and_holds_up_no_other() {
        let clock = Clock(Instant::now());
        let mut unread = Unread::new();
        unread.listed(set(&["ghost"]));
        assert!(unread.is_due(|_| false, clock.at(0)));
        assert_eq!(unread.looked_for(|_| false, clock.at(0)).len(), 1);
        unread.listed(set(&["ghost"]));
        assert!(!unread.is_due(|_| false, clock.at(119)));
        assert!(unread.is_due(|_| false, clock.at(120)));
        unread.looked_for(|_| false, clock.at(120));
        assert!(!unread.is_due(|_| false, clock.at(359)));
        unread.listed(set(&["ghost", "late"]));
        assert!(unread.is_due(|_| false, clock.at(121)));
    }
}
