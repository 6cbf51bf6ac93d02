//! Topics: what differs from the wanted set, making it so, and the check at start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use landscape::Operation;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;

use crate::config::{Role, settings};
use crate::context::{Plain, Watched as _};
use crate::lookup::trouble;
use crate::refusal::{Refusal, Subject, is_missing_right};
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
    /// It may be there: this identity may not look at it, or not at its settings.
    Refused(Refusal),
    /// No waiting heals it.
    Wrong { topic: String, what: String },
}

/// What would have to change. Empty: nothing.
pub async fn plan(client: &Client, topics: impl IntoIterator<Item = impl Into<Topic>>) -> Result<Vec<TopicChange>, Error> {
    let topics: Vec<Topic> = topics.into_iter().map(Into::into).collect();
    let existing = layouts(client, PATIENCE, names(&topics)).await?;
    let settings = settings_of(client, &topics, &existing).await?;
    // A plan without what cannot be seen would be wrong.
    let unseen = existing.values().filter_map(|layout| layout.as_ref().err());
    let unseen: Vec<Refusal> = unseen.chain(settings.values().filter_map(|found| found.as_ref().err())).cloned().collect();
    if !unseen.is_empty() {
        return Err(Error::Refused(unseen));
    }
    let mut changes = Vec::new();
    for topic in topics {
        let Some(Ok(layout)) = existing.get(&topic.name) else {
            changes.push(TopicChange::Create(topic));
            continue;
        };
        for what in layout.differs(&topic) {
            changes.push(TopicChange::Impossible { topic: topic.name.clone(), what });
        }
        let now = settings.get(&topic.name).and_then(|found| found.as_ref().ok());
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
    let mut described = describe(client, &admin, &names).await?;
    for (topic, settings) in &configured {
        let mut all: BTreeMap<String, String> = described
            .remove(*topic)
            .transpose()
            .map_err(|refusal| Error::Refused(vec![refusal]))?
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
        let subject = Subject::Topic(topic, Operation::AlterConfigs);
        let told = |source| client.board.error(what(), source, subject);
        for result in admin.alter_configs([&alter], &options()).await.map_err(told)? {
            result.map_err(|(_, code)| told(KafkaError::AdminOp(code)))?;
        }
    }
    settled(client, &admin, &configured).await
}

/// Name to what it is and what it shall be.
type Differences = BTreeMap<String, (Option<String>, String)>;

/// A setting that was taken is not yet told by every broker: whoever plans next must not meet the old one.
async fn settled(client: &Client, admin: &AdminClient<Plain>, configured: &[(&str, &Differences)]) -> Result<(), Error> {
    let names: Vec<&str> = configured.iter().map(|(topic, _)| *topic).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let described = describe(client, admin, &names).await?;
        let is_set = |topic: &str, name: &str, wanted: &String| {
            let now = described.get(topic).and_then(|found| found.as_ref().ok()?.get(name));
            now.is_some_and(|setting| setting.value == *wanted)
        };
        let all = configured.iter().all(|(topic, settings)| settings.iter().all(|(name, (_, value))| is_set(topic, name, value)));
        if all || Instant::now() > deadline {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
    let told = |source| client.board.error("creating topics", source, Subject::Cluster);
    let results = admin.create_topics(&new, &options()).await.map_err(told)?;
    for result in results {
        match result {
            // Somebody else made it between plan and apply: the next plan tells whether it is right.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let subject = Subject::Topic(&topic, Operation::Create);
                return Err(client.board.error(format!("creating `{topic}`"), KafkaError::AdminOp(code), subject));
            }
        }
    }
    // Created is not yet known everywhere: whoever writes next must not meet "unknown topic".
    let deadline = Instant::now() + PATIENCE;
    loop {
        let known = layouts(client, PATIENCE, Vec::new()).await?;
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
    let (mut wrong, mut missing, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for problem in find(client, topics, development, patience.clamp(SHORTEST, LONGEST)).await? {
        match problem {
            TopicProblem::Missing { topic } => missing.push(topic),
            TopicProblem::Refused(refusal) => refused.push(refusal),
            TopicProblem::Wrong { topic, what } => wrong.push(format!("topic {topic}: {what}")),
        }
    }
    if !wrong.is_empty() {
        Ok(wrong)
    } else if !missing.is_empty() {
        Err(Error::MissingTopics(missing))
    } else if !refused.is_empty() {
        Err(Error::Refused(refused))
    } else {
        Ok(Vec::new())
    }
}

/// Every topic has to take a batch of this size (Kafka's own default): [`model::Outgoing::LARGEST`], with room to spare.
pub(crate) const TAKEN_BYTES: usize = 1_048_588;

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
    let existing = layouts(client, patience, names(&topics)).await?;
    let settings = settings_of(client, &topics, &existing).await?;
    let mut problems = Vec::new();
    let none = BTreeMap::new();
    for topic in &topics {
        let layout = match existing.get(&topic.name) {
            Some(Ok(layout)) => layout,
            Some(Err(refusal)) => {
                problems.push(TopicProblem::Refused(refusal.clone()));
                continue;
            }
            None => {
                problems.push(TopicProblem::Missing { topic: topic.name.clone() });
                continue;
            }
        };
        let now = match settings.get(&topic.name) {
            Some(Ok(now)) => now,
            Some(Err(refusal)) => {
                problems.push(TopicProblem::Refused(refusal.clone()));
                continue;
            }
            None => &none,
        };
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
        if let Ok(takes) = value("max.message.bytes").parse::<usize>()
            && takes < TAKEN_BYTES
        {
            wrong.push(format!("max.message.bytes is {takes}, wanted at least {TAKEN_BYTES}"));
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
    let found = layouts(client, timeout, Vec::new()).await?.into_iter();
    Ok(found.filter_map(|(topic, layout)| Some((topic, layout.ok()?.partitions))).collect())
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
        .create_with_context(Plain::of(client))
        .map_err(|source| Error::Settings { what: "creating an admin client".to_owned(), source: Cause::new(source).into() })
}

fn names(topics: &[Topic]) -> Vec<String> {
    topics.iter().map(|topic| topic.name.clone()).collect()
}

/// A topic as this identity sees it, or why it does not.
type Seen<T> = Result<T, Refusal>;

/// Every topic that there is; of `wanted`, also those that are kept from this identity. The list of all topics leaves these out, so they
/// are asked for by name.
async fn layouts(client: &Client, timeout: Duration, wanted: Vec<String>) -> Result<BTreeMap<String, Seen<Layout>>, Error> {
    let client = client.clone();
    tokio::task::spawn_blocking(move || {
        let asking = asking(&client)?;
        let metadata = metadata(&asking, &client.brokers, timeout)?;
        let known = metadata.topics().iter().filter(|topic| topic.error().is_none() && !topic.partitions().is_empty());
        let mut found: BTreeMap<String, Seen<Layout>> =
            known.map(|topic| (topic.name().to_owned(), Ok(Layout::of(topic)))).collect();
        for name in wanted {
            if found.contains_key(&name) {
                continue;
            }
            let subject = Subject::Topic(&name, Operation::Describe);
            let what = || format!("asking for `{name}`");
            let metadata =
                asking.fetch_metadata(Some(&name), timeout).map_err(|source| trouble(&asking, what(), source, subject))?;
            let answer = metadata.topics().iter().find(|topic| topic.name() == name).and_then(MetadataTopic::error);
            if let Some(code) = answer.map(RDKafkaErrorCode::from).filter(|code| is_missing_right(*code))
                && let Some(refusal) = client.board.missing(code, subject)
            {
                found.insert(name, Err(refusal));
            }
        }
        for (name, _) in found.iter().filter(|(_, seen)| seen.is_ok()) {
            client.board.works(Subject::Topic(name, Operation::Describe));
        }
        Ok(found)
    })
    .await
    .map_err(|_| Error::Stopped { what: "asking for topics" })?
}

/// What asks for metadata. An admin client would do, but nobody hears there why a connection was refused.
pub(crate) fn asking(client: &Client) -> Result<BaseConsumer<Plain>, Error> {
    settings(client, &Role::Admin)?
        .create_with_context(Plain::asking(client))
        .map_err(|source| Error::Settings { what: "creating a client".to_owned(), source: Cause::new(source).into() })
}

/// Asks in steps: a refused connection is told as soon as it is known, and not when the time is up.
pub(crate) fn metadata(
    asking: &BaseConsumer<Plain>,
    brokers: &str,
    timeout: Duration,
) -> Result<rdkafka::metadata::Metadata, Error> {
    // Each step asks anew, so they grow: brokers that are slow to answer get the time that they need.
    let mut step = Duration::from_secs(1);
    let deadline = Instant::now() + timeout;
    let subject = Subject::Cluster;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match asking.fetch_metadata(None, left.clamp(Duration::from_millis(1), step)) {
            Ok(metadata) => {
                asking.context().board().works(subject);
                return Ok(metadata);
            }
            Err(source) => {
                let error = trouble(asking, format!("asking the brokers {brokers} for their topics"), source, subject);
                if matches!(error, Error::Refused(_)) || Instant::now() >= deadline {
                    return Err(error);
                }
                step *= 2;
            }
        }
    }
}

impl Layout {
    fn of(topic: &MetadataTopic) -> Self {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let replication = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
        Self { partitions: count(topic.partitions().len()), replication: count(replication.unwrap_or_default()) }
    }
}

/// Settings of those topics that there are.
async fn settings_of(
    client: &Client,
    topics: &[Topic],
    existing: &BTreeMap<String, Seen<Layout>>,
) -> Result<BTreeMap<String, Seen<Settings>>, Error> {
    let admin = admin(client)?;
    let is_seen = |name: &&str| existing.get(*name).is_some_and(Result::is_ok);
    let present: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).filter(is_seen).collect();
    describe(client, &admin, &present).await
}

type Settings = BTreeMap<String, Setting>;

async fn describe(
    client: &Client,
    admin: &AdminClient<Plain>,
    topics: &[&str],
) -> Result<BTreeMap<String, Seen<Settings>>, Error> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    // The broker takes a request that names a topic twice for a malformed one.
    let distinct: Vec<&str> = topics.iter().copied().collect::<BTreeSet<&str>>().into_iter().collect();
    let resources: Vec<_> = distinct.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let told = |source| client.board.error("describing topics", source, Subject::Cluster);
    let mut found = BTreeMap::new();
    let mut refused = Vec::new();
    for resource in admin.describe_configs(&resources, &options()).await.map_err(told)? {
        let resource = match resource {
            Ok(resource) => resource,
            Err(code) if is_missing_right(code) => {
                refused.push(code);
                continue;
            }
            Err(code) => return Err(told(KafkaError::AdminOp(code))),
        };
        let OwnedResourceSpecifier::Topic(name) = resource.specifier else { continue };
        let entries = resource.entries.into_iter().filter_map(|entry| {
            let is_own = entry.source == ConfigSource::DynamicTopic;
            entry.value.map(|value| (entry.name, Setting { value, is_own }))
        });
        client.board.works(Subject::Topic(&name, Operation::DescribeConfigs));
        found.insert(name, Ok(entries.collect()));
    }
    // A refused one comes back without its name: it is one of those that are missing now.
    if let Some(code) = refused.first() {
        for name in distinct {
            if !found.contains_key(name)
                && let Some(refusal) = client.board.missing(*code, Subject::Topic(name, Operation::DescribeConfigs))
            {
                found.insert(name.to_owned(), Err(refusal));
            }
        }
    }
    Ok(found)
}
