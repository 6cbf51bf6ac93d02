//! What all slots of one destination share: calls in flight, rate, throttling and the breaker.
//!
//! Invariant: the calls in flight never exceed the limit, and while the destination is down at most one probe is among them.
//! Invariant: probes go round: over the slots that wait, and within a slot over its keys. A record that has not failed need not wait for
//! the next probe where one record alone took the destination down, or where everybody is refused alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{Slot, Timestamp, Topical};

use crate::{
    Answer, AnswerClass, Blame, Breaker, Fault, RateLimit, Suspicion, Verdict,
    breaker::{Passage, Tolerance},
};

/// How long a destination that says 429 without a time is left alone at first; doubles while it goes on.
const THROTTLE_FIRST: Duration = Duration::from_secs(1);
const THROTTLE_LONGEST: Duration = Duration::from_secs(60);
/// So long a slot lets the others go first with a probe.
const GRACE: Duration = Duration::from_millis(200);

/// Gate keeper of one destination in one process.
#[derive(Debug)]
pub struct Traffic {
    breaker: Breaker,
    blame: Blame,
    turns: Turns,
    /// Keys that failed since somebody was served; no more than two are told apart.
    culprits: BTreeSet<Topical>,
    /// The last fault was a refusal that everybody gets.
    is_refusing: bool,
    rate: RateLimit,
    concurrency: usize,
    share: f64,
    in_flight: usize,
    throttled_until: Option<Timestamp>,
    throttle: Duration,
}

/// Permission for one call. It must come back through [`Traffic::finished`] or [`Traffic::given_up`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not handed back blocks a place"]
pub struct Permit {
    is_probe: bool,
}

impl Permit {
    /// True for the call that may find out whether the destination is back.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.is_probe
    }
}

/// Whose turn it is to probe.
#[derive(Debug, Default)]
struct Turns {
    probes: u64,
    /// The last probe of each slot.
    last: BTreeMap<Slot, u64>,
    /// Slots that were sent away since the last probe.
    waiting: BTreeSet<Slot>,
}

impl Turns {
    /// Until when this slot has to let another one go first. A slot that does not come back in time has lost its turn.
    fn yields(&mut self, slot: Slot, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let last = |slot: &Slot| self.last.get(slot).copied().unwrap_or(0);
        let until = due.plus(GRACE);
        let is_others = self.waiting.iter().any(|other| *other != slot && last(other) < last(&slot));
        (is_others && now < until).then(|| {
            self.waiting.insert(slot);
            until
        })
    }

    fn probes(&mut self, slot: Slot) {
        self.probes += 1;
        self.last.insert(slot, self.probes);
        self.waiting.clear();
    }
}

/// Answer to one more call.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Grant {
    Go(Permit),
    /// Not before this instant.
    Wait(Timestamp),
    /// When a call in flight ends.
    Full,
}

/// What changed for the people who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    None,
    WentDown,
    CameBack,
}

impl Traffic {
    #[must_use]
    pub fn new(concurrency: usize, per_second: Option<f64>, tolerance: Tolerance) -> Self {
        Self {
            breaker: Breaker::new(tolerance),
            blame: Blame::default(),
            turns: Turns::default(),
            culprits: BTreeSet::new(),
            is_refusing: false,
            rate: RateLimit::new(per_second),
            concurrency: concurrency.max(1),
            share: 1.0,
            in_flight: 0,
            throttled_until: None,
            throttle: THROTTLE_FIRST,
        }
    }

    /// This instance owns `own` of `all` slots, and so that part of the limits.
    pub fn set_share(&mut self, own: usize, all: usize) {
        #[expect(clippy::cast_precision_loss, reason = "slot counts are small")]
        let share = if all == 0 { 1.0 } else { own as f64 / all as f64 };
        self.share = share;
        self.rate.set_share(share);
    }

