//! The one list of topics: names, kinds, and what `avro/topics.yaml` says about each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use model::Domain;
use serde::Deserialize;

use crate::Schema;

/// Topic names under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

impl Topics {
    /// `prefix` ends with its own separator: `mdm.`.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Kafka does not tell a reader who wrote a record, so the topic does: only the publisher of `source` may write here.
    #[must_use]
    pub fn change(&self, source: &str, domain: Domain) -> String {
        self.name(&TopicKind::Change { source: source.to_owned(), domain })
    }

    #[must_use]
    pub fn golden(&self, domain: Domain) -> String {
        self.name(&TopicKind::Golden(domain))
    }

    #[must_use]
    pub fn held(&self) -> String {
        self.name(&TopicKind::Held)
    }

    #[must_use]
    pub fn finding(&self) -> String {
        self.name(&TopicKind::Finding)
    }

    #[must_use]
    pub fn receipt(&self, destination: &str) -> String {
        self.name(&TopicKind::Receipt(destination.to_owned()))
    }

    #[must_use]
    pub fn ledger(&self, destination: &str) -> String {
        self.name(&TopicKind::Ledger(destination.to_owned()))
    }

    #[must_use]
    pub fn destination(&self) -> String {
        self.name(&TopicKind::Destination)
    }

    #[must_use]
    pub fn source(&self) -> String {
        self.name(&TopicKind::Source)
    }

    /// A destination, a source, `validator` or `replayer`.
    #[must_use]
    pub fn command(&self, stage: &str) -> String {
        self.name(&TopicKind::Command(stage.to_owned()))
    }

    /// A destination, a source or `validator`.
    #[must_use]
    pub fn dlq(&self, stage: &str) -> String {
        self.name(&TopicKind::Dlq(stage.to_owned()))
    }

    #[must_use]
    pub fn deadletter(&self) -> String {
        self.name(&TopicKind::Deadletter)
    }

    #[must_use]
    pub fn plan(&self) -> String {
        self.name(&TopicKind::Plan)
    }

    #[must_use]
    pub fn cursor(&self, source: &str) -> String {
        self.name(&TopicKind::Cursor(source.to_owned()))
    }

    #[must_use]
    pub fn audit(&self) -> String {
        self.name(&TopicKind::Audit)
    }

    /// The full name of a topic.
    #[must_use]
    pub fn name(&self, kind: &TopicKind) -> String {
        let mut name = format!("{}{}", self.prefix, kind.family());
        for part in kind.system().into_iter().chain(kind.domain().map(Domain::name)) {
            name.push('.');
            name.push_str(part);
        }
        name
    }

    /// What a topic is; none when it is not one of ours.
    #[must_use]
    pub fn kind(&self, topic: &str) -> Option<TopicKind> {
        let name = topic.strip_prefix(&self.prefix)?;
        let Some((family, of)) = name.split_once('.') else {
            return match name {
                "held" => Some(TopicKind::Held),
                "finding" => Some(TopicKind::Finding),
                "destination" => Some(TopicKind::Destination),
                "source" => Some(TopicKind::Source),
                "deadletter" => Some(TopicKind::Deadletter),
                "plan" => Some(TopicKind::Plan),
                "audit" => Some(TopicKind::Audit),
                _ => None,
            };
        };
        if of.is_empty() {
            return None;
        }
        match family {
            "change" => {
                let (source, domain) = of.split_once('.')?;
                let source = Some(source).filter(|source| !source.is_empty())?.to_owned();
                domain.parse().ok().map(|domain| TopicKind::Change { source, domain })
            }
            "golden" => of.parse().ok().map(TopicKind::Golden),
            "receipt" => Some(TopicKind::Receipt(of.to_owned())),
            "ledger" => Some(TopicKind::Ledger(of.to_owned())),
            "command" => Some(TopicKind::Command(of.to_owned())),
            "dlq" => Some(TopicKind::Dlq(of.to_owned())),
            "cursor" => Some(TopicKind::Cursor(of.to_owned())),
            _ => None,
        }
    }
}

/// What a topic is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKind {
    /// What one source says of one domain.
    Change {
        source: String,
        domain: Domain,
    },
    Golden(Domain),
    Held,
    Finding,
    Receipt(String),
    Ledger(String),
    Destination,
    Source,
    Command(String),
    Dlq(String),
    Deadletter,
    Plan,
    Cursor(String),
    Audit,
}

