//! Wiring: landscape → topics → schemas → view of references → workers.

use std::{sync::Arc, time::Duration};

use avro::{Reader, Schema, TopicSpec};
use kafka::{Client, FollowConfig, Follower, Start, WorkerConfig};
use registry::Registry;
use service::{CancellationToken, Context, Exit, Health};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

use crate::{
    Args, Config,
    processor::Validator,
    shared::{STAGE, Shared},
    tally,
    view::{self, REFERRED, View},
};

const PULSE: Duration = Duration::from_secs(1);

/// The validator, built and ready to decide.
pub struct App {
    shared: Arc<Shared>,
    workers: Vec<WorkerConfig>,
    following: JoinHandle<()>,
    is_complete: oneshot::Receiver<()>,
    health: Health,
}

impl service::App for App {
    const NAME: &'static str = "validator";
    const ABOUT: &'static str = "Decides which changes become golden; holds what waits, writes dead letters, exactly once";
    type Args = Args;

    async fn build(context: Context<Args>) -> Result<Self, Exit> {
        let config = Config::from_args(&context.args, context.landscape.kafka.slots).map_err(Exit::arguments)?;
        let client_id = format!("millrace-{STAGE}-{}", context.instance);
        let client = Client::of(&context.landscape.kafka, &context.brokers, client_id).expecting(context.grants(STAGE));
        let specs = specs(&context);
        context.wait_for_topics(|patience| kafka::topics::wrong(&client, &specs, context.common.development, patience)).await?;
        context.watch_access(&client, |client: Client| async move { client.look().await }, Client::is_outdated);
        let mut settings = registry::Config::of(&context.landscape.registry, &context.registry, context.common.start_timeout);
        settings.unknown_after = config.unknown_schema_after;
        let registry = Registry::new(settings).map_err(Exit::config)?;
        let writer = writer(&context, &registry).await?;

        let (topics, reader, view) = (context.topics.clone(), Arc::new(Reader::default()), Arc::new(View::default()));
        let group = format!("{}{STAGE}", topics.prefix());
        let referred = REFERRED.iter().filter(|domain| context.landscape.domains.contains_key(domain));
        let follow = FollowConfig {
            client: client.clone(),
            group: group.clone(),
            topics: referred.map(|domain| (topics.golden(*domain), Start::Beginning)).collect(),
        };
        let (complete, is_complete) = oneshot::channel();
        let followed = Follower::spawn(follow, context.stop.clone()).map_err(Exit::config)?;
        let following = tokio::spawn(view::follow(
            Arc::clone(&view),
            Arc::clone(&reader),
            registry.clone(),
            topics.clone(),
            followed,
            complete,
        ));
        context.health.not_ready("references", "reading customers and reference codes up to where they were at the start");

        tally::zeros(context.landscape.domains.keys().copied());
        let workers = (0..config.workers).map(|worker| worker_config(&context, &client, &group, worker)).collect();
        let health = context.health;
        let shared = Shared::new(Arc::clone(&context.landscape), topics, reader, writer, registry, view, health.clone());
        let shared = Arc::new(shared.with_traces(context.traces));
        Ok(Self { shared, workers, following, is_complete, health })
    }

    async fn run(self, stop: CancellationToken) -> Result<(), Exit> {
        let (mut pulse, mut is_complete) = (tokio::time::interval(PULSE), self.is_complete);
        loop {
            tokio::select! {
                complete = &mut is_complete => match complete {
                    Ok(()) => break,
                    Err(_) if stop.is_cancelled() => return Ok(()),
                    Err(_) => return Err(Exit::died(anyhow::anyhow!("the view of references ended"))),
                },
                _ = pulse.tick() => self.health.tick(),
                () = stop.cancelled() => return Ok(()),
            }
        }
        self.health.ready("references");
        let mut running = JoinSet::new();
        for (worker, mut config) in self.workers.into_iter().enumerate() {
            let shared = Arc::clone(&self.shared);
            config.alive = Some(Arc::new(move || shared.pulse.beat(worker)));
            running.spawn(kafka::run(config, Validator::new(Arc::clone(&self.shared), worker), stop.clone()));
        }
        let mut following = self.following;
        loop {
            tokio::select! {
                _ = pulse.tick() => if self.shared.pulse.is_well() {
                    self.health.tick();
                },
                ended = running.join_next() => match ended {
                    None => return Ok(()),
                    Some(ended) => finished(ended.map_err(Exit::died)?, &stop)?,
                },
                _ = &mut following, if !stop.is_cancelled() => {
                    if !stop.is_cancelled() {
                        return Err(Exit::died(anyhow::anyhow!("the view of references ended")));
                    }
                }
            }
        }
    }
}

fn finished(ended: Result<kafka::Drained, kafka::Error>, stop: &CancellationToken) -> Result<(), Exit> {
    match ended {
        Ok(drained) => {
            tracing::info!(records = drained.records, transactions = drained.transactions, "a worker drained");
            if stop.is_cancelled() { Ok(()) } else { Err(Exit::died(anyhow::anyhow!("a worker ended by itself"))) }
        }
        Err(error) if error.is_fenced() => Err(Exit::again(error)),
        Err(error) => Err(Exit::died(error)),
    }
}

fn worker_config(context: &Context<Args>, client: &Client, group: &str, worker: usize) -> WorkerConfig {
    let (topics, landscape) = (&context.topics, &context.landscape);
    let instance = format!("{}-{worker}", context.instance);
    let transactional_id = format!("{}{STAGE}.{}.{worker}", topics.prefix(), context.instance);
    let mut config = WorkerConfig::new(client.clone(), group, &instance, &transactional_id, STAGE);
    config.inputs = landscape.captures().map(|(source, domain)| topics.change(source, domain)).collect();
    config.inputs.push(topics.command(STAGE));
    // Only these, so that forty plants do not multiply the validator's work.
    let confirming = landscape.destinations.values().filter(|destination| destination.confirms);
    config.inputs.extend(confirming.map(|destination| topics.receipt(&destination.name)));
    config.state = landscape.domains.keys().map(|domain| topics.golden(*domain)).collect();
    config.state.push(topics.held());
    config.session_timeout = context.common.session_timeout;
    config
}

/// The topics that the validator touches.
fn specs(context: &Context<Args>) -> Vec<TopicSpec> {
    let landscape = &context.landscape;
    let all = landscape.topic_specs(&context.topics);
    let topics = &context.topics;
    let mut own = vec![topics.held(), topics.finding(), topics.dlq(STAGE), topics.command(STAGE)];
    own.extend(landscape.captures().map(|(source, domain)| topics.change(source, domain)));
    own.extend(landscape.domains.keys().map(|domain| topics.golden(*domain)));
    let confirming = landscape.destinations.values().filter(|destination| destination.confirms);
    own.extend(confirming.map(|destination| topics.receipt(&destination.name)));
    all.into_iter().filter(|spec| own.contains(&spec.name)).collect()
}

/// The ids of what the validator writes.
async fn writer(context: &Context<Args>, registry: &Registry) -> Result<avro::Writer, Exit> {
    let topics = &context.topics;
    let mut subjects =
        vec![(Schema::Held, topics.held()), (Schema::FindingReport, topics.finding()), (Schema::DeadLetter, topics.dlq(STAGE))];
    subjects.extend(context.landscape.domains.keys().map(|domain| (Schema::golden(*domain), topics.golden(*domain))));
    context.wait_for("registry", || registry.writer(&subjects)).await
}
