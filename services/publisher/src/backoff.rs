//! When a source that failed is asked again: one clock for everything that is asked of it.
//!
//! A time that the source named is kept to. Otherwise the wait is random below a ceiling that doubles with every failure, so that
//! publishers that failed together do not come back together; it is never shorter than the source's interval.

use std::time::Duration;

use model::Timestamp;

/// The ceiling ends here: a source that is back is noticed within a minute.
const LONGEST: Duration = Duration::from_secs(60);
/// More is not believed: a slip of the source would silence it for ever.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// How a source fails.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    waiting: Option<Waiting>,
}

/// A source that is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    /// Of the first failure in a row.
    pub(crate) since: Timestamp,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// It is not asked before.
    pub(crate) until: Timestamp,
    /// The source itself named that time.
    pub(crate) is_asked_for: bool,
}

impl Backoff {
    /// How long to leave the source alone. `random` is uniform in `[0, 1)`.
    pub(crate) fn failed(
        &mut self,
        reason: String,
        retry_after: Option<Duration>,
        interval: Duration,
        random: f64,
        now: Timestamp,
    ) -> Duration {
        let failures = self.waiting.as_ref().map_or(0, |waiting| waiting.failures) + 1;
        let doubled = interval.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
        let wait = match retry_after {
            Some(asked) => asked.min(LONGEST_ASKED),
            None => doubled.min(LONGEST).mul_f64(random.clamp(0.0, 1.0)),
        };
        let wait = wait.max(interval);
        let since = self.waiting.as_ref().map_or(now, |waiting| waiting.since);
        let until = now.plus(wait);
        self.waiting = Some(Waiting { reason, since, failures, until, is_asked_for: retry_after.is_some() });
        wait
    }

    pub(crate) fn answered(&mut self) {
        self.waiting = None;
    }

    /// None while the source answers.
    pub(crate) fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> Timestamp {
        Timestamp::from_micros(0)
    }

    #[test]
    fn the_ceiling_doubles_from_twice_the_interval_to_a_minute_and_never_falls_below_the_interval() {
        for (interval, ceilings) in [(1, [2, 4, 8, 16, 32, 60, 60]), (20, [40, 60, 60, 60, 60, 60, 60]), (300, [300; 7])] {
            let (mut high, mut low) = (Backoff::default(), Backoff::default());
            for ceiling in ceilings {
                let wait = |backoff: &mut Backoff, random| backoff.failed("".into(), None, SECOND * interval, random, now());
                assert_eq!(wait(&mut high, 1.0), Duration::from_secs(ceiling));
                assert_eq!(wait(&mut low, 0.0), SECOND * interval);
            }
        }
    }

    #[test]
    fn what_the_source_asks_for_wins_up_to_a_day() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed("429".into(), Some(60 * SECOND), SECOND, 0.3, now()), 60 * SECOND);
        let waiting = backoff.waiting().unwrap();
        assert_eq!((waiting.until, waiting.is_asked_for), (now().plus(60 * SECOND), true));
        assert_eq!(backoff.failed("429".into(), Some(SECOND * u32::MAX), SECOND, 0.3, now()), LONGEST_ASKED);
        assert_eq!(backoff.failed("429".into(), Some(Duration::ZERO), SECOND, 0.3, now()), SECOND);
    }

    #[test]
    fn an_answer_ends_it_and_until_then_the_first_failure_is_remembered() {
        let mut backoff = Backoff::default();
        backoff.failed("500".into(), None, SECOND, 0.5, now());
        backoff.failed("401".into(), None, SECOND, 0.5, now().plus(SECOND));
        let waiting = backoff.waiting().unwrap();
        assert_eq!((waiting.since, waiting.failures, waiting.reason.as_str()), (now(), 2, "401"));
        backoff.answered();
        assert_eq!(backoff.waiting(), None);
    }
}
