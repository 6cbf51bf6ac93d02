//! Wiring: landscape → topics → registry → followed topics → the worker.

use std::{path::PathBuf, sync::Arc};

use avro::{Reader, topic_specs};
use kafka::{Client, Fetcher, FollowConfig, Follower, Sasl, Security, Start, WorkerConfig};
use model::Domain;
use registry::Registry;
use service::{CancellationToken, Context, Exit};
use tokio::runtime::Handle;

use crate::{
    Config,
    archive::Archive,
    config::NAME,
    desk::Desk,
    execute::{Replayer, Views},
};

/// The replayer, built and ready to work.
pub struct App {
    worker: WorkerConfig,
    processor: Replayer,
    /// Ends the follower with the worker.
    following: CancellationToken,
}

/// The replayer has no options of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

impl service::App for App {
    const NAME: &'static str = NAME;
    const ABOUT: &'static str = "Keeps the state of every dead letter and runs replay plans";
    type Args = Args;

    async fn build(context: Context<Args>) -> Result<Self, Exit> {
        let config = Config::new(Arc::clone(&context.landscape), context.topics.clone());
        let client = client(&context);
        wait_for_topics(&context, &config, &client).await?;
        let registry = registry_client(&context)?;
        let domains: Vec<Domain> = context.landscape.domains.keys().copied().collect();
        let schemas = Desk::schemas(&context.topics, &domains);
        let writer = context
            .health
            .wait_for("registry", context.common.start_timeout, || async { registry.writer(&schemas).await })
            .await?;

        let group = config.identity();
        let following = context.stop.child_token();
        let follow = |topics: Vec<String>| {
            let topics = topics.into_iter().map(|topic| (topic, Start::Beginning)).collect();
            let config = FollowConfig { client: client.clone(), group: group.clone(), topics };
            Follower::spawn(config, following.clone()).map_err(Exit::config)
        };
        let followed = Views { golden: follow(config.views())?, ledgers: follow(config.ledgers())? };
        let runtime = Handle::current();
        let fetcher = Fetcher::new(&client, &group).map_err(Exit::config)?;

        let mut worker = WorkerConfig::new(client, &group, NAME, &group, NAME);
        worker.inputs = config.inputs();
        worker.state = config.state();
        worker.whole = false;
        let processor = Replayer::new(
            config,
            writer,
            Arc::new(Reader::default()),
            registry,
            runtime.clone(),
            Archive::Log { fetcher, runtime },
            followed,
            context.health.clone(),
        );
        Ok(Self { worker, processor, following })
    }

    async fn run(self, stop: CancellationToken) -> Result<(), Exit> {
        let ended = kafka::run(self.worker, self.processor, stop).await;
        self.following.cancel();
        match ended {
            Ok(drained) => {
                tracing::info!(records = drained.records, transactions = drained.transactions, "drained");
                Ok(())
            }
            Err(error) if error.is_fenced() => Err(Exit::again(error)),
            Err(error) => Err(Exit::died(error)),
        }
    }
}

fn client(context: &Context<Args>) -> Client {
    let path = |file: &Option<String>| file.as_ref().map(PathBuf::from);
    let security = context.landscape.kafka.security.as_ref().map(|security| Security {
        ca_file: path(&security.ca_file),
        certificate_file: path(&security.certificate_file),
        key_file: path(&security.key_file),
        sasl: security.username.as_ref().zip(path(&security.password_file)).map(|(username, password_file)| Sasl {
            mechanism: security.mechanism.clone().unwrap_or_else(|| "SCRAM-SHA-512".to_owned()),
            username: username.clone(),
            password_file,
        }),
    });
    Client { brokers: context.brokers.join(","), client_id: format!("millrace-{NAME}-{}", context.instance), security }
}

fn registry_client(context: &Context<Args>) -> Result<Registry, Exit> {
    let settings = &context.landscape.registry;
    let mut config = registry::Config::new(context.registry.clone());
    config.username.clone_from(&settings.username);
    config.password_file = settings.password_file.as_ref().map(PathBuf::from);
    config.ca_file = settings.ca_file.as_ref().map(PathBuf::from);
    config.retry_for = config.retry_for.min(context.common.start_timeout / 2);
    Registry::new(config).map_err(Exit::config)
}

/// Missing topics are waited for; a topic that is there but wrong ends the start at once.
async fn wait_for_topics(context: &Context<Args>, config: &Config, client: &Client) -> Result<(), Exit> {
    let landscape = &context.landscape;
    let domains: Vec<Domain> = landscape.domains.keys().copied().collect();
    let sources: Vec<&str> = landscape.sources.keys().map(String::as_str).collect();
    let destinations: Vec<&str> = landscape.destinations.keys().map(String::as_str).collect();
    let mut touched = config.inputs();
    touched.extend(config.state());
    touched.extend(config.views());
    touched.extend(config.ledgers());
    touched.extend(domains.iter().map(|domain| context.topics.change(*domain)));
    touched.extend(sources.iter().chain(&destinations).chain(&["validator"]).map(|stage| context.topics.command(stage)));
    let mut specs =
        topic_specs(&context.topics, landscape.kafka.slots, landscape.kafka.replication, &domains, &sources, &destinations);
    specs.retain(|spec| touched.contains(&spec.name));
    // So that the reason is known before the time is up.
    let patience = context.common.start_timeout / 2;
    let wrong = context
        .health
        .wait_for("topics", context.common.start_timeout, || async {
            let wrong = kafka::topics::wrong(client, &specs, context.common.development, patience).await;
            wrong.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
        })
        .await?;
    if wrong.is_empty() { Ok(()) } else { Err(Exit::config(anyhow::anyhow!("{}", wrong.join("; ")))) }
}
