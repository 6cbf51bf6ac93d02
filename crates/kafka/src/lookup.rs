//! Questions to the cluster that block: partition counts, ends, committed offsets. Never asked from a runtime thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::config::{Role, settings};
use crate::context::Plain;
use crate::{Cause, Client, Error};

/// One partition of a topic.
pub(crate) type Partition = (Arc<str>, i32);

pub(crate) const ASK: Duration = Duration::from_secs(5);

/// Waits, unless `stop` comes first. True: go on.
pub(crate) fn wait(runtime: &Handle, stop: &CancellationToken, pause: Duration) -> bool {
    runtime.block_on(async { tokio::time::timeout(pause, stop.cancelled()).await.is_err() })
}

/// A consumer that only `assign()`s.
pub(crate) fn assigned(client: &Client, group: &str, committed_only: bool) -> Result<BaseConsumer<Plain>, Error> {
    settings(client, &Role::Assigned { group, committed_only })?
        .create_with_context(Plain::default())
        .map_err(|source| Error::Settings { what: format!("creating a reader for `{group}`"), source: Cause::new(source).into() })
}

/// How many partitions a topic has.
pub(crate) fn partition_count<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str) -> Result<i32, Error> {
    let metadata = consumer
        .fetch_metadata(Some(topic), ASK)
        .map_err(|source| Error::unreachable(format!("asking for the partitions of `{topic}`"), source))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found {
        Some(found) if found.error().is_none() && !found.partitions().is_empty() => {
            Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))
        }
        Some(found) => match found.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Err(Error::MissingTopic(topic.to_owned()))
            }
            Some(code) => Err(Error::unreachable(format!("asking for `{topic}`"), KafkaError::MetadataFetch(code))),
        },
        None => Err(Error::MissingTopic(topic.to_owned())),
    }
}

/// Low watermark and end as this client's isolation level sees it: for the uncommitted end (C26) pass a `read_uncommitted` client.
pub(crate) fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), Error> {
    consumer.fetch_watermarks(topic, partition, ASK).map_err(|source| match source.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition) => {
            Error::MissingTopic(topic.to_owned())
        }
        _ => Error::unreachable(format!("asking for the ends of `{topic}` {partition}"), source),
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
pub(crate) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
    stop: &CancellationToken,
) -> Result<BTreeMap<Partition, Option<i64>>, Error> {
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
        let trouble = match consumer.committed_offsets(ask, Duration::from_secs(2)) {
            Ok(answer) => {
                let mut trouble = None;
                for element in answer.elements() {
                    let offset = match element.error() {
                        Ok(()) => element.offset(),
                        Err(error) => {
                            trouble = Some(error);
                            continue;
                        }
                    };
                    if let Some(partition) = missing.iter().find(|(t, p)| &**t == element.topic() && *p == element.partition()) {
                        let offset = if let Offset::Offset(offset) = offset { Some(offset) } else { None };
                        found.insert((*partition).clone(), offset);
                    }
                }
                trouble
            }
            Err(error) => Some(error),
        };
        if let Some(error) = trouble {
            if stop.is_cancelled() {
                return Err(Error::Stopped { what: "asking for committed offsets" });
            }
            if Instant::now() > deadline {
                return Err(Error::unreachable("asking for committed offsets", error));
            }
            // An answer that came at once and was refused would otherwise be asked for in a tight loop.
            std::thread::sleep(Duration::from_millis(100).saturating_sub(asked.elapsed()));
        }
    }
}
