//! What all slots of one destination share: calls in flight, rate, throttling and the breaker.
//!
//! Invariant: the calls in flight never exceed the limit, and while the destination is down at most one probe is among them.

use std::time::Duration;

use model::Timestamp;

use crate::{
    AnswerClass, Breaker, RateLimit,
    breaker::{Passage, Tolerance},
};

/// How long a destination that says 429 without a time is left alone at first; doubles while it goes on.
const THROTTLE_FIRST: Duration = Duration::from_secs(1);
const THROTTLE_LONGEST: Duration = Duration::from_secs(60);

/// Gate keeper of one destination in one process.
#[derive(Debug)]
pub struct Traffic {
    breaker: Breaker,
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

    /// Asks for one more call and books it when granted.
    pub fn ask(&mut self, now: Timestamp) -> Grant {
        if let Some(until) = self.throttled_until.filter(|until| now < *until) {
            return Grant::Wait(until);
        }
        let is_probe = match self.breaker.passage(now) {
            Passage::Shut(Some(until)) => return Grant::Wait(until),
            Passage::Shut(None) => return Grant::Full,
            Passage::Probe => true,
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
        }
        Grant::Go(Permit { is_probe })
    }

    /// A call ended with an answer. The first part tells whether an attempt of its record counts: not while the destination was
    /// down, because then nobody was served.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is handed back once")]
    pub fn finished(
        &mut self,
        permit: Permit,
        class: AnswerClass,
        retry_after: Option<Duration>,
        now: Timestamp,
    ) -> (bool, Turn) {
        self.in_flight -= 1;
        let was_down = self.breaker.open_since().is_some();
        let changed = self.breaker.answered(class, permit.is_probe, now);
        if class == AnswerClass::Throttled {
            let pause = retry_after.unwrap_or(self.throttle).min(Duration::from_secs(3600));
            self.throttle = (self.throttle * 2).min(THROTTLE_LONGEST);
            let until = now.plus(pause);
            self.throttled_until = Some(self.throttled_until.map_or(until, |before| before.max(until)));
        } else if class.is_alive() {
            self.throttle = THROTTLE_FIRST;
        }
        let turn = match (changed, was_down) {
            (false, _) => Turn::None,
            (true, true) => Turn::CameBack,
            (true, false) => Turn::WentDown,
        };
        (!was_down && self.breaker.open_since().is_none(), turn)
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

    fn go(traffic: &mut Traffic, now: Timestamp) -> Permit {
        match traffic.ask(now) {
            Grant::Go(permit) => permit,
            other => panic!("expected a permit, got {other:?}"),
        }
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
        let (_, turn) = traffic.finished(permit, AnswerClass::Throttled, Some(Duration::from_secs(7)), at(0));
        assert_eq!(turn, Turn::None);
        assert_eq!(traffic.ask(at(6)), Grant::Wait(at(7)));
        for turn in 0..5 {
            let permit = go(&mut traffic, at(7));
            let (counts, changed) = traffic.finished(permit, AnswerClass::Destination, None, at(7));
            assert_eq!((counts, changed), if turn == 4 { (false, Turn::WentDown) } else { (true, Turn::None) });
        }
        assert_eq!(traffic.ask(at(7)), Grant::Wait(at(8)));
        let probe = go(&mut traffic, at(8));
        assert_eq!(traffic.ask(at(8)), Grant::Full, "one probe at a time");
        let (counts, changed) = traffic.finished(probe, AnswerClass::Retryable, None, at(8));
        assert_eq!((counts, changed), (false, Turn::None), "a probe burns no attempt");
        let probe = go(&mut traffic, at(20));
        assert_eq!(traffic.finished(probe, AnswerClass::Accepted, None, at(20)).1, Turn::CameBack);
    }

    #[test]
    fn a_probe_that_was_given_up_does_not_shut_the_door_for_ever() {
        let mut traffic = Traffic::new(2, None, Tolerance::STANDARD);
        for _ in 0..5 {
            let permit = go(&mut traffic, at(0));
            traffic.finished(permit, AnswerClass::Destination, None, at(0));
        }
        let probe = go(&mut traffic, at(1));
        traffic.given_up(probe, at(1));
        assert_eq!(traffic.ask(at(1)), Grant::Wait(at(2)));
        assert!(matches!(traffic.ask(at(2)), Grant::Go(_)));
    }
}
