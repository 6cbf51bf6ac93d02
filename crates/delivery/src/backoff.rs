//! How long a record waits before it is tried again: full jitter over a doubling ceiling (delivery.md 5.1, rule 5).

use std::time::Duration;

/// How often and how long a record is tried while the destination serves others; the landscape may set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub attempts: u32,
    /// Time spent waiting in all.
    pub time: Duration,
    /// Ceiling of the first wait.
    pub first: Duration,
    /// Ceiling of every wait.
    pub longest: Duration,
}

impl Budget {
    /// Twelve attempts or two hours of waiting; 1 s to 5 min.
    pub const STANDARD: Budget = Budget {
        attempts: 12,
        time: Duration::from_secs(7200),
        first: Duration::from_secs(1),
        longest: Duration::from_secs(300),
    };

    #[must_use]
    pub fn is_spent(&self, attempts: u32, waited: Duration) -> bool {
        attempts >= self.attempts || waited >= self.time
    }

    /// Wait before attempt `attempts + 1`. `random` is uniform in `[0, 1)` and comes from the caller, so a schedule can be replayed.
    /// A destination's `Retry-After` wins, capped at an hour so that a typo there does not park a record in silence.
    #[must_use]
    pub fn delay(&self, attempts: u32, random: f64, retry_after: Option<Duration>) -> Duration {
        if let Some(asked) = retry_after {
            return asked.min(Duration::from_secs(3600));
        }
        let doubled = self.first.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.longest).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_from_a_second_to_five_minutes_and_jitter_is_full() {
        for (attempts, ceiling) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (40, 300), (400, 300)] {
            assert_eq!(Budget::STANDARD.delay(attempts, 1.0, None), Duration::from_secs(ceiling), "{attempts}");
            assert_eq!(Budget::STANDARD.delay(attempts, 0.0, None), Duration::ZERO);
        }
    }

    #[test]
    fn retry_after_wins() {
        assert_eq!(Budget::STANDARD.delay(7, 0.5, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(Budget::STANDARD.delay(1, 0.5, Some(Duration::from_secs(1 << 40))), Duration::from_secs(3600));
    }

    #[test]
    fn the_budget_ends_by_attempts_or_by_time() {
        assert!(!Budget::STANDARD.is_spent(11, Duration::from_secs(7199)));
        assert!(Budget::STANDARD.is_spent(12, Duration::ZERO));
        assert!(Budget::STANDARD.is_spent(1, Duration::from_secs(7200)));
    }
}
