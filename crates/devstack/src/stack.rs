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
    provision::{provision, provision_as, read_landscape},
    secure::{BOOTSTRAP, PROVISIONER, SecureOptions, Secured, Way},
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
    /// A secured broker and registry of its own.
    pub secure: Option<Secure>,
    /// Where relative names of secret files in the landscape start from.
    pub secrets: Option<PathBuf>,
}

/// How a stack is secured: everybody has the grants of the landscape and no other.
#[derive(Clone, Debug, Default)]
pub struct Secure {
    pub way: Way,
    /// Every password begins so.
    pub password_prefix: String,
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
            secure: None,
            secrets: None,
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
        let prefix = format!("t{}.", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let topics = Topics::new(prefix.clone());
        let own = options.own_base.clone();
        let secure = options.secure.clone().map(|Secure { way, password_prefix }| {
            let principals = landscape::rights(&landscape, &topics);
            SecureOptions { principals, way, password_prefix }
        });
        // Both start processes and wait for them, which must not hold up the runtime of the test.
        let (base, addresses) = tokio::task::spawn_blocking(move || -> Result<_> {
            match (secure, own) {
                (Some(secure), settings) => {
                    let settings = settings.unwrap_or_default();
                    let base = Base::secured(&target.join("devstack"), Progress::Quiet, settings, secure)?;
                    let addresses = base.addresses();
                    Ok((Some(base), addresses))
                }
                (None, Some(settings)) => {
                    let base = Base::throwaway(&target.join("devstack"), Progress::Quiet, settings)?;
                    let addresses = base.addresses();
                    Ok((Some(base), addresses))
                }
                (None, None) => Ok((None, shared::addresses()?)),
            }
        })
        .await
        .context("starting a broker and a registry")??;
        let access = base.as_ref().and_then(|base| base.secured.as_ref()).map(|secured| secured.accounts.clone());
        match &access {
            None => provision(&landscape, &topics, &addresses.brokers, &addresses.registry).await?,
            Some(accounts) => {
                let client = accounts.client(&addresses.brokers, PROVISIONER, "provisioner");
                provision_as(&landscape, &topics, &client, accounts.registry(&addresses.registry, PROVISIONER)).await?;
            }
        }

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
            access,
            secrets: options.secrets,
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

    /// A Kafka client for looking at the topics; no grant binds it.
    #[must_use]
    pub fn client(&self, name: &str) -> kafka::Client {
        match self.secured() {
            Some(secured) => secured.accounts.client(&self.addresses.brokers, BOOTSTRAP, name),
            None => kafka::Client::new(self.addresses.brokers.clone(), name),
        }
    }

    /// The registry as one may look at it from outside of the fleet.
    #[must_use]
    pub fn registry(&self) -> registry::Config {
        match self.secured() {
            Some(secured) => secured.accounts.registry(&self.addresses.registry, BOOTSTRAP),
            None => registry::Config::new(vec![self.addresses.registry.clone()]),
        }
    }

    /// Who is who, on a secured stack.
    #[must_use]
    pub fn secured(&self) -> Option<&Secured> {
        self.base.as_ref()?.secured.as_ref()
    }

    /// A folder of this test; it goes with the stack.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
