//! Who may do what on Kafka: one identity per service, source and destination, with exactly the grants that it needs.
//!
//! Derived from `avro/topics.yaml` (`write`, `read`) and the landscape, so that the chart's users, the printed `kafka-acls` lines, the
//! secured development stack and the documents cannot disagree. Names are literal: a prefix `mdm.sink.mes` would cover `mes-ulm`. The
//! only prefixes are those that nobody else's name can begin with (`mdm.validator.`, `mdm.tracker.`) and the provisioner's.

use std::collections::BTreeSet;

use avro::{Reach, Role, TopicKind, Topics, declared_topics};
use model::Domain;

use crate::{Landscape, Source};

/// One Kafka identity of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `publisher-erp`, `validator`, `sink-mes-ulm`, `replayer`, `tracker`, `provisioner`, `operator`.
    pub name: String,
    /// The service, or `provisioner` (creates topics) or `operator` (looks).
    pub service: &'static str,
    /// The source or destination it serves.
    pub system: Option<String>,
    /// Sorted by resource and name.
    pub grants: Vec<Grant>,
}

/// Operations on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    pub resource: Resource,
    pub name: String,
    pub pattern: Pattern,
    pub operations: Vec<Operation>,
}

/// What a grant is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    Topic,
    Group,
    TransactionalId,
}

/// Whether a grant's name stands for itself or for all names that begin so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    Literal,
    Prefixed,
}

/// Kafka's own words. `Read` and `Write` imply `Describe`; nothing implies `DescribeConfigs` here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    Read,
    Write,
    Create,
    Describe,
    DescribeConfigs,
    AlterConfigs,
}

impl Resource {
    /// As Strimzi and Kafka's protocol spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Resource::Topic => "topic",
            Resource::Group => "group",
            Resource::TransactionalId => "transactionalId",
        }
    }

    const fn option(self) -> &'static str {
        match self {
            Resource::Topic => "--topic",
            Resource::Group => "--group",
            Resource::TransactionalId => "--transactional-id",
        }
    }
}

impl Pattern {
    /// As Strimzi spells it: `literal`, `prefix`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Pattern::Literal => "literal",
            Pattern::Prefixed => "prefix",
        }
    }
}

impl Operation {
    /// As `kafka-acls` and Strimzi spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Read => "Read",
            Operation::Write => "Write",
            Operation::Create => "Create",
            Operation::Describe => "Describe",
            Operation::DescribeConfigs => "DescribeConfigs",
            Operation::AlterConfigs => "AlterConfigs",
        }
    }
}

impl Grant {
    /// The line that grants it, without `--bootstrap-server` and `--command-config`.
    #[must_use]
    pub fn kafka_acls(&self, principal: &str) -> String {
        let operations: Vec<String> =
            self.operations.iter().map(|operation| format!("--operation {}", operation.name())).collect();
        let pattern = match self.pattern {
            Pattern::Literal => "",
            Pattern::Prefixed => " --resource-pattern-type prefixed",
        };
        format!(
            "kafka-acls --add --allow-principal User:{principal} {} {} {}{pattern}",
            operations.join(" "),
            self.resource.option(),
            self.name
        )
    }
}

/// Every identity of a fleet on this landscape, with its grants.
#[must_use]
pub fn rights(landscape: &Landscape, topics: &Topics) -> Vec<Principal> {
    let prefix = topics.prefix();
    let principal = |role: Role, service: &'static str, system: Option<&str>, mut others: Vec<Grant>| {
        let mut grants = topic_grants(landscape, topics, role, system);
        grants.append(&mut others);
        grants.sort();
        let name = system.map_or_else(|| service.to_owned(), |system| format!("{service}-{system}"));
        Principal { name, service, system: system.map(str::to_owned), grants }
    };
    let mut principals = Vec::new();
    for source in landscape.sources.keys() {
        let id = format!("{prefix}publisher.{source}");
        principals.push(principal(Role::Publisher, "publisher", Some(source), vec![group(&id), transactional(&id)]));
    }
    let id = format!("{prefix}validator");
    // The group's name is literal; the transactional ids carry instance and worker behind a dot.
    let ids = Grant { pattern: Pattern::Prefixed, ..transactional(&format!("{id}.")) };
    principals.push(principal(Role::Validator, "validator", None, vec![group(&id), ids]));
    for destination in landscape.destinations.keys() {
        let id = format!("{prefix}sink.{destination}");
        principals.push(principal(Role::Sink, "sink", Some(destination), vec![group(&id)]));
    }
    let id = format!("{prefix}replayer");
    principals.push(principal(Role::Replayer, "replayer", None, vec![group(&id), transactional(&id)]));
    let groups = Grant { pattern: Pattern::Prefixed, ..group(&format!("{prefix}tracker.")) };
    principals.push(principal(Role::Tracker, "tracker", None, vec![groups]));
    principals.push(Principal {
        name: "provisioner".into(),
        service: "provisioner",
        system: None,
        grants: vec![provisioning(prefix)],
    });
    principals.push(principal(Role::Operator, "operator", None, looking(prefix)));
    principals
}

