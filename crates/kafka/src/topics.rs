//! Topics: what differs from the wanted set, making it so, and the check at start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::{Role, settings};
use crate::context::Plain;
use crate::{Cause, Client, Error};

const PATIENCE: Duration = Duration::from_secs(30);
/// A question at start comes again by itself, so that one without an answer is soon told.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

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
    /// Not ours to change.
    Impossible {
        topic: String,
        what: Obstacle,
    },
}

/// What only a person can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Another count moves keys (T4): records of one key would lie in two partitions, and nothing would keep their order.
    Partitions { now: i32, wanted: i32 },
    /// More copies need a reassignment, which brokers carry out, not topics.
    Replication { now: i32, wanted: i32 },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Partitions { now: 1, wanted } => write!(f, "1 partition, wanted {wanted}"),
            Obstacle::Partitions { now, wanted } => write!(f, "{now} partitions, wanted {wanted}"),
            Obstacle::Replication { now, wanted } => write!(f, "replication {now}, wanted {wanted}"),
        }
    }
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
    let topics: Vec<Topic> = topics.into_iter().map(Into::into).collect();
    let admin = admin(client)?;
    let existing = layouts(client, PATIENCE).await?;
    let present: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).filter(|name| existing.contains_key(*name)).collect();
    let settings = describe(&admin, &present).await?;
    let mut changes = Vec::new();
    for topic in topics {
        let Some(layout) = existing.get(&topic.name) else {
            changes.push(TopicChange::Create(topic));
            continue;
        };
        for what in layout.differs(&topic) {
            changes.push(TopicChange::Impossible { topic: topic.name.clone(), what });
        }
        let now = settings.get(&topic.name);
        let differing: BTreeMap<_, _> = topic
            .config
            .iter()
            .map(|(name, wanted)| {
                let value = now.and_then(|now| now.get(name)).map(|setting| setting.value.clone());
                (name.clone(), (value, wanted.clone()))
            })
            .filter(|(_, (value, wanted))| value.as_ref() != Some(wanted))
            .collect();
        if !differing.is_empty() {
            changes.push(TopicChange::Configure { topic: topic.name, settings: differing });
        }
    }
    Ok(changes)
}

/// Makes the changes of a plan; `Impossible` ones are an error before anything is touched.
pub async fn apply(client: &Client, changes: &[TopicChange]) -> Result<(), Error> {
    for change in changes {
        if let TopicChange::Impossible { topic, what } = change {
            return Err(Error::Broken(format!("`{topic}` cannot be changed: {what}")));
        }
    }
    let admin = admin(client)?;
    let wanted = changes.iter().filter_map(|change| match change {
        TopicChange::Create(topic) => Some(topic),
        TopicChange::Configure { .. } | TopicChange::Impossible { .. } => None,
    });
    create(client, &admin, wanted.collect()).await?;
    let configured: Vec<(&str, &BTreeMap<_, _>)> = changes
        .iter()
        .filter_map(|change| match change {
            TopicChange::Configure { topic, settings } => Some((topic.as_str(), settings)),
            TopicChange::Create(_) | TopicChange::Impossible { .. } => None,
        })
        .collect();
    // The request sets a topic's whole configuration: what is not named falls back to its default (T9).
    let names: Vec<&str> = configured.iter().map(|(topic, _)| *topic).collect();
    let mut described = describe(&admin, &names).await?;
    for (topic, settings) in configured {
        let mut all: BTreeMap<String, String> = described
            .remove(topic)
            .unwrap_or_default()
            .into_iter()
            .filter(|(_, setting)| setting.is_own)
            .map(|(name, setting)| (name, setting.value))
            .collect();
        all.extend(settings.iter().map(|(name, (_, wanted))| (name.clone(), wanted.clone())));
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in &all {
            alter = alter.set(name, value);
        }
        let what = || format!("configuring `{topic}`");
        let results = admin.alter_configs([&alter], &options()).await.map_err(|source| Error::unreachable(what(), source))?;
        for result in results {
            result.map_err(|(_, code)| Error::unreachable(what(), KafkaError::AdminOp(code)))?;
        }
    }
    Ok(())
}

