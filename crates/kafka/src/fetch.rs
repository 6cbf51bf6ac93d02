//! Single records by their coordinates.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use landscape::Operation;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use crate::context::{Plain, Watched as _};
use crate::lookup::{assigned, list, positions, watermarks};
use crate::record::Copier;
use crate::refusal::Subject;
use crate::{Client, Error, Record};

const PATIENCE: Duration = Duration::from_secs(15);

/// Reads single records by their coordinates (replay of the exact bytes, provenance of a letter). Cheap to clone; one at a time.
#[derive(Clone)]
pub struct Fetcher {
    committed: Arc<Mutex<BaseConsumer<Plain>>>,
}

impl Fetcher {
    /// `group` is named for its rights, never joined.
    pub fn new(client: &Client, group: &str) -> Result<Self, Error> {
        Ok(Self { committed: Arc::new(Mutex::new(assigned(client, group, true)?)) })
    }

    /// The committed record with exactly this offset. None: compacted away, past retention, a marker, aborted, or not there yet.
    pub async fn fetch(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<Record>, Error> {
        let (committed, topic) = (Arc::clone(&self.committed), topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let consumer = committed.lock().unwrap_or_else(PoisonError::into_inner);
            let found = fetch(&consumer, &topic, partition, offset);
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "releasing a fetched partition");
            }
            found
        })
        .await
        .map_err(|_| Error::Stopped { what: "fetching a record" })?
    }
}

fn fetch(consumer: &BaseConsumer<Plain>, topic: &str, partition: i32, offset: i64) -> Result<Option<Record>, Error> {
    let what = || format!("fetching `{topic}` {partition} {offset}");
    let (low, end) = watermarks(consumer, topic, partition)?;
    if !(low..end).contains(&offset) {
        return Ok(None);
    }
    consumer.assign(&list([(topic, partition, Offset::Offset(offset))])).map_err(|source| Error::unreachable(what(), source))?;
    let deadline = Instant::now() + PATIENCE;
    let mut trouble = KafkaError::NoMessageReceived;
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(20)) {
            // A message left over from an earlier assignment is neither.
            Some(Ok(message)) => {
                let record = Copier::default().copy(&message);
                if &*record.topic != topic || record.partition != partition || record.offset < offset {
                    continue;
                }
                return Ok((record.offset == offset).then_some(record));
            }
            Some(Err(error)) => trouble = error,
            None => {
                let passed = positions(consumer).get(&(topic.to_owned(), partition)).is_some_and(|at| *at > offset);
                if passed {
                    return Ok(None);
                }
            }
        }
    }
    Err(consumer.context().board().error(what(), trouble, Subject::Topic(topic, Operation::Read)))
}