fn group(id: &str) -> Grant {
    grant(Resource::Group, id, vec![Operation::Read, Operation::Describe])
}

fn transactional(id: &str) -> Grant {
    grant(Resource::TransactionalId, id, vec![Operation::Write, Operation::Describe])
}

fn grant(resource: Resource, name: &str, operations: Vec<Operation>) -> Grant {
    Grant { resource, name: name.to_owned(), pattern: Pattern::Literal, operations }
}

/// Creates topics and sets their configuration; neither reads nor writes a record.
fn provisioning(prefix: &str) -> Grant {
    let operations = vec![Operation::Create, Operation::Describe, Operation::DescribeConfigs, Operation::AlterConfigs];
    Grant { pattern: Pattern::Prefixed, ..grant(Resource::Topic, prefix, operations) }
}

/// What `millrace doctor` and `topics plan` look at; nothing of it reads a record.
fn looking(prefix: &str) -> Vec<Grant> {
    let prefixed = |resource, operations| Grant { pattern: Pattern::Prefixed, ..grant(resource, prefix, operations) };
    vec![
        prefixed(Resource::Topic, vec![Operation::Describe, Operation::DescribeConfigs]),
        prefixed(Resource::Group, vec![Operation::Describe]),
    ]
}

/// The topics of a role, each with what it may do there.
fn topic_grants(landscape: &Landscape, topics: &Topics, role: Role, system: Option<&str>) -> Vec<Grant> {
    let specs = landscape.topic_specs(topics);
    let reaches = |reach: Option<&Reach>, kind: &TopicKind| match reach {
        None => false,
        Some(Reach::All) => true,
        Some(Reach::Own) => is_own(landscape, role, system, kind),
        Some(Reach::Confirming) => {
            kind.system().and_then(|name| landscape.destinations.get(name)).is_some_and(|destination| destination.confirms)
        }
    };
    let mut grants = Vec::new();
    for spec in &specs {
        let family = spec.kind.family();
        let declared = declared_topics().iter().find(|declared| declared.name.split('.').next() == Some(family));
        let Some(declared) = declared else { continue };
        let mut operations = Vec::new();
        if reaches(declared.read.get(&role), &spec.kind) {
            operations.push(Operation::Read);
        }
        if reaches(declared.write.get(&role), &spec.kind) {
            operations.push(Operation::Write);
        }
        if !operations.is_empty() {
            // Every service compares the topics it touches with the list before it starts.
            operations.push(Operation::DescribeConfigs);
            grants.push(grant(Resource::Topic, &spec.name, operations));
        }
    }
    grants
}

fn is_own(landscape: &Landscape, role: Role, system: Option<&str>, kind: &TopicKind) -> bool {
    // A name that carries a system belongs to that one, whatever domain follows it.
    if let Some(named) = kind.system() {
        let own = match role {
            Role::Publisher | Role::Sink => system,
            Role::Validator => Some("validator"),
            Role::Replayer => Some("replayer"),
            Role::Tracker | Role::Operator => None,
        };
        return own == Some(named);
    }
    let domains: BTreeSet<Domain> = match (role, system) {
        (Role::Publisher, Some(name)) => landscape.sources.get(name).map(Source::domains).unwrap_or_default(),
        (Role::Sink, Some(name)) => {
            landscape.destinations.get(name).map(|destination| destination.domains.keys().copied().collect()).unwrap_or_default()
        }
        _ => BTreeSet::new(),
    };
    kind.domain().is_some_and(|domain| domains.contains(&domain))
}
