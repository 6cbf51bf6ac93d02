//! A broker and a registry under one supervisor: what every stack stands on.

use std::path::Path;

use anyhow::Result;

use crate::{
    apicurio::{Registry, Storage},
    broker::{Broker, BrokerOptions},
    java::Java,
    progress::Progress,
    supervise::Supervisor,
};

/// Where a broker and a registry are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub brokers: String,
    pub registry: String,
}

/// A running broker and registry; dropping it ends both.
pub struct Base {
    pub supervisor: Supervisor,
    pub broker: Broker,
    pub registry: Registry,
}

impl Base {
    /// Starts both with data that goes when they go, in a folder of its own below `parent`. `settings` are lines for the
    /// broker's `server.properties`.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn throwaway(parent: &Path, progress: Progress, settings: Vec<String>) -> Result<Self> {
        let java = Java::ready(progress)?;
        let supervisor = Supervisor::throwaway(parent)?;
        Self::start(supervisor, &java, progress, settings, |_| Storage::Memory)
    }

    /// Starts both with data that stays in `folder`: the registry keeps its schemas on the broker, so ids stay the same.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn lasting(folder: &Path, progress: Progress) -> Result<Self> {
        let java = Java::ready(progress)?;
        let supervisor = Supervisor::open(folder)?;
        Self::start(supervisor, &java, progress, Vec::new(), |brokers| Storage::Kafka(brokers.to_owned()))
    }

    fn start(
        mut supervisor: Supervisor,
        java: &Java,
        progress: Progress,
        settings: Vec<String>,
        storage: impl FnOnce(&str) -> Storage,
    ) -> Result<Self> {
        let options = BrokerOptions { settings, ..BrokerOptions::in_folder(supervisor.folder()) };
        let step = progress.step("starting Apache Kafka");
        let broker = Broker::start(&mut supervisor, java, options)?;
        drop(step);
        let _step = progress.step("starting the schema registry");
        let registry = Registry::start(&mut supervisor, java, storage(&broker.address))?;
        Ok(Self { supervisor, broker, registry })
    }

    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses { brokers: self.broker.address.clone(), registry: self.registry.url.clone() }
    }
}