impl TopicKind {
    /// What its name begins with: `change`, `held`, ...
    #[must_use]
    pub const fn family(&self) -> &'static str {
        match self {
            TopicKind::Change { .. } => "change",
            TopicKind::Golden(_) => "golden",
            TopicKind::Held => "held",
            TopicKind::Finding => "finding",
            TopicKind::Receipt(_) => "receipt",
            TopicKind::Ledger(_) => "ledger",
            TopicKind::Destination => "destination",
            TopicKind::Source => "source",
            TopicKind::Command(_) => "command",
            TopicKind::Dlq(_) => "dlq",
            TopicKind::Deadletter => "deadletter",
            TopicKind::Plan => "plan",
            TopicKind::Cursor(_) => "cursor",
            TopicKind::Audit => "audit",
        }
    }

    /// The source, destination or stage that its name carries.
    #[must_use]
    pub fn system(&self) -> Option<&str> {
        match self {
            TopicKind::Change { source: name, .. }
            | TopicKind::Receipt(name)
            | TopicKind::Ledger(name)
            | TopicKind::Command(name)
            | TopicKind::Dlq(name)
            | TopicKind::Cursor(name) => Some(name),
            TopicKind::Golden(_)
            | TopicKind::Held
            | TopicKind::Finding
            | TopicKind::Destination
            | TopicKind::Source
            | TopicKind::Deadletter
            | TopicKind::Plan
            | TopicKind::Audit => None,
        }
    }

    /// The domain that its name carries, last.
    #[must_use]
    pub const fn domain(&self) -> Option<Domain> {
        match self {
            TopicKind::Change { domain, .. } | TopicKind::Golden(domain) => Some(*domain),
            _ => None,
        }
    }

    /// The schema of its values.
    #[must_use]
    pub fn schema(&self) -> Schema {
        match self {
            TopicKind::Change { domain, .. } => Schema::change(*domain),
            TopicKind::Golden(domain) => Schema::golden(*domain),
            TopicKind::Held => Schema::Held,
            TopicKind::Finding => Schema::FindingReport,
            TopicKind::Receipt(_) => Schema::Receipt,
            TopicKind::Ledger(_) => Schema::Ledger,
            TopicKind::Destination => Schema::DestinationStatus,
            TopicKind::Source => Schema::SourceStatus,
            TopicKind::Command(_) => Schema::Command,
            TopicKind::Dlq(_) => Schema::DeadLetter,
            TopicKind::Deadletter => Schema::LetterStatus,
            TopicKind::Plan => Schema::Plan,
            TopicKind::Cursor(_) => Schema::Cursor,
            TopicKind::Audit => Schema::AuditEntry,
        }
    }
}

/// One topic as it must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub kind: TopicKind,
    pub partitions: i32,
    pub replication: i16,
    pub config: BTreeMap<String, String>,
    pub schema: Schema,
    /// Compatibility level of the subject, as the registry spells it.
    pub compatibility: Compatibility,
}

/// How many partitions a topic has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partitions {
    /// The landscape's `slots`: the topic is keyed by record and co-partitioned.
    Slots,
    /// One.
    One,
}

/// What the broker removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    Delete,
    Compact,
}

/// Compatibility level of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compatibility {
    /// Every version reads every other one: services and subscribers upgrade in any order.
    FullTransitive,
}

impl Compatibility {
    /// As the registry's API spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Compatibility::FullTransitive => "FULL_TRANSITIVE",
        }
    }
}

/// Who meets a topic: a service, or the person who looks (`millrace doctor`, `millrace audit verify`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Publisher,
    Validator,
    Sink,
    Replayer,
    Tracker,
    Operator,
}

/// How far a role's right on a topic family goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// The topics of one's own source, destination, stage or domains.
    Own,
    All,
    /// Topics of destinations whose receipts become confirmations.
    Confirming,
}

/// An entry of `avro/topics.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicDeclaration {
    /// `change.<source>.<domain>`, `held`, ...
    pub name: String,
    pub partitions: Partitions,
    pub policy: Policy,
    /// Delete policy: how many days a record stays.
    #[serde(default)]
    pub retention_days: Option<u32>,
    pub key: String,
    /// What decides the partition; none with one partition.
    #[serde(default)]
    pub partition_key: Option<String>,
    /// File in `/avro`.
    pub schema: String,
    pub compatibility: Compatibility,
    /// Who writes it; the services' Kafka grants follow from this.
    pub write: BTreeMap<Role, Reach>,
    pub read: BTreeMap<Role, Reach>,
    pub doc: String,
    /// A stage with other numbers, such as `command.replayer`.
    #[serde(default)]
    pub except: BTreeMap<String, Partitions>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicList {
    tombstone_days: u32,
    config: BTreeMap<String, String>,
    topics: Vec<TopicDeclaration>,
}

static LIST: LazyLock<TopicList> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../../../avro/topics.yaml"))
        .expect("the embedded list is read by the tests of this crate")
});

/// The embedded list, as the documents and the chart show it.
#[must_use]
pub fn declared_topics() -> &'static [TopicDeclaration] {
    &LIST.topics
}

