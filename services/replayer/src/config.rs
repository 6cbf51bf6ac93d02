//! What the replayer needs of the landscape, and the names that follow from it.

use std::sync::Arc;

use avro::Topics;
use deadletter::Author;
use landscape::Landscape;

/// Everything fixed at start.
#[derive(Clone, Debug)]
pub struct Config {
    pub landscape: Arc<Landscape>,
    pub topics: Topics,
}

/// Writer of the audit chain and actor of what the replayer does by itself. One instance, so no host name: the chain goes on
/// wherever the process runs.
pub(crate) const NAME: &str = "replayer";

impl Config {
    #[must_use]
    pub fn new(landscape: Arc<Landscape>, topics: Topics) -> Self {
        Self { landscape, topics }
    }

    #[must_use]
    pub fn slots(&self) -> u32 {
        self.landscape.kafka.slots
    }

    /// `mdm.replayer`: group and transactional id; a second copy fences the first.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}{NAME}", self.topics.prefix())
    }

    /// Read through the group.
    #[must_use]
    pub fn inputs(&self) -> Vec<String> {
        let mut inputs = vec![self.topics.command(NAME), self.topics.dlq("validator")];
        let mut systems: Vec<&String> = self.landscape.sources.keys().chain(self.landscape.destinations.keys()).collect();
        systems.sort();
        systems.dedup();
        inputs.extend(systems.into_iter().map(|system| self.topics.dlq(system)));
        inputs.extend(self.landscape.destinations.keys().map(|destination| self.topics.receipt(destination)));
        inputs
    }

    /// Who alone may write the letters, or the receipts, of a system.
    #[must_use]
    pub fn author(&self, system: &str) -> Author {
        let Landscape { sources, destinations, .. } = &*self.landscape;
        let office = self.landscape.office_of(system);
        Author::of(system, sources.contains_key(system), destinations.contains_key(system), office)
    }

    /// Restored before the first input: the replayer's own memory.
    #[must_use]
    pub fn state(&self) -> Vec<String> {
        vec![self.topics.deadletter(), self.topics.plan(), self.topics.audit()]
    }

    /// Followed from the beginning: where each golden record lies, and which destinations are open.
    #[must_use]
    pub fn views(&self) -> Vec<String> {
        let mut views: Vec<String> = self.landscape.domains.keys().map(|domain| self.topics.golden(*domain)).collect();
        views.push(self.topics.destination());
        views
    }

    /// Followed from the beginning, after those: what each destination has of a key that matters.
    #[must_use]
    pub fn ledgers(&self) -> Vec<String> {
        self.landscape.destinations.keys().map(|destination| self.topics.ledger(destination)).collect()
    }
}
