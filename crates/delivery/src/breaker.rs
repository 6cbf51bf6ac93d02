//! Tells a destination that is down from a record that is refused (delivery.md 5.3).
//!
//! Invariant: while it is open one probe per interval goes out and nothing else, and nobody counts an attempt.
//! It opens after five destination faults in a row (the landscape may say another number), or when more than half of the last twenty answers were faults or retryable.

use std::{collections::VecDeque, time::Duration};

use model::Timestamp;

use crate::AnswerClass;

const WINDOW: usize = 20;

/// When a destination counts as down and how often it is asked whether it is back; the landscape may set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Faults in a row.
    pub failures: u32,
    pub first_probe: Duration,
    /// The interval doubles up to this.
    pub longest_probe: Duration,
}

impl Tolerance {
    pub const STANDARD: Tolerance =
        Tolerance { failures: 5, first_probe: Duration::from_secs(1), longest_probe: Duration::from_secs(60) };
}

/// State of one destination, shared by all its slots.
#[derive(Debug)]
pub struct Breaker {
    tolerance: Tolerance,
    consecutive: u32,
    /// The last answers, true where one was a fault.
    recent: VecDeque<bool>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since: Timestamp,
    interval: Duration,
    next_probe: Timestamp,
    is_probing: bool,
}

/// What the breaker says to one more call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Free,
    /// The one call that may find out whether the destination is back.
    Probe,
    /// Nothing before this instant; none: a probe is on its way.
    Shut(Option<Timestamp>),
}

impl Breaker {
    #[must_use]
    pub const fn new(tolerance: Tolerance) -> Self {
        Self { tolerance, consecutive: 0, recent: VecDeque::new(), open: None }
    }

    /// Since when the destination counts as down.
    #[must_use]
    pub fn open_since(&self) -> Option<Timestamp> {
        self.open.map(|open| open.since)
    }

    /// When a destination that counts as down is asked again.
    #[must_use]
    pub fn next_probe(&self) -> Option<Timestamp> {
        self.open.map(|open| open.next_probe)
    }

    /// Whether a call may go; changes nothing.
    #[must_use]
    pub fn passage(&self, now: Timestamp) -> Passage {
        match self.open {
            None => Passage::Free,
            Some(open) if open.is_probing => Passage::Shut(None),
            Some(open) if now < open.next_probe => Passage::Shut(Some(open.next_probe)),
            Some(_) => Passage::Probe,
        }
    }

    /// The probe that [`Breaker::passage`] granted is on its way.
    pub fn probe_started(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_probing = true;
        }
    }

    /// The probe did not start: the next call is it.
    pub fn probe_unused(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_probing = false;
        }
    }

    /// The probe ended without an answer of the destination (its task was given up): the next interval tries again.
    pub fn probe_lost(&mut self, now: Timestamp) {
        if let Some(open) = &mut self.open {
            open.is_probing = false;
            open.next_probe = now.plus(open.interval);
        }
    }

    /// Takes an answer in. Returns true when the state changed.
    pub fn answered(&mut self, class: AnswerClass, was_probe: bool, now: Timestamp) -> bool {
        if class.is_alive() {
            self.consecutive = 0;
            self.remember(false);
            let was_open = self.open.take().is_some();
            if was_open {
                self.recent.clear();
            }
            return was_open;
        }
        if let Some(open) = &mut self.open {
            if was_probe {
                open.is_probing = false;
                open.interval = (open.interval * 2).min(self.tolerance.longest_probe);
                open.next_probe = now.plus(open.interval);
            }
            return false;
        }
        self.consecutive = if class == AnswerClass::Destination { self.consecutive + 1 } else { 0 };
        self.remember(true);
        let faults = self.recent.iter().filter(|fault| **fault).count();
        if self.consecutive >= self.tolerance.failures || (self.recent.len() == WINDOW && faults * 2 > WINDOW) {
            let interval = self.tolerance.first_probe;
            self.open = Some(Open { since: now, interval, next_probe: now.plus(interval), is_probing: false });
            self.consecutive = 0;
            self.recent.clear();
            return true;
        }
        false
    }

    fn remember(&mut self, fault: bool) {
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn five_faults_in_a_row_open_it_and_four_do_not() {
        let mut breaker = Breaker::new(Tolerance::STANDARD);
        for _ in 0..4 {
            assert!(!breaker.answered(AnswerClass::Destination, false, at(0)));
        }
        breaker.answered(AnswerClass::Accepted, false, at(0));
        for turn in 0..5 {
            assert_eq!(breaker.answered(AnswerClass::Destination, false, at(1)), turn == 4);
        }
        assert_eq!(breaker.open_since(), Some(at(1)));
    }

    #[test]
    fn more_than_half_of_the_last_twenty_opens_it_retryable_ones_included() {
        let mut breaker = Breaker::new(Tolerance::STANDARD);
        for turn in 0..20 {
            let class = if turn % 2 == 0 { AnswerClass::Retryable } else { AnswerClass::Accepted };
            assert!(!breaker.answered(class, false, at(0)), "half is not more than half");
        }
        assert!(!breaker.answered(AnswerClass::Retryable, false, at(0)), "it pushed another one out");
        assert!(breaker.answered(AnswerClass::Retryable, false, at(0)));
    }

    #[test]
    fn refused_records_never_open_it() {
        let mut breaker = Breaker::new(Tolerance::STANDARD);
        for _ in 0..1000 {
            assert!(!breaker.answered(AnswerClass::Permanent, false, at(0)));
        }
    }

    #[test]
    fn one_probe_per_interval_and_the_interval_doubles_to_a_minute() {
        let mut breaker = Breaker::new(Tolerance::STANDARD);
        for _ in 0..5 {
            breaker.answered(AnswerClass::Destination, false, at(0));
        }
        let mut now = 0;
        for interval in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.passage(at(now)), Passage::Shut(Some(at(now + interval))));
            now += interval;
            assert_eq!(breaker.passage(at(now)), Passage::Probe);
            breaker.probe_started();
            assert_eq!(breaker.passage(at(now)), Passage::Shut(None), "never two probes at once");
            assert!(!breaker.answered(AnswerClass::Retryable, false, at(now)), "a late answer of an older call");
            assert_eq!(breaker.passage(at(now)), Passage::Shut(None));
            breaker.answered(AnswerClass::Destination, true, at(now));
        }
        breaker.probe_started();
        assert!(breaker.answered(AnswerClass::Permanent, true, at(now)), "a refusal proves that it is back");
        assert_eq!(breaker.passage(at(now)), Passage::Free);
    }
}
