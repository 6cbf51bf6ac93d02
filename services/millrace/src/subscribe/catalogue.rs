//! What is known about the golden topics of a landscape, gathered once: every document tells the same.

use std::time::Duration;

use avro::{Released, TopicSpec};
use landscape::Landscape;

use super::Golden;
use crate::cluster::Cluster;

/// How long a superseded generation of a topic is still written, at least.
pub(super) const GENERATION_DAYS: i64 = 90;

/// All golden topics of a landscape, in the order of the domains.
pub(super) struct Catalogue {
    /// As written in `millrace.yaml`.
    pub(super) version: String,
    pub(super) brokers: Vec<String>,
    pub(super) registry: Vec<String>,
    /// `ssl`, `sasl_ssl` or `sasl_plaintext`; none where nobody is asked who he is.
    pub(super) security: Option<(String, Option<String>)>,
    pub(super) topics: Vec<Entry>,
}

/// One golden topic.
pub(super) struct Entry {
    pub(super) golden: Golden,
    pub(super) spec: TopicSpec,
    /// The system that owns the main group of fields.
    pub(super) owner: String,
    /// Fields (`/sales_areas`) of other owners.
    pub(super) groups: Vec<(String, String)>,
    /// The people who answer for the data and grant access to it.
    pub(super) office: String,
    /// Source commit → accepted.
    pub(super) deadline: Option<Duration>,
    pub(super) releases: Vec<Released>,
}

impl Catalogue {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let landscape = &cluster.landscape;
        let mut specs = landscape.topic_specs(&cluster.topics);
        let topics = landscape
            .domains
            .keys()
            .filter_map(|domain| {
                let golden = Golden { topics: cluster.topics.clone(), domain: *domain };
                let at = specs.iter().position(|spec| spec.name == golden.name())?;
                Some(Entry::of(landscape, golden, specs.swap_remove(at)))
            })
            .collect();
        Self {
            version: landscape.version.clone(),
            brokers: cluster.brokers().to_vec(),
            registry: cluster.registry_urls().to_vec(),
            security: landscape.kafka.security.as_ref().map(|security| (security.protocol.clone(), security.mechanism.clone())),
            topics,
        }
    }
}

impl Entry {
    pub(super) fn of(landscape: &Landscape, golden: Golden, spec: TopicSpec) -> Self {
        let policy = &landscape.domains[&golden.domain];
        let groups = policy
            .groups
            .iter()
            .flat_map(|group| group.fields.iter().map(|field| (field.to_string(), group.owner.clone())))
            .collect();
        Self {
            owner: policy.owner.clone(),
            groups,
            office: policy.office.clone().unwrap_or_else(|| format!("owner of {}", policy.owner)),
            deadline: policy.deadline,
            releases: avro::released(golden.schema()),
            golden,
            spec,
        }
    }

    /// The system that owns a field of the data, by its pointer; none for components of the key, which belong to all.
    pub(super) fn owner_of(&self, pointer: &str) -> Option<&str> {
        let top = pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
        if self.golden.domain.key_fields().contains(&top) {
            return None;
        }
        let own = self.groups.iter().find(|(field, _)| pointer == field || pointer.starts_with(&format!("{field}/")));
        Some(own.map_or(self.owner.as_str(), |(_, owner)| owner))
    }

    /// How long a delete stays visible, in days.
    pub(super) fn tombstone_days(&self) -> i64 {
        self.config("delete.retention.ms") / 86_400_000
    }

    pub(super) fn config(&self, name: &str) -> i64 {
        self.spec.config.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// The number of the newest release, with `-next` while this build's schema is ahead of it.
    pub(super) fn version(&self) -> String {
        let newest = self.releases.last();
        let number = newest.map_or(0, |newest| newest.number);
        if newest.is_some_and(|newest| newest.text == self.golden.schema().text()) {
            format!("{number}.0.0")
        } else {
            format!("{}.0.0-next", number + 1)
        }
    }

    /// `Golden work centers`.
    pub(super) fn title(&self) -> String {
        let name = self.golden.domain.name().replace('_', " ");
        if name == "reference" { "Golden reference codes".to_owned() } else { format!("Golden {name}s") }
    }

    /// `WorkCenter`.
    pub(super) fn record(&self) -> &'static str {
        self.golden.schema().record().trim_end_matches("Golden")
    }
}
