//! The landscape as a whole.

use std::collections::{BTreeMap, BTreeSet};

use model::Domain;

use crate::{Case, Destination, Problem, Source, check};

/// Everything an operator wrote, checked.
#[derive(Debug)]
pub struct Landscape {
    /// As written in `millrace.yaml`.
    pub version: String,
    /// `version` + `-` + 8 hex digits of a SHA-256 over all files.
    pub policy_version: String,
    pub kafka: Kafka,
    pub registry: Registry,
    pub domains: BTreeMap<Domain, policy::DomainPolicy>,
    /// Sets of reference codes that this landscape keeps itself: an unknown code of one of them holds a record for a while.
    pub sets: BTreeSet<String>,
    pub sources: BTreeMap<String, Source>,
    pub destinations: BTreeMap<String, Destination>,
    pub mappings: mapping::Mappings,
    pub cases: Vec<Case>,
}

impl Landscape {
    /// Every topic that this landscape needs.
    #[must_use]
    pub fn topic_specs(&self, topics: &avro::Topics) -> Vec<avro::TopicSpec> {
        let domains: Vec<Domain> = self.domains.keys().copied().collect();
        let sources = self.sources.iter().map(|(name, source)| (name.as_str(), source.domains())).collect();
        let destinations: Vec<&str> = self.destinations.keys().map(String::as_str).collect();
        avro::topic_specs(topics, self.kafka.slots, self.kafka.replication, &domains, &sources, &destinations)
    }

    /// Every source with each domain that it captures: one change topic each, and none for a domain that nobody captures.
    pub fn captures(&self) -> impl Iterator<Item = (&str, Domain)> {
        self.sources.iter().flat_map(|(name, source)| source.domains().into_iter().map(move |domain| (name.as_str(), domain)))
    }

    /// Reads and checks all files: relative path with `/` → text.
    ///
    /// # Errors
    /// Every problem that can be found offline, in order of file and line.
    pub fn parse(files: &BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        check::landscape(files)
    }

    /// Destinations that get records of `domain`.
    pub fn receivers(&self, domain: Domain) -> impl Iterator<Item = &Destination> {
        self.destinations.values().filter(move |destination| destination.domains.contains_key(&domain))
    }

    /// The people whom a message about `system` names.
    #[must_use]
    pub fn office_of(&self, system: &str) -> Option<&str> {
        let source = self.sources.get(system).map(|source| source.office.as_str());
        source.or_else(|| self.destinations.get(system).map(|destination| destination.office.as_str()))
    }
}

/// Where the brokers are, and the numbers that never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// May be empty: `--brokers`.
    pub brokers: Vec<String>,
    pub topic_prefix: String,
    /// The one partition count of all topics keyed by record. Never changed: keys would move.
    pub slots: u32,
    pub replication: i32,
    pub security: Option<Security>,
}

/// How to be let in; secrets only as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// `ssl`, `sasl_ssl` or `sasl_plaintext`.
    pub protocol: String,
    /// `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`.
    pub mechanism: Option<String>,
    pub username: Option<String>,
    pub password_file: Option<String>,
    pub ca_file: Option<String>,
    pub certificate_file: Option<String>,
    pub key_file: Option<String>,
}

/// Where the schema registry is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Registry {
    /// May be empty: `--registry`.
    pub urls: Vec<String>,
    pub username: Option<String>,
    pub password_file: Option<String>,
    pub ca_file: Option<String>,
}
