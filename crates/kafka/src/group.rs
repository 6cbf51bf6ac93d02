//! Membership of a group: the rebalance callback, whole slots, the cure of a stale static assignment, lag.
//!
//! Invariant: partitions are assigned exactly once per rebalance, with explicit offsets (C8), and stand paused until the loop
//! resumes them. Invariant: offsets are committed before a partition is let go, by the hook of the loop that owns the consumer.
//!
//! The callback runs on the thread that polls; what it found waits in `events` for the loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landscape::Operation;
use model::{Slot, Timestamp};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::context::{Voice, Watched};
use crate::error::is_fencing;
use crate::lookup::{Partition, committed, list, watermarks};
use crate::refusal::{Subject, is_missing_right};
use crate::standing::{self, Standing};
use crate::{Cause, Client, Error};

pub(crate) type Member = BaseConsumer<Group>;

/// What a rebalance brought.
pub(crate) enum Rebalanced {
    /// Everything that is assigned now, with the offset each partition starts at. All of it is paused.
    Assigned(BTreeMap<Partition, i64>),
    /// Nothing is assigned any more.
    Revoked,
    Failed(Error),
}

/// Context of a group member.
pub(crate) struct Group {
    name: String,
    voice: Voice,
    stop: CancellationToken,
    events: Mutex<VecDeque<Rebalanced>>,
    standing: Standing,
    before_revoke: Box<dyn Fn(&Member) + Send + Sync>,
}

impl Group {
    pub(crate) fn new(
        client: &Client,
        name: &str,
        topics: &[String],
        stop: CancellationToken,
        before_revoke: impl Fn(&Member) + Send + Sync + 'static,
    ) -> Self {
        client.board.reads(name, topics.iter().map(String::as_str));
        Self {
            name: name.to_owned(),
            voice: Voice::of(client),
            stop,
            events: Mutex::default(),
            standing: Standing::new(name, now()),
            before_revoke: Box::new(before_revoke),
        }
    }

    pub(crate) fn event(&self) -> Option<Rebalanced> {
        lock(&self.events).pop_front()
    }

    pub(crate) fn take_up(&self, topic: &str, at: Timestamp) {
        self.board().works(Subject::Topic(topic, Operation::Read));
        self.standing.take_up(topic, at);
    }

    pub(crate) fn torn(&self, slots: usize) {
        self.standing.torn(slots);
    }

    fn assign(&self, consumer: &Member, assigned: &TopicPartitionList) -> Result<BTreeMap<Partition, i64>, Error> {
        let what = || format!("assigning partitions of group `{}`", self.name);
        let refused = |source| Error::Consumer { group: self.name.clone(), source: Cause::new(source) };
        // `elements` of an empty list panicked (C9).
        if assigned.count() == 0 {
            consumer.assign(assigned).map_err(refused)?;
            return Ok(BTreeMap::new());
        }
        let partitions: Vec<Partition> =
            assigned.elements().iter().map(|element| (Arc::from(element.topic()), element.partition())).collect();
        let mut starts = BTreeMap::new();
        for (partition, offset) in committed(consumer, &self.name, &partitions, &self.stop)? {
            let start = match offset {
                Some(offset) => offset,
                None => self.low(consumer, &partition)?,
            };
            starts.insert(partition, start);
        }
        let explicit = list(starts.iter().map(|((topic, partition), start)| (topic, *partition, Offset::Offset(*start))));
        consumer.assign(&explicit).map_err(refused)?;
        consumer.pause(&explicit).map_err(|source| Error::unreachable(what(), source))?;
        Ok(starts)
    }

    /// A partition nobody committed yet starts at its beginning: fences skip what was seen before (C17).
    fn low(&self, consumer: &Member, (topic, partition): &Partition) -> Result<i64, Error> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match watermarks(consumer, topic, *partition) {
                Ok((low, _)) => return Ok(low),
                Err(error) if self.stop.is_cancelled() || Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.voice.log(level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        let now = now();
        for (topic, state) in &statistics.topics {
            let known: Vec<i64> = state.partitions.values().filter_map(standing::lag).collect();
            let records = (!known.is_empty()).then(|| known.iter().sum());
            self.standing.behind(topic, records, now);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(&error, reason);
    }
}

impl Watched for Group {
    /// Its events belong to the loop.
    const DRAINS: bool = false;

    fn board(&self) -> &Board {
        self.voice.board()
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &Member, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let event = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                telemetry::CONSUMER_REBALANCES.with_label_values(&[&self.name]).inc();
                match self.assign(consumer, partitions) {
                    Ok(starts) => {
                        self.board().works(Subject::Group(&self.name, Operation::Read));
                        Rebalanced::Assigned(starts)
                    }
                    Err(error) => Rebalanced::Failed(error),
                }
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                if partitions.count() > 0 {
                    (self.before_revoke)(consumer);
                }
                match consumer.unassign() {
                    Ok(()) => Rebalanced::Revoked,
                    Err(source) => Rebalanced::Failed(Error::Consumer { group: self.name.clone(), source: Cause::new(source) }),
                }
            }
            other => Rebalanced::Failed(Error::Consumer {
                group: self.name.clone(),
                source: Cause::new(KafkaError::Rebalance(other.into())),
            }),
        };
        lock(&self.events).push_back(event);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Ok(()) => self.board().works(Subject::Group(&self.name, Operation::Read)),
            Err(error) => self.commit_failed(&error),
        }
    }
}