/// Every topic that this landscape needs, from the embedded list. `sources`: each with the domains that it captures. A system that is
/// source and destination gets one `dlq` and one `command` for both.
#[must_use]
pub fn topic_specs(
    topics: &Topics,
    slots: u32,
    replication: i32,
    domains: &[Domain],
    sources: &BTreeMap<&str, BTreeSet<Domain>>,
    destinations: &[&str],
) -> Vec<TopicSpec> {
    let names = |list: &[&str], more: &[&str]| -> Vec<String> {
        let mut names: Vec<String> = list.iter().chain(more).map(|name| (*name).to_owned()).collect();
        names.sort();
        names.dedup();
        names
    };
    let captured: Vec<&str> = sources.keys().copied().collect();
    let systems = names(&captured, destinations);
    let with = |extra: &[&str]| names(&systems.iter().map(String::as_str).collect::<Vec<_>>(), extra);
    let mut kinds = Vec::new();
    for declaration in declared_topics() {
        match declaration.name.as_str() {
            "change.<source>.<domain>" => {
                let all = sources.iter().flat_map(|(source, domains)| domains.iter().map(move |domain| (*source, *domain)));
                let kind = |(source, domain)| TopicKind::Change { source: String::from(source), domain };
                kinds.extend(all.map(|change| (declaration, kind(change))));
            }
            "golden.<domain>" => kinds.extend(domains.iter().map(|domain| (declaration, TopicKind::Golden(*domain)))),
            "held" => kinds.push((declaration, TopicKind::Held)),
            "finding" => kinds.push((declaration, TopicKind::Finding)),
            "receipt.<destination>" => {
                kinds.extend(names(destinations, &[]).into_iter().map(|name| (declaration, TopicKind::Receipt(name))));
            }
            "ledger.<destination>" => {
                kinds.extend(names(destinations, &[]).into_iter().map(|name| (declaration, TopicKind::Ledger(name))));
            }
            "destination" => kinds.push((declaration, TopicKind::Destination)),
            "source" => kinds.push((declaration, TopicKind::Source)),
            "command.<stage>" => {
                kinds.extend(with(&["validator", "replayer"]).into_iter().map(|name| (declaration, TopicKind::Command(name))))
            }
            "dlq.<stage>" => {
                kinds.extend(with(&["validator"]).into_iter().map(|name| (declaration, TopicKind::Dlq(name))));
            }
            "deadletter" => kinds.push((declaration, TopicKind::Deadletter)),
            "plan" => kinds.push((declaration, TopicKind::Plan)),
            "cursor.<source>" => {
                kinds.extend(names(&captured, &[]).into_iter().map(|name| (declaration, TopicKind::Cursor(name))));
            }
            "audit" => kinds.push((declaration, TopicKind::Audit)),
            other => debug_assert!(false, "topic family `{other}` of topics.yaml is unknown here"),
        }
    }
    kinds.into_iter().map(|(declaration, kind)| spec(topics, declaration, kind, slots, replication)).collect()
}

fn spec(topics: &Topics, declaration: &TopicDeclaration, kind: TopicKind, slots: u32, replication: i32) -> TopicSpec {
    const DAY_MS: u64 = 86_400_000;
    let mut config = LIST.config.clone();
    let mut set = |name: &str, value: String| config.insert(name.to_owned(), value);
    set("min.insync.replicas", in_sync(replication).to_string());
    match declaration.policy {
        Policy::Delete => {
            set("cleanup.policy", "delete".to_owned());
            let days = declaration.retention_days.unwrap_or(LIST.tombstone_days);
            set("retention.ms", (u64::from(days) * DAY_MS).to_string());
        }
        Policy::Compact => {
            set("cleanup.policy", "compact".to_owned());
            set("delete.retention.ms", (u64::from(LIST.tombstone_days) * DAY_MS).to_string());
        }
    }
    let special = kind.system().and_then(|stage| declaration.except.get(stage));
    let partitions = match special.unwrap_or(&declaration.partitions) {
        Partitions::Slots => i32::try_from(slots).unwrap_or(i32::MAX),
        Partitions::One => 1,
    };
    TopicSpec {
        name: topics.name(&kind),
        partitions,
        replication: i16::try_from(replication).unwrap_or(i16::MAX),
        config,
        schema: kind.schema(),
        compatibility: declaration.compatibility,
        kind,
    }
}

/// Two copies hold what was acknowledged, and one broker may be away; with fewer than three copies there is none to spare.
fn in_sync(replication: i32) -> i32 {
    if replication < 3 { 1 } else { 2 }
}

impl TopicSpec {
    /// The development profile: one broker keeps one copy, whatever the landscape wants in production. All else stays as it is.
    #[must_use]
    pub fn for_one_broker(mut self) -> Self {
        self.replication = 1;
        self.config.insert("min.insync.replicas".to_owned(), in_sync(1).to_string());
        self
    }
}

#[cfg(test)]
mod tests;
