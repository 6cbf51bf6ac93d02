//! Everything a test of the whole needs: a landscape's topics and schemas on the shared broker under a prefix of its own, its
//! systems simulated, and a fleet to start, kill and freeze.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use avro::Topics;
use landscape::Landscape;

use crate::{
    base::{Addresses, Base},
    dev,
    fleet::{Fleet, FleetOptions},
    mes::Manners,
    progress::Progress,
    provision::{provision, read_landscape},
    shared,
    supervise::Supervisor,
    systems::{Systems, SystemsOptions},
};

/// How long a fleet may take to be ready while other tests use the machine.
const READY: Duration = Duration::from_secs(120);

/// What a stack is made of.
#[derive(Clone, Debug)]
pub struct StackOptions {
    pub landscape: PathBuf,
    /// What its sources are filled with; none: nothing.
    pub sample: Option<PathBuf>,
    pub manners: Manners,
    /// A broker and a registry of its own, for tests that restart them, with these lines for `server.properties`.
    pub own_base: Option<Vec<String>>,
    pub session_timeout: Option<Duration>,
    /// Set in every service.
    pub environment: Vec<(String, String)>,
}

impl StackOptions {
    /// The shared broker and empty sources.
    #[must_use]
    pub fn new(landscape: impl Into<PathBuf>) -> Self {
        Self {
            landscape: landscape.into(),
            sample: None,
            manners: Manners::default(),
            own_base: None,
            session_timeout: None,
            environment: Vec::new(),
        }
    }
}

/// One test's world. Fields are dropped in this order: services, then the systems they call, then what they stand on.
pub struct Stack {
    pub fleet: Fleet,
    pub systems: Systems,
    /// Only when it has its own.
    pub base: Option<Base>,
    pub addresses: Addresses,
    pub landscape: Landscape,
    pub topics: Topics,
    folder: PathBuf,
}

impl Stack {
    /// Prepares everything; no service runs yet.
    ///
    /// # Errors
    /// When the landscape has problems or something does not start.
    pub async fn start(options: StackOptions) -> Result<Self> {
        let landscape = read_landscape(&options.landscape)?;
        let target = dev::target()?;
        let own = options.own_base.clone();
        // Both start processes and wait for them, which must not hold up the runtime of the test.
        let (base, addresses) = tokio::task::spawn_blocking(move || -> Result<_> {
            match own {
                Some(settings) => {
                    let base = Base::throwaway(&target.join("devstack"), Progress::Quiet, settings)?;
                    let addresses = base.addresses();
                    Ok((Some(base), addresses))
                }
                None => Ok((None, shared::addresses()?)),
            }
        })
        .await
        .context("starting a broker and a registry")??;
        let prefix = format!("t{}.", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let topics = Topics::new(prefix.clone());
        provision(&landscape, &topics, &addresses.brokers, &addresses.registry).await?;

        let supervisor = Supervisor::throwaway(&dev::target()?.join("devstack"))?;
        let folder = supervisor.folder().to_owned();
        let systems = Systems::start(
            &landscape,
            &SystemsOptions {
                folder: folder.clone(),
                sample: options.sample,
                landscape: None,
                manners: options.manners,
                keep: false,
            },
        )?;
        let fleet_options = FleetOptions {
            landscape: options.landscape,
            brokers: addresses.brokers.clone(),
            registry: addresses.registry.clone(),
            topic_prefix: Some(prefix),
            session_timeout: options.session_timeout,
            environment: options.environment,
        };
        let fleet = Fleet::new(supervisor, fleet_options)?;
        Ok(Self { fleet, systems, base, addresses, landscape, topics, folder })
    }

    /// Starts one of each service of the landscape and waits until all are ready.
    ///
    /// # Errors
    /// When one ends or is not ready in time; the message names it and why.
    pub fn start_fleet(&mut self) -> Result<()> {
        self.fleet.tracker(&self.folder.join("tracker.sqlite"))?;
        self.fleet.replayer()?;
        self.fleet.validator("validator")?;
        for destination in self.landscape.destinations.keys() {
            self.fleet.sink(destination, &self.systems.plant(destination)?.url())?;
        }
        for source in self.landscape.sources.keys() {
            self.fleet.publisher(source, &self.systems.source_endpoint(source)?)?;
        }
        self.fleet.wait_ready(READY)
    }

    /// A Kafka client for looking at the topics.
    #[must_use]
    pub fn client(&self, name: &str) -> kafka::Client {
        kafka::Client::new(self.addresses.brokers.clone(), name)
    }

    /// A folder of this test; it goes with the stack.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