impl Group {
    /// Counted; the offsets go with the next commit, or the next owner reads some records again and fences skip them.
    pub(crate) fn commit_failed(&self, error: &KafkaError) {
        // Nothing was there to commit.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) {
            return;
        }
        if let Some(code) = error.rdkafka_error_code().filter(|code| is_missing_right(*code)) {
            self.board().missing(code, Subject::Group(&self.name, Operation::Read));
        }
        telemetry::COMMIT_FAILURES.with_label_values(&[&self.name]).inc();
        tracing::info!(%error, group = self.name, "offsets not committed");
    }

    /// Commits and waits for the answer. True: the broker took them from this member.
    pub(crate) fn commit_now(&self, consumer: &Member, offsets: &BTreeMap<Partition, i64>) -> bool {
        if offsets.is_empty() {
            return true;
        }
        let offsets = list(offsets.iter().map(|((topic, partition), next)| (topic, *partition, Offset::Offset(*next))));
        match consumer.commit(&offsets, CommitMode::Sync) {
            Ok(()) => {
                self.board().works(Subject::Group(&self.name, Operation::Read));
                true
            }
            Err(error) => {
                self.commit_failed(&error);
                false
            }
        }
    }

    /// An error of `poll`: transport trouble heals and is only counted (C23), a lost identity or lost records do not.
    pub(crate) fn poll_error(&self, error: KafkaError) -> Result<(), Error> {
        match error {
            KafkaError::MessageConsumptionFatal(code) if is_fencing(code) => Err(Error::Fenced { id: self.name.clone() }),
            KafkaError::MessageConsumptionFatal(_) => {
                Err(Error::Consumer { group: self.name.clone(), source: Cause::new(error) })
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {
                Err(Error::OffsetLost { group: self.name.clone(), source: Cause::new(error) })
            }
            _ => {
                self.voice.error(&error, "polling");
                Ok(())
            }
        }
    }
}

/// Slots of an assignment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) whole: BTreeSet<Slot>,
    /// Not every topic of these is here: they stay paused.
    pub(crate) torn: BTreeSet<Slot>,
}

/// Slot p is whole when partition p of every topic is assigned. With a torn one worked on, two members would write one key.
pub(crate) fn slots<'a>(assigned: impl IntoIterator<Item = &'a Partition>, topics: &[String], must_be_whole: bool) -> Slots {
    let mut found: BTreeMap<Slot, BTreeSet<&str>> = BTreeMap::new();
    for (topic, partition) in assigned {
        found.entry(Slot(*partition)).or_default().insert(topic);
    }
    let mut slots = Slots::default();
    for (slot, here) in found {
        let is_whole = !must_be_whole || topics.iter().all(|topic| here.contains(topic.as_str()));
        if is_whole {
            slots.whole.insert(slot)
        } else {
            slots.torn.insert(slot)
        };
    }
    slots
}

/// Joins again, at most once a minute, when the assigned topics are not the subscribed ones: a static member gets its old
/// assignment back whatever it subscribes to now.
#[derive(Default)]
pub(crate) struct Cure(Option<Instant>);

impl Cure {
    pub(crate) fn apply<'a>(
        &mut self,
        consumer: &Member,
        topics: &[String],
        assigned: impl IntoIterator<Item = &'a Partition>,
    ) -> Result<(), Error> {
        let here: BTreeSet<&str> = assigned.into_iter().map(|(topic, _)| &**topic).collect();
        let is_right = here.is_empty() || here.iter().copied().eq(topics.iter().map(String::as_str).collect::<BTreeSet<_>>());
        if is_right || self.0.is_some_and(|last| last.elapsed() < Duration::from_secs(60)) {
            return Ok(());
        }
        self.0 = Some(Instant::now());
        tracing::info!(?here, subscribed = ?topics, "joining again: the assignment is of another subscription");
        consumer.unsubscribe();
        subscribe(consumer, topics)
    }
}

pub(crate) fn subscribe(consumer: &Member, topics: &[String]) -> Result<(), Error> {
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    consumer
        .subscribe(&topics)
        .map_err(|source| Error::Settings { what: format!("subscribing to {topics:?}"), source: Cause::new(source).into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_without_all_its_topics_is_torn_and_a_group_of_one_does_not_care() {
        let topics = ["a".to_owned(), "b".to_owned()];
        let assigned: Vec<Partition> = vec![("a".into(), 0), ("b".into(), 0), ("a".into(), 1), ("b".into(), 2)];
        let found = slots(&assigned, &topics, true);
        assert_eq!(found.whole, BTreeSet::from([Slot(0)]));
        assert_eq!(found.torn, BTreeSet::from([Slot(1), Slot(2)]));
        let found = slots(&assigned, &topics, false);
        assert_eq!(found.whole, BTreeSet::from([Slot(0), Slot(1), Slot(2)]));
        assert!(found.torn.is_empty());
    }
}
