//! Wiring: landscape → topics → registry → followed topics → the worker.

use std::sync::Arc;

use avro::{Reader, TopicSpec};
use kafka::{Client, Fetcher, FollowConfig, Follower, Start, WorkerConfig};
use registry::Registry;
use service::{CancellationToken, Context, Exit};
use tokio::runtime::Handle;

use crate::{
    Config,
    archive::Archive,
    config::NAME,
    desk::Desk,
    execute::{self, Replayer, Views},
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
        let client_id = format!("millrace-{NAME}-{}", context.instance);
        let client = Client::of(&context.landscape.kafka, &context.brokers, client_id).expecting(context.grants(NAME));
        let specs = touched(&context, &config);
        context.wait_for_topics(|patience| kafka::topics::wrong(&client, &specs, context.common.development, patience)).await?;
        context.watch_access(&client, |client: Client| async move { client.look().await }, Client::is_outdated);
        let settings = registry::Config::of(&context.landscape.registry, &context.registry, context.common.start_timeout);
        let registry = Registry::new(settings).map_err(Exit::config)?;
        let schemas = Desk::schemas(&context.topics, context.landscape.captures());
        let writer = context.wait_for("registry", || registry.writer(&schemas)).await?;

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

        execute::zeros(context.landscape.destinations.keys());
        let mut worker = WorkerConfig::new(client, &group, NAME, &group, NAME);
        worker.inputs = config.inputs();
        worker.state = config.state();
        worker.whole = false;
        let health = context.health.clone();
        worker.alive = Some(Arc::new(move || health.tick()));
        let mut processor = Replayer::new(
            config,
            writer,
            Arc::new(Reader::default()),
            registry,
            runtime.clone(),
            Archive::Log { fetcher, runtime },
            followed,
            context.health.clone(),
        );
        processor.traces = context.traces;
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

/// The topics that the replayer reads and writes.
fn touched(context: &Context<Args>, config: &Config) -> Vec<TopicSpec> {
    let landscape = &context.landscape;
    let mut touched = config.inputs();
    touched.extend(config.state());
    touched.extend(config.views());
    touched.extend(config.ledgers());
    touched.extend(landscape.captures().map(|(source, domain)| context.topics.change(source, domain)));
    touched.push(context.topics.command("validator"));
    touched.extend(landscape.sources.keys().chain(landscape.destinations.keys()).map(|stage| context.topics.command(stage)));
    landscape.topic_specs(&context.topics).into_iter().filter(|spec| touched.contains(&spec.name)).collect()
}