async fn create(client: &Client, admin: &AdminClient<Plain>, topics: Vec<&Topic>) -> Result<(), Error> {
    if topics.is_empty() {
        return Ok(());
    }
    let new: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            let mut new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication));
            new.config = topic.config.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            new
        })
        .collect();
    let results = admin.create_topics(&new, &options()).await.map_err(|source| Error::unreachable("creating topics", source))?;
    for result in results {
        match result {
            // Somebody else made it between plan and apply: the next plan tells whether it is right.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(Error::unreachable(format!("creating `{topic}`"), KafkaError::AdminOp(code)));
            }
        }
    }
    // Created is not yet known everywhere: whoever writes next must not meet "unknown topic".
    let deadline = Instant::now() + PATIENCE;
    loop {
        let known = layouts(client, PATIENCE).await?;
        match topics.iter().find(|topic| !known.contains_key(&topic.name)) {
            None => return Ok(()),
            Some(topic) if Instant::now() > deadline => return Err(Error::MissingTopic(topic.name.clone())),
            Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// What a service asks at start, again and again: what no waiting heals, a sentence each; nothing: all is right. Brokers that do
/// not answer within `patience` and topics that are not there yet are an error; a wrong topic is told before a missing one.
pub async fn wrong(
    client: &Client,
    topics: impl IntoIterator<Item = impl Into<Topic>>,
    development: bool,
    patience: Duration,
) -> Result<Vec<String>, Error> {
    let (mut wrong, mut missing) = (Vec::new(), Vec::new());
    for problem in find(client, topics, development, patience.clamp(SHORTEST, LONGEST)).await? {
        match problem {
            TopicProblem::Missing { topic } => missing.push(topic),
            TopicProblem::Wrong { topic, what } => wrong.push(format!("topic {topic}: {what}")),
        }
    }
    if wrong.is_empty() && !missing.is_empty() { Err(Error::MissingTopics(missing)) } else { Ok(wrong) }
}

/// What differs from the wanted topics. `development` relaxes replication and `min.insync.replicas`.
pub async fn check(
    client: &Client,
    topics: impl IntoIterator<Item = impl Into<Topic>>,
    development: bool,
) -> Result<Vec<TopicProblem>, Error> {
    find(client, topics, development, PATIENCE).await
}

async fn find(
    client: &Client,
    topics: impl IntoIterator<Item = impl Into<Topic>>,
    development: bool,
    patience: Duration,
) -> Result<Vec<TopicProblem>, Error> {
    let topics: Vec<Topic> = topics.into_iter().map(Into::into).collect();
    let admin = admin(client)?;
    let existing = layouts(client, patience).await?;
    let present: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).filter(|name| existing.contains_key(*name)).collect();
    let settings = describe(&admin, &present).await?;
    let mut problems = Vec::new();
    for topic in &topics {
        let Some(layout) = existing.get(&topic.name) else {
            problems.push(TopicProblem::Missing { topic: topic.name.clone() });
            continue;
        };
        let none = BTreeMap::new();
        let now = settings.get(&topic.name).unwrap_or(&none);
        let value = |name: &str| now.get(name).map_or("", |setting| setting.value.as_str());
        let mut wrong = Vec::new();
        if layout.partitions != topic.partitions {
            wrong.push(Obstacle::Partitions { now: layout.partitions, wanted: topic.partitions }.to_string());
        }
        if let Some(policy) = topic.config.get("cleanup.policy")
            && value("cleanup.policy") != policy
        {
            wrong.push(format!("cleanup.policy is {}, wanted {policy}", value("cleanup.policy")));
        }
        if value("message.timestamp.type") != "LogAppendTime" {
            wrong.push(format!("message.timestamp.type is {}, wanted LogAppendTime", value("message.timestamp.type")));
        }
        if !development {
            if layout.replication < 3 {
                wrong.push(format!("replication {}, wanted at least 3", layout.replication));
            }
            if value("min.insync.replicas").parse::<i32>().is_ok_and(|replicas| replicas < 2) {
                wrong.push(format!("min.insync.replicas is {}, wanted at least 2", value("min.insync.replicas")));
            }
        }
        problems.extend(wrong.into_iter().map(|what| TopicProblem::Wrong { topic: topic.name.clone(), what }));
    }
    Ok(problems)
}

/// Does the cluster answer? Partition counts of all topics.
pub async fn probe(client: &Client, timeout: Duration) -> Result<BTreeMap<String, i32>, Error> {
    Ok(layouts(client, timeout).await?.into_iter().map(|(topic, layout)| (topic, layout.partitions)).collect())
}

struct Layout {
    partitions: i32,
    replication: i32,
}

impl Layout {
    fn differs(&self, topic: &Topic) -> Vec<Obstacle> {
        let mut differences = Vec::new();
        if self.partitions != topic.partitions {
            differences.push(Obstacle::Partitions { now: self.partitions, wanted: topic.partitions });
        }
        if self.replication < topic.replication {
            differences.push(Obstacle::Replication { now: self.replication, wanted: topic.replication });
        }
        differences
    }
}

struct Setting {
    value: String,
    /// Set on the topic itself, not inherited.
    is_own: bool,
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn admin(client: &Client) -> Result<AdminClient<Plain>, Error> {
    settings(client, &Role::Admin)?
        .create_with_context(Plain::default())
        .map_err(|source| Error::Settings { what: "creating an admin client".to_owned(), source: Cause::new(source).into() })
}

async fn layouts(client: &Client, timeout: Duration) -> Result<BTreeMap<String, Layout>, Error> {
    let client = client.clone();
    tokio::task::spawn_blocking(move || {
        let admin = admin(&client)?;
        let metadata = admin
            .inner()
            .fetch_metadata(None, timeout)
            .map_err(|source| Error::unreachable(format!("asking the brokers {} for their topics", client.brokers), source))?;
        let known = metadata.topics().iter().filter(|topic| topic.error().is_none() && !topic.partitions().is_empty());
        Ok(known
            .map(|topic| {
                let replication = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
                let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
                let layout =
                    Layout { partitions: count(topic.partitions().len()), replication: count(replication.unwrap_or_default()) };
                (topic.name().to_owned(), layout)
            })
            .collect())
    })
    .await
    .map_err(|_| Error::Stopped { what: "asking for topics" })?
}

async fn describe(admin: &AdminClient<Plain>, topics: &[&str]) -> Result<BTreeMap<String, BTreeMap<String, Setting>>, Error> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    // The broker takes a request that names a topic twice for a malformed one.
    let distinct: BTreeSet<&str> = topics.iter().copied().collect();
    let resources: Vec<_> = distinct.into_iter().map(ResourceSpecifier::Topic).collect();
    let described =
        admin.describe_configs(&resources, &options()).await.map_err(|source| Error::unreachable("describing topics", source))?;
    let mut found = BTreeMap::new();
    for resource in described {
        let resource = resource.map_err(|code| Error::unreachable("describing topics", KafkaError::AdminOp(code)))?;
        let OwnedResourceSpecifier::Topic(name) = resource.specifier else { continue };
        let entries = resource.entries.into_iter().filter_map(|entry| {
            let is_own = entry.source == ConfigSource::DynamicTopic;
            entry.value.map(|value| (entry.name, Setting { value, is_own }))
        });
        found.insert(name, entries.collect());
    }
    Ok(found)
}
