//! The landscape's folder, the brokers and the registry, for the commands that need them without a tracker.
//!
//! Addresses: flag or `MILLRACE_*`, then `--context`, then the landscape, then the demo that runs in this folder.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use avro::{TopicSpec, Topics};
use clap::Args;
use kafka::Client;
use landscape::Landscape;
use registry::Registry;

use crate::{demo::Demo, exit::Failure, options::Global, server::NamedContext};

/// Where Kafka and the registry are.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Addresses {
    /// Kafka bootstrap servers, comma-separated
    #[arg(long, env = "MILLRACE_BROKERS", value_name = "HOST:PORT,...", value_delimiter = ',', hide_env_values = true)]
    brokers: Vec<String>,

    /// Schema registry, Confluent API, comma-separated
    #[arg(long, env = "MILLRACE_REGISTRY", value_name = "URL,...", value_delimiter = ',', hide_env_values = true)]
    registry: Vec<String>,

    /// Prefix of every topic [default: the landscape's]
    #[arg(long, env = "MILLRACE_TOPIC_PREFIX", value_name = "PREFIX", hide_env_values = true)]
    topic_prefix: Option<String>,

    /// One broker will do: topics get one replica
    #[arg(long, env = "MILLRACE_DEVELOPMENT")]
    development: bool,

    #[command(flatten)]
    access: service::Access,
}

/// A landscape and the way to its cluster.
pub(crate) struct Cluster {
    pub(crate) landscape: Landscape,
    pub(crate) topics: Topics,
    brokers: Vec<String>,
    registry: Vec<String>,
    development: bool,
}

/// Reads the landscape's files.
pub(crate) fn files(global: &Global, dir: Option<&PathBuf>) -> Result<BTreeMap<String, String>, Failure> {
    let dir = folder(global, dir)?;
    let files = service::landscape_files(&dir).map_err(|error| Failure::usage(format!("reading the landscape: {error}")))?;
    if files.is_empty() {
        return Err(Failure::usage(format!("{} holds no landscape: no YAML files", dir.display())));
    }
    Ok(files)
}

fn folder(global: &Global, dir: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(dir) = dir.or(global.landscape.as_ref()) {
        return Ok(dir.clone());
    }
    if let Some(demo) = Demo::find()? {
        return Ok(PathBuf::from(demo.landscape));
    }
    let sample = Path::new("deploy/landscape");
    if sample.is_dir() {
        return Ok(sample.to_owned());
    }
    Err(Failure::usage("where is the landscape? Name its folder, or use --landscape DIR or MILLRACE_LANDSCAPE"))
}

impl Addresses {
    pub(crate) fn cluster(&self, global: &Global) -> Result<Cluster, Failure> {
        let files = files(global, None)?;
        let mut landscape = Landscape::parse(&files).map_err(|problems| {
            Failure::usage(format!("the landscape has {} problems; see `millrace landscape check`", problems.len()))
        })?;
        let context = global.context.as_deref().map(NamedContext::read).transpose()?.unwrap_or_default();
        let demo = Demo::find()?;
        let first = |lists: [Vec<String>; 4]| lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default();
        let demo_brokers = demo.as_ref().map(|demo| vec![demo.brokers.clone()]).unwrap_or_default();
        let asks_demo = self.brokers.is_empty() && context.brokers.is_empty() && landscape.kafka.brokers.is_empty();
        // The demo's own identity is for its brokers alone, and an option beats it.
        let own = demo.as_ref().and_then(|demo| demo.access.as_ref()).filter(|_| asks_demo);
        for access in own.into_iter().chain([&self.access]) {
            access.apply(&mut landscape).map_err(|exit| Failure::usage(exit.text()))?;
        }
        let demo_registry = demo.as_ref().map(|demo| vec![demo.registry.clone()]).unwrap_or_default();
        let brokers = first([self.brokers.clone(), context.brokers, landscape.kafka.brokers.clone(), demo_brokers]);
        let registry = first([self.registry.clone(), context.registry, landscape.registry.urls.clone(), demo_registry]);
        let prefix = self
            .topic_prefix
            .clone()
            .or_else(|| demo.as_ref().map(|demo| demo.topic_prefix.clone()))
            .unwrap_or_else(|| landscape.kafka.topic_prefix.clone());
        let development = self.development || demo.is_some();
        Ok(Cluster { topics: Topics::new(prefix), landscape, brokers, registry, development })
    }
}

/// A registry that does not answer is told within half of this.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cluster {
    pub(crate) fn kafka(&self) -> Result<Client, Failure> {
        if self.brokers.is_empty() {
            return Err(Failure::usage(
                "where is Kafka? Name it with --brokers, MILLRACE_BROKERS, --context or in millrace.yaml",
            ));
        }
        Ok(Client::of(&self.landscape.kafka, &self.brokers, "millrace-cli"))
    }

    /// Bootstrap servers; none are known.
    pub(crate) fn brokers(&self) -> &[String] {
        &self.brokers
    }

    /// Addresses of the registry; none are known.
    pub(crate) fn registry_urls(&self) -> &[String] {
        &self.registry
    }

    pub(crate) fn registry(&self) -> Result<Registry, Failure> {
        if self.registry.is_empty() {
            return Err(Failure::usage(
                "where is the registry? Name it with --registry, MILLRACE_REGISTRY, --context or in millrace.yaml",
            ));
        }
        let config = registry::Config::of(&self.landscape.registry, &self.registry, PATIENCE);
        Registry::new(config).map_err(|error| Failure::usage(error.to_string()))
    }

    /// Whether one broker will do.
    pub(crate) fn is_development(&self) -> bool {
        self.development
    }

    /// How one is let in; none: whoever asks.
    pub(crate) fn security(&self) -> Option<&landscape::Security> {
        self.landscape.kafka.security.as_ref()
    }

    /// Whether nothing leaves this machine on the way to the brokers.
    pub(crate) fn is_local(&self) -> bool {
        let local = |address: &String| ["127.0.0.1:", "localhost:", "[::1]:"].iter().any(|here| address.starts_with(here));
        self.brokers.iter().all(local)
    }

    /// Every topic that this landscape needs.
    pub(crate) fn specs(&self) -> Vec<TopicSpec> {
        let specs = self.landscape.topic_specs(&self.topics).into_iter();
        if self.development { specs.map(TopicSpec::for_one_broker).collect() } else { specs.collect() }
    }
}
