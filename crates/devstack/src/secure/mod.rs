//! The secured stack: TLS everywhere, one identity per service, source and destination, and exactly the grants of
//! [`landscape::rights`].
//!
//! What it guarantees: nobody without a password or certificate of this stack reaches broker or registry, and whoever has one may do what
//! was granted and nothing else. Secrets are made anew at each start and lie in files that their owner alone may read; the authority's
//! key is nowhere but in this process. What it does not: the registry behind the gate listens on loopback without either.

mod accounts;
mod authority;
mod gate;
mod grants;
mod listeners;

use std::path::Path;

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use landscape::{Grant, Operation, Pattern, Principal, Resource};
use rand::RngExt;

pub use accounts::{Accounts, Way};
pub use authority::{Authority, Certified, Validity};
pub use gate::Gate;
pub use listeners::{BOOTSTRAP, Listeners};

use crate::{broker::Broker, java::Java};
use accounts::Account;

/// Creates topics and registers schemas.
pub const PROVISIONER: &str = "provisioner";
/// Looks, for the command line.
pub const OPERATOR: &str = "operator";
/// How the registry proves itself to the broker, where it keeps its schemas there.
pub(crate) const REGISTRY: &str = "registry";

/// What a secured base is made of.
#[derive(Clone, Debug)]
pub struct SecureOptions {
    /// Who is let in, with what: [`landscape::rights`], or some of it.
    pub principals: Vec<Principal>,
    pub way: Way,
    /// Every password begins so: a test that looks for leaked secrets finds them by it.
    pub password_prefix: String,
}

impl SecureOptions {
    #[must_use]
    pub fn new(principals: Vec<Principal>) -> Self {
        Self { principals, way: Way::Password, password_prefix: String::new() }
    }
}

/// Who is who on a secured base.
pub struct Secured {
    pub accounts: Accounts,
    pub authority: Authority,
    options: SecureOptions,
    listeners: Listeners,
    gate: Option<Gate>,
}

impl Secured {
    /// Makes the authority and everybody's files below `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn prepare(folder: &Path, options: SecureOptions) -> Result<Self> {
        let authority = Authority::new("millrace devstack")?;
        let listeners = Listeners::new(folder.join("kafka-listeners"), &authority)?;
        let accounts = Accounts::new(folder.join("secrets"), options.way);
        let secured = Self { accounts, authority, options, listeners, gate: None };
        for name in secured.names() {
            secured.enrol(name)?;
        }
        Ok(secured)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.options.principals.iter().map(|principal| principal.name.as_str()).chain([BOOTSTRAP, REGISTRY])
    }

    /// New secrets for an identity. The broker and the registry know them after [`Secured::admit`].
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn enrol(&self, name: &str) -> Result<()> {
        let secret = || {
            let bytes: [u8; 16] = rand::rng().random();
            format!("{}{}", self.options.password_prefix, HEXLOWER.encode(&bytes))
        };
        self.accounts.write(&Account {
            name,
            password: &secret(),
            registry_password: &secret(),
            certified: &self.authority.client(name, Validity::Now)?,
            authority: self.authority.certificate(),
        })
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Makes users and grants on the broker, and accounts at the registry, exactly these.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn admit(&self, java: &Java, broker: &Broker, principals: &[Principal]) -> Result<()> {
        let bootstrap = self.listeners.bootstrap(&self.authority, &broker.certificates().context("a secured broker")?)?;
        let mut all = principals.to_vec();
        all.push(nobody(BOOTSTRAP));
        all.push(keeps_schemas());
        grants::apply(java, &bootstrap, &self.accounts, &all)?;
        if let Some(gate) = &self.gate {
            gate.admit(self.passwords(all.iter().map(|principal| principal.name.as_str()).chain([REGISTRY]))?);
        }
        Ok(())
    }

    /// [`Secured::admit`] of those whom it was made for.
    pub(crate) fn admit_all(&self, java: &Java, broker: &Broker) -> Result<()> {
        self.admit(java, broker, &self.options.principals)
    }

    /// Opens the gate before the registry; where it is from now on.
    pub(crate) fn open_gate(&mut self, registry: &str) -> Result<()> {
        let certified = self.authority.server("registry gate", Validity::Now)?;
        self.gate = Some(Gate::open(&certified, registry, self.passwords(self.names())?)?);
        Ok(())
    }

    fn passwords<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<std::collections::BTreeMap<String, String>> {
        gate::passwords(|name| self.accounts.file(name, "registry/password"), names)
    }

    /// Where the registry is for those with an account.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        self.gate.as_ref().map(|gate| gate.url.as_str())
    }

    /// Gives the broker's listener for passwords another certificate; it shows it after its next start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn renew_broker(&self, validity: Validity) -> Result<()> {
        self.listeners.renew(&self.authority, validity)
    }

    /// Where identities are let in: with passwords or with certificates.
    #[must_use]
    pub fn brokers(&self, broker: &Broker) -> String {
        match self.options.way {
            Way::Password => broker.address.clone(),
            Way::Certificate => broker.certificates().unwrap_or_default(),
        }
    }
}

/// A user without grants. The bootstrap identity needs none, and a test may look with a password.
fn nobody(name: &str) -> Principal {
    Principal { name: name.to_owned(), service: "devstack", system: None, grants: Vec::new() }
}

/// What the registry needs where it keeps its schemas on the broker: its two topics and its groups.
fn keeps_schemas() -> Principal {
    use Operation::{AlterConfigs, Create, Describe, DescribeConfigs, Read, Write};
    let grant = |resource, operations: &[Operation]| Grant {
        resource,
        name: "kafkasql-".to_owned(),
        pattern: Pattern::Prefixed,
        operations: operations.to_vec(),
    };
    let topics = grant(Resource::Topic, &[Read, Write, Create, Describe, DescribeConfigs, AlterConfigs]);
    Principal { grants: vec![topics, grant(Resource::Group, &[Read, Describe])], ..nobody(REGISTRY) }
}
