//! The tracker's part of the landscape: who owns, who serves what, who should have which record by when.

use std::{collections::BTreeMap, time::Duration};

use deadletter::Author;
use landscape::{Gate, Landscape};
use model::{Domain, Golden, RecordKey, Timestamp};
use sha2::{Digest as _, Sha256};

/// What the tracker knows of the landscape.
#[derive(Default)]
pub struct Fleet {
    pub topic_prefix: String,
    pub slots: u32,
    pub policy_version: String,
    pub domains: BTreeMap<Domain, Owner>,
    pub sources: BTreeMap<String, SourcePart>,
    pub destinations: BTreeMap<String, DestinationPart>,
}

/// Owner of a domain's main group, and the people behind it.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    pub system: String,
    pub office: String,
    /// Field groups of other owners: who, which fields.
    pub groups: Vec<(String, Vec<String>)>,
}

/// A system of record.
#[derive(Clone, Debug, Default)]
pub struct SourcePart {
    pub office: String,
    pub domains: Vec<Domain>,
}

/// A destination.
#[derive(Default)]
pub struct DestinationPart {
    pub office: String,
    /// Calls a second; none is no limit.
    pub rate: Option<f64>,
    /// Attempts that a record gets while others are served.
    pub attempts: u32,
    pub domains: BTreeMap<Domain, Served>,
}

/// One domain at one destination.
#[derive(Default)]
pub struct Served {
    /// None takes everything.
    pub scope: Option<mapping::Expression>,
    pub deadline: Option<Duration>,
    /// The clock of a record that needs approval starts with the approval.
    pub waits_for_approval: bool,
}

/// What a golden revision is to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    OutOfScope = 0,
    InScope = 1,
    Deleted = 2,
}

impl Served {
    /// Whether the destination should have this revision.
    #[must_use]
    pub fn kind(&self, golden: &Golden, domain: Domain, key: &RecordKey) -> Kind {
        if golden.data.is_none() {
            return Kind::Deleted;
        }
        // The sink makes a dead letter of a scope that cannot be evaluated; until then the record counts as meant.
        let in_scope = self.scope.as_ref().is_none_or(|scope| scope.matches(golden, domain, key).unwrap_or(true));
        if in_scope { Kind::InScope } else { Kind::OutOfScope }
    }

    /// When the clock of this revision starts: the source's commit, or the approval where that is awaited. None: not yet.
    #[must_use]
    pub fn clock_starts(&self, golden: &Golden) -> Option<Timestamp> {
        let committed = golden.meta.occurred_at;
        match (&golden.meta.approval, self.waits_for_approval) {
            (Some(approval), true) if approval.state == model::ApprovalState::Approved => {
                Some(approval.at.map_or(committed, |at| at.max(committed)))
            }
            (Some(_), true) => None,
            (None, _) | (_, false) => Some(committed),
        }
    }
}

impl Fleet {
    /// Takes what the tracker needs out of a checked landscape.
    #[must_use]
    pub fn of(landscape: &Landscape, topic_prefix: &str) -> Self {
        let domains = landscape.domains.iter().map(|(domain, policy)| {
            let groups =
                policy.groups.iter().map(|group| (group.owner.clone(), group.fields.iter().map(ToString::to_string).collect()));
            let office = policy.office.clone().unwrap_or_default();
            (*domain, Owner { system: policy.owner.clone(), office, groups: groups.collect() })
        });
        let sources = landscape.sources.values().map(|source| {
            let mut domains: Vec<Domain> = source.streams.iter().map(|stream| stream.domain).collect();
            domains.sort_unstable();
            domains.dedup();
            (source.name.clone(), SourcePart { office: source.office.clone(), domains })
        });
        let destinations = landscape.destinations.values().map(|destination| {
            let served = destination.domains.iter().map(|(domain, delivery)| {
                let served = Served {
                    scope: delivery.scope.clone(),
                    deadline: Some(delivery.deadline),
                    waits_for_approval: delivery.gates.contains(&Gate::Approval),
                };
                (*domain, served)
            });
            let part = DestinationPart {
                office: destination.office.clone(),
                rate: destination.rate.map(landscape::Rate::per_second),
                attempts: destination.retry.attempts,
                domains: served.collect(),
            };
            (destination.name.clone(), part)
        });
        Self {
            topic_prefix: topic_prefix.to_owned(),
            slots: landscape.kafka.slots,
            policy_version: landscape.policy_version.clone(),
            domains: domains.collect(),
            sources: sources.collect(),
            destinations: destinations.collect(),
        }
    }

    /// What a store was built for. A store of another fingerprint is rebuilt: scopes and deadlines are baked into its rows.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = format!("{}\n{}\n", self.topic_prefix, self.slots);
        for (name, source) in &self.sources {
            text.push_str(&format!("source {name} {:?}\n", source.domains));
        }
        for (name, destination) in &self.destinations {
            for (domain, served) in &destination.domains {
                let scope = served.scope.as_ref().map_or("", |scope| scope.text());
                text.push_str(&format!("{name} {domain} {:?} {} {scope}\n", served.deadline, served.waits_for_approval));
            }
        }
        data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
    }

    /// The destinations that serve a domain.
    pub fn served(&self, domain: Domain) -> impl Iterator<Item = (&str, &Served)> {
        self.destinations
            .iter()
            .filter_map(move |(name, destination)| destination.domains.get(&domain).map(|served| (name.as_str(), served)))
    }

    /// Field groups that the domain's main owner does not write.
    #[must_use]
    pub fn groups_of(&self, domain: Domain) -> &[(String, Vec<String>)] {
        self.domains.get(&domain).map(|owner| owner.groups.as_slice()).unwrap_or_default()
    }

    /// Who answers for a system: its office, or its own name.
    #[must_use]
    pub fn office_of(&self, system: &str) -> String {
        let office = self
            .destinations
            .get(system)
            .map(|part| part.office.as_str())
            .or_else(|| self.sources.get(system).map(|part| part.office.as_str()))
            .unwrap_or_default();
        if office.is_empty() { system.to_owned() } else { office.to_owned() }
    }

    /// Who alone may write the letters, or the receipts, of a system.
    #[must_use]
    pub fn author(&self, system: &str) -> Author {
        let (is_source, is_destination) = (self.sources.contains_key(system), self.destinations.contains_key(system));
        let office = Some(self.office_of(system)).filter(|_| is_source || is_destination);
        Author::of(system, is_source, is_destination, office.as_deref())
    }

    /// Who answers for a domain's records.
    #[must_use]
    pub fn office_of_domain(&self, domain: Domain) -> String {
        match self.domains.get(&domain) {
            Some(owner) if !owner.office.is_empty() => owner.office.clone(),
            Some(owner) => owner.system.clone(),
            None => String::new(),
        }
    }
}
