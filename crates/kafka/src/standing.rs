//! What the members of a group say of themselves in gauges: lag and torn slots.
//!
//! Invariant: a gauge is of the group in this process. Several members of one process add up, and what a member said goes with the
//! partitions that it lost, and with the member.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::Timestamp;
use rdkafka::statistics::Partition;

/// Of each group and topic, what each member said: records, and since when the first of them may be there.
static LAGS: Mutex<BTreeMap<(String, String), BTreeMap<u64, Lag>>> = Mutex::new(BTreeMap::new());
static TORN: Mutex<BTreeMap<String, BTreeMap<u64, usize>>> = Mutex::new(BTreeMap::new());
static MEMBERS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
struct Lag {
    records: i64,
    seconds: f64,
}

/// How many records of a partition are unread. librdkafka knows only once it handed one over; where it only fetches so far, the place
/// it fetches from counts. None: not assigned here, or its end is not known.
pub(crate) fn lag(partition: &Partition) -> Option<i64> {
    if partition.consumer_lag >= 0 {
        return Some(partition.consumer_lag);
    }
    let is_fetched = partition.fetch_state == "active" && partition.ls_offset >= 0 && partition.next_offset >= 0;
    is_fetched.then(|| (partition.ls_offset - partition.next_offset).max(0))
}

/// One member.
pub(crate) struct Standing {
    group: String,
    member: u64,
    began: Timestamp,
    topics: Mutex<HashMap<String, Seen>>,
}

/// What bounds the age of the next unread record of a topic from above: it came after the one that was taken up last, and after
/// the last time when there was none.
#[derive(Clone, Copy, Default)]
struct Seen {
    taken: Option<Timestamp>,
    clear: Option<Timestamp>,
}

impl Standing {
    /// A quiet group shows zeros, so that a first rebalance or failure is an increase.
    pub(crate) fn new(group: &str, now: Timestamp) -> Self {
        telemetry::CONSUMER_REBALANCES.with_label_values(&[group]);
        telemetry::COMMIT_FAILURES.with_label_values(&[group]);
        let member = MEMBERS.fetch_add(1, Ordering::Relaxed);
        Self { group: group.to_owned(), member, began: now, topics: Mutex::default() }
    }

    pub(crate) fn take_up(&self, topic: &str, at: Timestamp) {
        let mut topics = lock(&self.topics);
        if let Some(seen) = topics.get_mut(topic) {
            seen.taken = Some(at);
        } else {
            topics.insert(topic.to_owned(), Seen { taken: Some(at), clear: None });
        }
    }

    /// `records` is none where nothing of the topic is assigned here, or its end is not known yet.
    pub(crate) fn behind(&self, topic: &str, records: Option<i64>, now: Timestamp) {
        let lag = {
            let mut topics = lock(&self.topics);
            let seen = match records {
                None => topics.remove(topic).unwrap_or_default(),
                Some(_) => *topics.entry(topic.to_owned()).or_default(),
            };
            match records {
                None => None,
                Some(0) => {
                    topics.insert(topic.to_owned(), Seen { clear: Some(now), ..seen });
                    Some(Lag { records: 0, seconds: 0.0 })
                }
                Some(records) => {
                    let since = seen.taken.max(seen.clear).unwrap_or(self.began);
                    Some(Lag { records, seconds: now.since(since).as_secs_f64() })
                }
            }
        };
        let place = (self.group.clone(), topic.to_owned());
        let mut lags = lock(&LAGS);
        match (lag, lags.contains_key(&place)) {
            // Nobody ever had something of it here.
            (None, false) => return,
            (None, true) => drop(lags.entry(place.clone()).or_default().remove(&self.member)),
            (Some(lag), _) => drop(lags.entry(place.clone()).or_default().insert(self.member, lag)),
        }
        tell(&place, &lags[&place]);
    }

    pub(crate) fn torn(&self, slots: usize) {
        let mut torn = lock(&TORN);
        let members = torn.entry(self.group.clone()).or_default();
        members.insert(self.member, slots);
        tell_torn(&self.group, members);
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        for (place, members) in lock(&LAGS).iter_mut().filter(|((group, _), _)| *group == self.group) {
            if members.remove(&self.member).is_some() {
                tell(place, members);
            }
        }
        if let Some(members) = lock(&TORN).get_mut(&self.group)
            && members.remove(&self.member).is_some()
        {
            tell_torn(&self.group, members);
        }
    }
}

fn tell((group, topic): &(String, String), members: &BTreeMap<u64, Lag>) {
    let records = members.values().map(|lag| lag.records).sum();
    let seconds = members.values().map(|lag| lag.seconds).fold(0.0, f64::max);
    telemetry::CONSUMER_LAG_RECORDS.with_label_values(&[group, topic]).set(records);
    telemetry::CONSUMER_LAG_SECONDS.with_label_values(&[group, topic]).set(seconds);
}

fn tell_torn(group: &str, members: &BTreeMap<u64, usize>) {
    let torn: usize = members.values().sum();
    telemetry::TORN_SLOTS.with_label_values(&[group]).set(i64::try_from(torn).unwrap_or(i64::MAX));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(group: &str, topic: &str) -> (i64, f64) {
        let labels = [group, topic];
        let records = telemetry::CONSUMER_LAG_RECORDS.with_label_values(&labels).get();
        (records, telemetry::CONSUMER_LAG_SECONDS.with_label_values(&labels).get())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn members_of_one_process_add_up_and_what_left_with_them_is_gone() {
        let (one, two) = (Standing::new("adding", at(0)), Standing::new("adding", at(0)));
        one.take_up("t", at(10));
        one.behind("t", Some(5), at(30));
        two.take_up("t", at(25));
        two.behind("t", Some(7), at(30));
        assert_eq!(shown("adding", "t"), (12, 20.0));
        one.behind("t", None, at(31));
        assert_eq!(shown("adding", "t"), (7, 5.0), "its partitions are somebody else's now");
        drop(two);
        assert_eq!(shown("adding", "t"), (0, 0.0));
        one.torn(3);
        assert_eq!(telemetry::TORN_SLOTS.with_label_values(&["adding"]).get(), 3);
        drop(one);
        assert_eq!(telemetry::TORN_SLOTS.with_label_values(&["adding"]).get(), 0);
    }

    #[test]
    fn a_quiet_topic_is_not_behind_for_as_long_as_it_was_quiet() {
        let member = Standing::new("quiet", at(0));
        member.take_up("t", at(100));
        member.behind("t", Some(0), at(86_400));
        member.behind("t", Some(1), at(86_405));
        assert_eq!(shown("quiet", "t"), (1, 5.0));
        // What stands there since the start, and nothing of it was taken up.
        let stuck = Standing::new("stuck", at(1_000));
        stuck.behind("t", Some(9), at(1_400));
        assert_eq!(shown("stuck", "t"), (9, 400.0));
    }
}
