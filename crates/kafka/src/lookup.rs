//! Questions to the cluster that block: partition counts, ends, committed offsets. Never asked from a runtime thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use landscape::Operation;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::config::{Role, settings};
use crate::context::{Plain, Watched};
use crate::refusal::{Subject, code, is_missing_right};
use crate::{Cause, Client, Error};

/// One partition of a topic.
pub(crate) type Partition = (Arc<str>, i32);

pub(crate) const ASK: Duration = Duration::from_secs(5);
/// Events that wait in a handle that only asks, at most.
const EVENTS: usize = 50;

/// Waits, unless `stop` comes first. True: go on.
pub(crate) fn wait(runtime: &Handle, stop: &CancellationToken, pause: Duration) -> bool {
    runtime.block_on(async { tokio::time::timeout(pause, stop.cancelled()).await.is_err() })
}

/// A consumer that only `assign()`s.
pub(crate) fn assigned(client: &Client, group: &str, committed_only: bool) -> Result<BaseConsumer<Plain>, Error> {
    settings(client, &Role::Assigned { group, committed_only })?
        .create_with_context(Plain::of(client))
        .map_err(|source| Error::Settings { what: format!("creating a reader for `{group}`"), source: Cause::new(source).into() })
}

/// How many partitions a topic has.
pub(crate) fn partition_count<C: ConsumerContext + Watched>(consumer: &BaseConsumer<C>, topic: &str) -> Result<i32, Error> {
    let subject = Subject::Topic(topic, Operation::Describe);
    let metadata = consumer
        .fetch_metadata(Some(topic), ASK)
        .map_err(|source| trouble(consumer, format!("asking for the partitions of `{topic}`"), source, subject))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found {
        Some(found) if found.error().is_none() && !found.partitions().is_empty() => {
            consumer.client().context().board().works(subject);
            Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))
        }
        Some(found) => match found.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Err(Error::MissingTopic(topic.to_owned()))
            }
            Some(code) => Err(trouble(consumer, format!("asking for `{topic}`"), KafkaError::MetadataFetch(code), subject)),
        },
        None => Err(Error::MissingTopic(topic.to_owned())),
    }
}

/// An error of a question, once the handle was heard out: what it knows of its connections it tells in events.
pub(crate) fn trouble<C: ConsumerContext + Watched>(
    consumer: &BaseConsumer<C>,
    what: String,
    source: KafkaError,
    subject: Subject<'_>,
) -> Error {
    if C::DRAINS {
        for _ in 0..EVENTS {
            if consumer.poll(Duration::ZERO).is_none() {
                break;
            }
        }
    }
    consumer.client().context().board().error(what, source, subject)
}

/// Low watermark and end as this client's isolation level sees it: for the uncommitted end (C26) pass a `read_uncommitted` client.
pub(crate) fn watermarks<C: ConsumerContext + Watched>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), Error> {
    consumer.fetch_watermarks(topic, partition, ASK).map_err(|source| match source.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition) => {
            Error::MissingTopic(topic.to_owned())
        }
        _ => trouble(
            consumer,
            format!("asking for the ends of `{topic}` {partition}"),
            source,
            Subject::Topic(topic, Operation::Describe),
        ),
    })
}

/// Where each partition stands; partitions from which nothing was read yet are missing.
pub(crate) fn positions<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> BTreeMap<(String, i32), i64> {
    let Ok(list) = consumer.position() else { return BTreeMap::new() };
    if list.count() == 0 {
        return BTreeMap::new();
    }
    list.elements()
        .into_iter()
        .filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
        })
        .collect()
}

pub(crate) fn list(partitions: impl IntoIterator<Item = (impl AsRef<str>, i32, Offset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in partitions {
        list.add_partition_offset(topic.as_ref(), partition, offset)
            .expect("every offset of this crate is one that librdkafka can represent");
    }
    list
}

/// Committed offsets, stable ones: asked again while a transaction that carries offsets is still open (P9), and never read as "no
/// offset yet" meanwhile. None for a partition without one.
pub(crate) fn committed<C: ConsumerContext + Watched>(
    consumer: &BaseConsumer<C>,
    group: &str,
    partitions: &[Partition],
    stop: &CancellationToken,
) -> Result<BTreeMap<Partition, Option<i64>>, Error> {
    let subject = Subject::Group(group, Operation::Read);
    // The longest an open transaction can last, and some more for a cluster that is coming back.
    let deadline = Instant::now() + crate::config::TRANSACTION_TIMEOUT * 2;
    let mut found = BTreeMap::new();
    loop {
        let missing: Vec<&Partition> = partitions.iter().filter(|partition| !found.contains_key(*partition)).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let ask = list(missing.iter().map(|(topic, partition)| (topic, *partition, Offset::Invalid)));
        let asked = Instant::now();
        let failed = match consumer.committed_offsets(ask, Duration::from_secs(2)) {
            Ok(answer) => {
                let mut failed = None;
                for element in answer.elements() {
                    let offset = match element.error() {
                        Ok(()) => element.offset(),
                        Err(error) => {
                            failed = Some(error);
                            continue;
                        }
                    };
                    if let Some(partition) = missing.iter().find(|(t, p)| &**t == element.topic() && *p == element.partition()) {
                        let offset = if let Offset::Offset(offset) = offset { Some(offset) } else { None };
                        found.insert((*partition).clone(), offset);
                    }
                }
                failed
            }
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            if stop.is_cancelled() {
                return Err(Error::Stopped { what: "asking for committed offsets" });
            }
            if Instant::now() > deadline {
                return Err(trouble(consumer, "asking for committed offsets".to_owned(), error, subject));
            }
            // Nothing heals it here: the caller tries again, and says so.
            if code(&error).is_some_and(is_missing_right) {
                return Err(trouble(consumer, "asking for committed offsets".to_owned(), error, subject));
            }
            // An answer that came at once and was refused would otherwise be asked for in a tight loop.
            std::thread::sleep(Duration::from_millis(100).saturating_sub(asked.elapsed()));
        }
    }
}
