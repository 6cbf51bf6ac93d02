//! Following whole topics: everything that is there, once "caught up", then whatever comes.
//!
//! Invariant (C26): caught up means up to the *uncommitted* end as it was at the start; a view that decides from here on misses
//! nothing that was committed before it started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::Offset;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

use crate::context::{Damper, Plain};
use crate::lookup::{Partition, assigned, list, partition_count, positions, wait, watermarks};
use crate::record::Copier;
use crate::{Cause, Client, Error, Record};

/// Records on their way to the receiver.
const BUFFER: usize = 1000;
/// Positions are looked at after so many records, or when none came.
const LOOK: usize = 500;

/// Reads whole topics without a group membership (tracker, views), committed records only.
pub struct Follower;

/// What to follow, from where.
#[derive(Clone)]
pub struct FollowConfig {
    pub client: Client,
    /// Named for its rights, never joined, nothing is committed.
    pub group: String,
    /// All partitions of each.
    pub topics: Vec<(String, Start)>,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Beginning,
    /// Partition to the next offset to read; partitions not named begin at the beginning.
    Offsets(BTreeMap<i32, i64>),
}

/// What a follower tells.
#[derive(Debug)]
pub enum Followed {
    Record(Record),
    /// Once: everything up to the uncommitted end, as it was at the start, has been handed over (C26).
    CaughtUp,
}

impl Follower {
    /// Starts the follower's thread; it ends, and the channel closes, on `stop` or when the receiver is dropped. A topic that does
    /// not exist, or a cluster that does not answer, is waited for.
    pub fn spawn(config: FollowConfig, stop: CancellationToken) -> Result<mpsc::Receiver<Followed>, Error> {
        config.client.board.reads(&config.group, config.topics.iter().map(|(topic, _)| topic.as_str()));
        let (sender, receiver) = mpsc::channel(BUFFER);
        let follow = Follow {
            committed: assigned(&config.client, &config.group, true)?,
            uncommitted: assigned(&config.client, &config.group, false)?,
            topics: config.topics,
            runtime: Handle::current(),
            sender,
            stop,
            damper: Damper::default(),
            open: BTreeMap::new(),
        };
        std::thread::Builder::new()
            .name(format!("follow {}", config.group))
            .spawn(move || follow.run())
            .map_err(|source| Error::Settings { what: "starting a follower's thread".to_owned(), source: source.into() })?;
        Ok(receiver)
    }
}

struct Follow {
    committed: BaseConsumer<Plain>,
    uncommitted: BaseConsumer<Plain>,
    topics: Vec<(String, Start)>,
    runtime: Handle,
    sender: mpsc::Sender<Followed>,
    stop: CancellationToken,
    damper: Damper,
    /// Uncommitted end of each partition that has not been read up to it.
    open: BTreeMap<Partition, i64>,
}

impl Follow {
    fn run(mut self) {
        let Some(from) = self.begin() else { return };
        if let Err(source) = self.committed.assign(&list(from)) {
            // Only a broken list of ours is refused here.
            tracing::error!(error = %Cause::new(source), "assigning the followed topics");
            return;
        }
        let mut is_caught_up = false;
        let mut copier = Copier::default();
        let mut since_look = 0;
        loop {
            if !is_caught_up && (since_look == 0 || self.open.is_empty()) {
                self.look();
                if self.open.is_empty() {
                    is_caught_up = true;
                    if !self.hand_over(Followed::CaughtUp) {
                        return;
                    }
                }
            }
            if self.stop.is_cancelled() || self.sender.is_closed() {
                return;
            }
            match self.committed.poll(Duration::from_millis(if is_caught_up { 100 } else { 20 })) {
                Some(Ok(message)) => {
                    let record = copier.copy(&message);
                    drop(message);
                    since_look = (since_look + 1) % LOOK;
                    if !is_caught_up {
                        self.reached(&record);
                    }
                    if !self.hand_over(Followed::Record(record)) {
                        return;
                    }
                }
                Some(Err(error)) => {
                    if let Some(left_out) = self.damper.speak() {
                        tracing::warn!(%error, left_out, "following");
                    }
                }
                None => since_look = 0,
            }
        }
    }

    /// Ends first, then where to start. None: stopped.
    fn begin(&mut self) -> Option<Vec<(Arc<str>, i32, Offset)>> {
        loop {
            if self.stop.is_cancelled() || self.sender.is_closed() {
                return None;
            }
            match self.starts() {
                Ok(from) => return Some(from),
                Err(error) => {
                    if let Some(left_out) = self.damper.speak() {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, left_out, "waiting to follow");
                    }
                }
            }
            if !wait(&self.runtime, &self.stop, Duration::from_millis(500)) {
                return None;
            }
        }
    }

    fn starts(&mut self) -> Result<Vec<(Arc<str>, i32, Offset)>, Error> {
        self.open.clear();
        let mut from = Vec::new();
        for (topic, start) in &self.topics {
            let topic: Arc<str> = topic.as_str().into();
            for partition in 0..partition_count(&self.uncommitted, &topic)? {
                let (low, end) = watermarks(&self.uncommitted, &topic, partition)?;
                let first = match start {
                    Start::Beginning => low,
                    // Below the low watermark retention has been; above the end the topic was made anew.
                    Start::Offsets(offsets) => {
                        offsets.get(&partition).copied().filter(|offset| (low..=end).contains(offset)).unwrap_or(low)
                    }
                };
                // A reader that starts at the end never gets a position.
                if first < end {
                    self.open.insert((Arc::clone(&topic), partition), end);
                }
                from.push((Arc::clone(&topic), partition, Offset::Offset(first)));
            }
        }
        Ok(from)
    }

    fn reached(&mut self, record: &Record) {
        let partition = (Arc::clone(&record.topic), record.partition);
        if self.open.get(&partition).is_some_and(|end| record.offset + 1 >= *end) {
            self.open.remove(&partition);
            // The record itself is handed over before anybody looks again.
        }
    }

    /// Ends that were passed over markers, aborted records and holes.
    fn look(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let positions = positions(&self.committed);
        self.open.retain(|(topic, partition), end| {
            positions.get(&(topic.to_string(), *partition)).is_none_or(|position| position < end)
        });
    }

    /// False: nobody listens any more.
    fn hand_over(&self, followed: Followed) -> bool {
        match self.sender.try_send(followed) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(followed)) => self.runtime.block_on(async {
                tokio::select! {
                    sent = self.sender.send(followed) => sent.is_ok(),
                    () = self.stop.cancelled() => false,
                }
            }),
        }
    }
}