    /// Calls at once allowed here now; at least one.
    #[must_use]
    pub fn limit(&self) -> usize {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small and positive"
        )]
        let limit = (self.concurrency as f64 * self.share).round() as usize;
        limit.max(1)
    }

    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Since when the destination counts as down.
    #[must_use]
    pub fn down_since(&self) -> Option<Timestamp> {
        self.breaker.open_since()
    }

    /// Until when it asked to be left alone.
    #[must_use]
    pub fn throttled_until(&self) -> Option<Timestamp> {
        self.throttled_until
    }

    /// When a destination that counts as down is asked again.
    #[must_use]
    pub fn next_probe(&self) -> Option<Timestamp> {
        self.breaker.next_probe()
    }

    /// The ledger knows of records that this destination accepted.
    pub fn has_served_before(&mut self) {
        self.blame.has_served_before();
    }

    /// Asks for one more call of this slot and books it when granted. `has_fresh` where a record of it has not failed yet.
    pub fn ask(&mut self, slot: Slot, has_fresh: bool, now: Timestamp) -> Grant {
        if let Some(until) = self.throttled_until.filter(|until| now < *until) {
            return Grant::Wait(until);
        }
        // Nothing is known yet of how it would be served.
        let is_untold = has_fresh && (self.culprits.len() == 1 || self.is_refusing);
        let is_probe = match self.breaker.passage(now) {
            Passage::Shut(Some(until)) if !is_untold => {
                self.turns.waiting.insert(slot);
                return Grant::Wait(until);
            }
            Passage::Shut(None) => {
                self.turns.waiting.insert(slot);
                return Grant::Full;
            }
            Passage::Probe if !is_untold => {
                let due = self.breaker.next_probe().unwrap_or(now);
                if let Some(until) = self.turns.yields(slot, due, now) {
                    return Grant::Wait(until);
                }
                true
            }
            Passage::Shut(Some(_)) | Passage::Probe => true,
            Passage::Free => false,
        };
        if self.in_flight >= self.limit() {
            return Grant::Full;
        }
        let free_at = self.rate.free_at(now);
        if free_at > now {
            return Grant::Wait(free_at);
        }
        self.rate.spend();
        self.in_flight += 1;
        if is_probe {
            self.breaker.probe_started();
            self.turns.probes(slot);
        }
        Grant::Go(Permit { is_probe })
    }

    /// The call of this key ended with an answer. `before` is what was remembered of the record.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is handed back once")]
    pub fn finished(
        &mut self,
        permit: Permit,
        key: &Topical,
        answer: &Answer,
        before: Option<&Suspicion>,
        now: Timestamp,
    ) -> (Verdict, Turn) {
        self.in_flight -= 1;
        let was_down = self.breaker.open_since().is_some();
        let (fault, suspicion) = self.blame.judge(key, answer, before, now);
        let is_own = match fault {
            Fault::Record { .. } => true,
            // One record that others were served beside does not take the destination down alone.
            Fault::Open => answer.class == AnswerClass::Destination && self.culprits.iter().all(|culprit| culprit == key),
            Fault::AsAnswered | Fault::Destination => false,
        };
        let is_held_refusal = answer.class == AnswerClass::Permanent && fault == Fault::Destination;
        let class = if is_held_refusal { AnswerClass::Destination } else { answer.class };
        let changed = if is_own {
            // It says nothing of the destination.
            if permit.is_probe {
                self.breaker.probe_lost(now);
            }
            false
        } else {
            self.breaker.answered(class, permit.is_probe, now)
        };
        if class == AnswerClass::Throttled && !is_own {
            let pause = answer.retry_after.unwrap_or(self.throttle).min(Duration::from_secs(3600));
            self.throttle = (self.throttle * 2).min(THROTTLE_LONGEST);
            let until = now.plus(pause);
            self.throttled_until = Some(self.throttled_until.map_or(until, |before| before.max(until)));
        } else if class.is_alive() {
            self.throttle = THROTTLE_FIRST;
        }
        if class.is_alive() {
            self.culprits.clear();
            self.is_refusing = false;
        } else if !is_own {
            self.is_refusing = is_held_refusal;
            if self.culprits.len() < 2 {
                self.culprits.insert(key.clone());
            }
        }
        let turn = match (changed, was_down) {
            (false, _) => Turn::None,
            (true, true) => Turn::CameBack,
            (true, false) => Turn::WentDown,
        };
        let counts = !was_down && self.breaker.open_since().is_none();
        (Verdict { counts, fault, suspicion }, turn)
    }

    /// A permit was not used, or its call was abandoned without an answer.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is handed back once")]
    pub fn given_up(&mut self, permit: Permit, now: Timestamp) {
        self.in_flight -= 1;
        if permit.is_probe {
            self.breaker.probe_lost(now);
        }
    }

    /// No call was needed after all: the place and the token go back.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is handed back once")]
    pub fn unused(&mut self, permit: Permit) {
        self.in_flight -= 1;
        self.rate.refund();
        if permit.is_probe {
            self.breaker.probe_unused();
        }
    }

    /// Calls a second allowed here now; none is no limit.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.rate.effective()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn key(name: &str) -> Topical {
        Topical::new(model::Domain::Item, model::RecordKey::new(model::Domain::Item, &[name, "A"]).unwrap())
    }

    fn go(traffic: &mut Traffic, now: Timestamp) -> Permit {
        match traffic.ask(Slot(0), false, now) {
            Grant::Go(permit) => permit,
            other => panic!("expected a permit, got {other:?}"),
        }
    }

    fn end(traffic: &mut Traffic, permit: Permit, class: AnswerClass, now: Timestamp) -> (bool, Turn) {
        let retry_after = (class == AnswerClass::Throttled).then_some(Duration::from_secs(7));
        let (verdict, turn) = traffic.finished(permit, &key("a"), &Answer { retry_after, ..Answer::bare(class) }, None, now);
        (verdict.counts, turn)
    }

    #[test]
    fn an_instance_takes_its_share_of_the_places_and_at_least_one() {
        let mut traffic = Traffic::new(16, None, Tolerance::STANDARD);
        for (own, all, places) in [(12, 12, 16), (6, 12, 8), (1, 12, 1), (0, 12, 1)] {
            traffic.set_share(own, all);
            assert_eq!(traffic.limit(), places);
        }
    }

    #[test]
    fn a_throttled_destination_is_left_alone_and_no_attempt_counts_while_it_is_down() {
        let mut traffic = Traffic::new(2, None, Tolerance::STANDARD);
        let permit = go(&mut traffic, at(0));
        let (_, turn) = end(&mut traffic, permit, AnswerClass::Throttled, at(0));
        assert_eq!(turn, Turn::None);
        assert_eq!(traffic.ask(Slot(0), false, at(6)), Grant::Wait(at(7)));
        for turn in 0..5 {
            let permit = go(&mut traffic, at(7));
            let (counts, changed) = end(&mut traffic, permit, AnswerClass::Destination, at(7));
            assert_eq!((counts, changed), if turn == 4 { (false, Turn::WentDown) } else { (true, Turn::None) });
        }
        assert_eq!(traffic.ask(Slot(0), false, at(7)), Grant::Wait(at(8)));
        let probe = go(&mut traffic, at(8));
        assert_eq!(traffic.ask(Slot(0), false, at(8)), Grant::Full, "one probe at a time");
        let (counts, changed) = end(&mut traffic, probe, AnswerClass::Retryable, at(8));
        assert_eq!((counts, changed), (false, Turn::None), "a probe burns no attempt");
        let probe = go(&mut traffic, at(20));
        assert_eq!(end(&mut traffic, probe, AnswerClass::Accepted, at(20)).1, Turn::CameBack);
    }

    #[test]
    fn a_probe_that_was_given_up_does_not_shut_the_door_for_ever() {
        let mut traffic = Traffic::new(2, None, Tolerance::STANDARD);
        for _ in 0..5 {
            let permit = go(&mut traffic, at(0));
            end(&mut traffic, permit, AnswerClass::Destination, at(0));
        }
        let probe = go(&mut traffic, at(1));
        traffic.given_up(probe, at(1));
        assert_eq!(traffic.ask(Slot(0), false, at(1)), Grant::Wait(at(2)));
        assert!(matches!(traffic.ask(Slot(0), false, at(2)), Grant::Go(_)));
    }
}
