//! A broker and a registry under one supervisor: what every stack stands on.

use std::path::Path;

use anyhow::Result;

use crate::{
    apicurio::{Credentials, Registry, Storage},
    broker::{Broker, BrokerOptions},
    java::Java,
    progress::Progress,
    secure::{REGISTRY, SecureOptions, Secured},
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
    /// None: whoever reaches them may do everything.
    pub secured: Option<Secured>,
    pub java: Java,
}

/// How a base is made; what differs between tests and the demo.
struct Making {
    settings: Vec<String>,
    secure: Option<SecureOptions>,
    /// Whether the registry keeps its schemas on the broker, so that ids stay the same.
    lasting: bool,
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
        Self::start(supervisor, java, progress, Making { settings, secure: None, lasting: false })
    }

    /// As [`Base::throwaway`], for those alone whom `secure` lets in.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn secured(parent: &Path, progress: Progress, settings: Vec<String>, secure: SecureOptions) -> Result<Self> {
        let java = Java::ready(progress)?;
        let supervisor = Supervisor::throwaway(parent)?;
        Self::start(supervisor, java, progress, Making { settings, secure: Some(secure), lasting: false })
    }

    /// Starts both with data that stays in `folder`; for those alone whom `secure` lets in, when it is given.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn lasting(folder: &Path, progress: Progress, secure: Option<SecureOptions>) -> Result<Self> {
        let java = Java::ready(progress)?;
        let supervisor = Supervisor::open(folder)?;
        Self::start(supervisor, java, progress, Making { settings: Vec::new(), secure, lasting: true })
    }

    fn start(mut supervisor: Supervisor, java: Java, progress: Progress, making: Making) -> Result<Self> {
        let Making { settings, secure, lasting } = making;
        let mut secured = secure.map(|options| Secured::prepare(supervisor.folder(), options)).transpose()?;
        let listeners = secured.as_ref().map(|secured| secured.listeners().clone());
        let options = BrokerOptions { settings, listeners, ..BrokerOptions::in_folder(supervisor.folder()) };
        let step = progress.step("starting Apache Kafka");
        let broker = Broker::start(&mut supervisor, &java, options)?;
        drop(step);
        let mut storage = Storage::Memory;
        if lasting {
            storage = Storage::Kafka { brokers: broker.address.clone(), credentials: None };
        }
        if let Some(secured) = &secured {
            let _step = progress.step("making users and grants");
            secured.admit_all(&java, &broker)?;
            if lasting {
                let credentials = Some(Credentials {
                    own: secured.accounts.key_store(REGISTRY)?,
                    authority: secured.accounts.file(REGISTRY, "kafka/ca.crt"),
                });
                storage = Storage::Kafka { brokers: broker.certificates().unwrap_or_default(), credentials };
            }
        }
        let _step = progress.step("starting the schema registry");
        let registry = Registry::start(&mut supervisor, &java, storage)?;
        if let Some(secured) = &mut secured {
            secured.open_gate(&registry.url)?;
        }
        Ok(Self { supervisor, broker, registry, secured, java })
    }

    /// Where both are for the fleet.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        match &self.secured {
            None => Addresses { brokers: self.broker.address.clone(), registry: self.registry.url.clone() },
            Some(secured) => Addresses {
                brokers: secured.brokers(&self.broker),
                registry: secured.registry().unwrap_or(&self.registry.url).to_owned(),
            },
        }
    }
}
