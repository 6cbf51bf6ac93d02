//! Topics: what differs from the wanted set, making it so, and the check at start.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Client, Error};

/// A wanted topic (`avro::TopicSpec` turns into one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    pub replication: i32,
    pub config: BTreeMap<String, String>,
}

impl From<&avro::TopicSpec> for Topic {
    fn from(spec: &avro::TopicSpec) -> Self {
        Self {
            name: spec.name.clone(),
            partitions: spec.partitions,
            replication: spec.replication.into(),
            config: spec.config.clone(),
        }
    }
}

impl From<&Self> for Topic {
    fn from(topic: &Self) -> Self {
        topic.clone()
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicChange {
    Create(Topic),
    /// Settings that differ: name to (now, wanted). Everything else of the topic stays.
    Configure {
        topic: String,
        settings: BTreeMap<String, (Option<String>, String)>,
    },
    /// Not ours to change: the partition count moves keys (T4), the replication needs a reassignment.
    Impossible {
        topic: String,
        what: String,
    },
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicProblem {
    /// Wait for it.
    Missing { topic: String },
    /// No waiting heals it.
    Wrong { topic: String, what: String },
}

/// What would have to change. Empty: nothing.
pub async fn plan(client: &Client, topics: impl IntoIterator<Item = impl Into<Topic>>) -> Result<Vec<TopicChange>, Error> {
    let _ = (client, topics);
    todo!()
}

/// Makes the changes of a plan; `Impossible` ones are an error before anything is touched.
pub async fn apply(client: &Client, changes: &[TopicChange]) -> Result<(), Error> {
    let _ = (client, changes);
    todo!()
}

/// What a service asks at start. `development` relaxes replication and `min.insync.replicas`.
pub async fn check(
    client: &Client,
    topics: impl IntoIterator<Item = impl Into<Topic>>,
    development: bool,
) -> Result<Vec<TopicProblem>, Error> {
    let _ = (client, topics, development);
    todo!()
}

/// Does the cluster answer? Partition counts of all topics.
pub async fn probe(client: &Client, timeout: Duration) -> Result<BTreeMap<String, i32>, Error> {
    let _ = (client, timeout);
    todo!()
}
