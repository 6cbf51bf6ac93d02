//! Reading partitions up to their end: the state of slots, whole topics.
//!
//! Invariant (C26): the end is the *uncommitted* one, taken before reading; reading is `read_committed` and goes on until the
//! position has passed that end. A transaction that was committed but whose marker is still on its way is therefore waited for, and
//! an aborted one is passed. Whoever joins this with committed offsets takes those first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use landscape::Operation;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::Offset;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::context::{Damper, Plain};
use crate::lookup::{Partition, assigned, list, partition_count, positions, watermarks};
use crate::record::Copier;
use crate::refusal::Subject;
use crate::{Client, Error, Record};

/// How long `read_all` waits for a cluster that does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads a set of partitions to their ends.
pub(crate) struct Restorer {
    board: Arc<Board>,
    group: String,
    committed: BaseConsumer<Plain>,
    uncommitted: BaseConsumer<Plain>,
    copier: Copier,
    /// Wanted, their ends not yet taken: topic and partition, or every partition of a topic that has it.
    wanted: Vec<Partition>,
    /// End of each partition that has not been read up to it.
    open: BTreeMap<Partition, i64>,
    damper: Damper,
}

impl Restorer {
    pub(crate) fn new(client: &Client, group: &str) -> Result<Self, Error> {
        Ok(Self {
            board: Arc::clone(&client.board),
            group: group.to_owned(),
            committed: assigned(client, group, true)?,
            uncommitted: assigned(client, group, false)?,
            copier: Copier::default(),
            wanted: Vec::new(),
            open: BTreeMap::new(),
            damper: Damper::default(),
        })
    }

    /// Forgets what was wanted before and wants these, from their beginnings.
    pub(crate) fn want(&mut self, partitions: Vec<Partition>) {
        self.open.clear();
        self.board.reads(&self.group, partitions.iter().map(|(topic, _)| &**topic));
        self.wanted = partitions;
        if self.wanted.is_empty() {
            self.release();
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.wanted.is_empty() && self.open.is_empty()
    }

    pub(crate) fn partition_count(&self, topic: &str) -> Result<i32, Error> {
        partition_count(&self.uncommitted, topic)
    }

    /// Reads for at most about `time`; each record goes to `take`, in the order of its partition. Trouble of the cluster is an error
    /// here and nothing is lost by calling again.
    pub(crate) fn step(&mut self, time: Duration, take: &mut impl FnMut(Record)) -> Result<(), Error> {
        if !self.wanted.is_empty() {
            self.start()?;
        }
        let deadline = Instant::now() + time;
        while !self.open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.committed.poll(left.min(Duration::from_millis(20))) {
                Some(Ok(message)) => {
                    let record = self.copier.copy(&message);
                    drop(message);
                    let partition = (Arc::clone(&record.topic), record.partition);
                    if let Some(end) = self.open.get(&partition) {
                        let at_end = record.offset + 1 >= *end;
                        if record.offset < *end {
                            take(record);
                        }
                        if at_end {
                            self.open.remove(&partition);
                        }
                    }
                }
                Some(Err(error)) => {
                    if let Some(left_out) = self.damper.speak() {
                        tracing::warn!(%error, left_out, "reading state");
                    }
                }
                None => self.pass(),
            }
            if left.is_zero() {
                break;
            }
        }
        if self.open.is_empty() {
            self.release();
        }
        Ok(())
    }

    /// Takes the ends and assigns.
    fn start(&mut self) -> Result<(), Error> {
        let mut open = BTreeMap::new();
        let mut from = Vec::new();
        for (topic, partition) in &self.wanted {
            let (low, end) = watermarks(&self.uncommitted, topic, *partition)?;
            // A reader that starts at the end never gets a position.
            if low < end {
                open.insert((Arc::clone(topic), *partition), end);
                from.push((Arc::clone(topic), *partition, Offset::Offset(low)));
            }
        }
        self.committed.assign(&list(from)).map_err(|source| Error::unreachable("assigning state partitions", source))?;
        self.open = open;
        self.wanted.clear();
        Ok(())
    }

    /// Closes partitions whose position passed the end over markers, aborted records or holes left by compaction.
    fn pass(&mut self) {
        let positions = positions(&self.committed);
        self.open.retain(|(topic, partition), end| {
            positions.get(&(topic.to_string(), *partition)).is_none_or(|position| position < end)
        });
    }

    fn release(&mut self) {
        if let Err(error) = self.committed.unassign() {
            tracing::debug!(%error, "releasing state partitions");
        }
    }
}

/// All committed records of a topic (or of some of its partitions) up to its uncommitted end (C26), in the order of each partition.
/// An empty topic answers at once.
pub async fn read_all(client: &Client, group: &str, topic: &str, partitions: Option<Vec<i32>>) -> Result<Vec<Record>, Error> {
    let client = client.clone();
    let (group, topic): (String, Arc<str>) = (group.to_owned(), topic.into());
    let stop = CancellationToken::new();
    // Dropping the future ends the thread's loop, too.
    let _guard = stop.clone().drop_guard();
    tokio::task::spawn_blocking(move || collect(&client, &group, &topic, partitions, &stop))
        .await
        .map_err(|_| Error::Stopped { what: "reading a topic" })?
}

fn collect(
    client: &Client,
    group: &str,
    topic: &Arc<str>,
    partitions: Option<Vec<i32>>,
    stop: &CancellationToken,
) -> Result<Vec<Record>, Error> {
    let mut restorer = Restorer::new(client, group)?;
    let partitions = match partitions {
        Some(partitions) => partitions,
        None => (0..restorer.partition_count(topic)?).collect(),
    };
    restorer.want(partitions.into_iter().map(|partition| (Arc::clone(topic), partition)).collect());
    let mut records = Vec::new();
    let mut progress = (Instant::now(), 0);
    while !restorer.is_done() {
        let step = restorer.step(Duration::from_millis(100), &mut |record| records.push(record));
        if stop.is_cancelled() {
            return Err(Error::Stopped { what: "reading a topic" });
        }
        match &step {
            Err(Error::MissingTopic(_) | Error::Refused(_)) => return step.map(|()| records),
            // Errors that come at once would otherwise be asked for in a tight loop.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
            Ok(()) => {}
        }
        if records.len() > progress.1 {
            progress = (Instant::now(), records.len());
        }
        if progress.0.elapsed() > PATIENCE {
            return Err(step.err().unwrap_or_else(|| {
                let (what, source) = (format!("reading `{topic}` to its end"), rdkafka::error::KafkaError::NoMessageReceived);
                client.board.error(what, source, Subject::Topic(topic, Operation::Read))
            }));
        }
    }
    Ok(records)
}
