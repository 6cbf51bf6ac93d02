//! Calls a second that the landscape allows a destination, shared by the instances that serve it.

use std::time::Duration;

use model::Timestamp;

/// A token bucket that holds at most one tenth of a second, so a quiet destination is not answered with a burst.
#[derive(Clone, Debug)]
pub struct RateLimit {
    per_second: Option<f64>,
    share: f64,
    tokens: f64,
    filled_at: Timestamp,
}

impl RateLimit {
    /// `None` is no limit.
    #[must_use]
    pub fn new(per_second: Option<f64>) -> Self {
        Self { per_second: per_second.filter(|rate| *rate > 0.0), share: 1.0, tokens: 1.0, filled_at: Timestamp::default() }
    }

    /// Takes the part that belongs to this instance: own slots ÷ all slots.
    pub fn set_share(&mut self, share: f64) {
        self.share = share.clamp(0.0, 1.0);
    }

    /// Calls a second allowed here now.
    #[must_use]
    pub fn effective(&self) -> Option<f64> {
        self.per_second.map(|rate| (rate * self.share).max(f64::MIN_POSITIVE))
    }

    /// When the next call may start: `now` or later.
    pub fn free_at(&mut self, now: Timestamp) -> Timestamp {
        let Some(rate) = self.effective() else { return now };
        let most = (rate / 10.0).max(1.0);
        self.tokens = (self.tokens + now.since(self.filled_at).as_secs_f64() * rate).min(most);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            return now;
        }
        now.plus(Duration::from_secs_f64(((1.0 - self.tokens) / rate).min(3600.0)) + Duration::from_micros(1))
    }

    /// A call that was booked did not start.
    pub fn refund(&mut self) {
        if self.per_second.is_some() {
            self.tokens += 1.0;
        }
    }

    /// A call starts.
    pub fn spend(&mut self) {
        if self.per_second.is_some() {
            self.tokens -= 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(rate: &mut RateLimit, seconds: i64) -> usize {
        let (mut now, end, mut count) =
            (Timestamp::from_millis(1_000_000), Timestamp::from_millis(1_000_000 + seconds * 1000), 0);
        while now < end {
            let free = rate.free_at(now);
            if free == now {
                rate.spend();
                count += 1;
            } else {
                now = free;
            }
        }
        count
    }

    #[test]
    fn it_keeps_the_rate_and_its_share_of_it() {
        for (share, most) in [(1.0, 501), (0.5, 251), (0.1, 52)] {
            let mut rate = RateLimit::new(Some(50.0));
            rate.set_share(share);
            let count = started(&mut rate, 10);
            assert!(count <= most + 5 && count + 8 >= most, "{count} with share {share}");
        }
    }

    #[test]
    fn no_limit_never_waits() {
        let mut rate = RateLimit::new(None);
        for _ in 0..1_000_000 {
            assert_eq!(rate.free_at(Timestamp::from_millis(5)), Timestamp::from_millis(5));
            rate.spend();
        }
    }
}
