//! A real schema registry on this machine: Apicurio, through its Confluent-compatible API.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::{
    broker::wait_until,
    fetch,
    java::Java,
    ports,
    supervise::{GRACE, Launch, Supervisor},
};

const START: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(5);

/// Where schemas are kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// Gone with the process: quick to start, for tests.
    Memory,
    /// On topics of a broker: ids survive a restart.
    Kafka {
        brokers: String,
        /// What it is let in with, where it needs that.
        credentials: Option<Credentials>,
    },
}

/// PEM files by which a registry proves itself to a secured broker.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Its key and certificate.
    pub own: PathBuf,
    pub authority: PathBuf,
}

impl Credentials {
    /// Settings of each of its Kafka clients: its own options for TLS ask for passwords, which PEM files do not have.
    fn settings(&self) -> Vec<String> {
        let (own, authority) = (self.own.display().to_string(), self.authority.display().to_string());
        let settings = [
            ("security.protocol", "SSL"),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", own.as_str()),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", authority.as_str()),
        ];
        ["admin", "consumer", "producer"]
            .iter()
            .flat_map(|client| settings.map(|(name, value)| format!("-Dapicurio.kafkasql.{client}.{name}={value}")))
            .collect()
    }
}

/// A running registry.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Base address of the Confluent API.
    pub url: String,
    port: u16,
    storage: Storage,
    java: Java,
}

impl Registry {
    /// Starts a registry and waits until it really answers.
    ///
    /// # Errors
    /// When it does not start in time; the end of its log is part of the message.
    pub fn start(supervisor: &mut Supervisor, java: &Java, storage: Storage) -> Result<Self> {
        let port = ports::free()?;
        let url = format!("http://127.0.0.1:{port}/apis/ccompat/v7");
        let registry = Self { url, port, storage, java: java.clone() };
        registry.launch(supervisor)?;
        Ok(registry)
    }

    /// Starts it again on the same port, after [`Registry::stop`].
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn restart(&self, supervisor: &mut Supervisor) -> Result<()> {
        self.launch(supervisor)
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When it was not started here.
    pub fn stop(&self, supervisor: &mut Supervisor) -> Result<()> {
        supervisor.end("registry", GRACE).map(drop)
    }

    fn launch(&self, supervisor: &mut Supervisor) -> Result<()> {
        let mut environment = vec![
            ("QUARKUS_HTTP_HOST".to_owned(), "127.0.0.1".to_owned()),
            ("QUARKUS_HTTP_PORT".to_owned(), self.port.to_string()),
        ];
        let mut secured = Vec::new();
        if let Storage::Kafka { brokers, credentials } = &self.storage {
            let mut set = |name: &str, value: &str| environment.push((name.to_owned(), value.to_owned()));
            set("APICURIO_STORAGE_KIND", "kafkasql");
            set("APICURIO_KAFKASQL_BOOTSTRAP_SERVERS", brokers);
            if let Some(credentials) = credentials {
                // Everything of it on the broker begins alike, so that one grant names it.
                set("APICURIO_KAFKASQL_CONSUMER_GROUP_PREFIX", "kafkasql-");
                set("APICURIO_EVENTS_KAFKA_TOPIC", "kafkasql-events");
                secured = credentials.settings();
            }
        }
        let jar = self.java.registry.to_str().context("reading the registry's path")?;
        let process = supervisor.spawn(Launch {
            name: "registry".to_owned(),
            program: "java".into(),
            arguments: ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
                .map(str::to_owned)
                .into_iter()
                .chain(secured)
                .chain(["-jar".to_owned(), jar.to_owned()])
                .collect(),
            environment,
        })?;
        wait_until("the schema registry", process, START, |_| subjects_answer(self.port))
    }
}

/// The list of subjects is served from the storage, so it answers only when that is ready too.
fn subjects_answer(port: u16) -> bool {
    fetch::get(port, "/apis/ccompat/v7/subjects", PROBE).is_ok_and(|(status, _)| status == 200)
}
