use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Client, Error, Record};

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
        let _ = (config, stop);
        todo!()
    }
}
