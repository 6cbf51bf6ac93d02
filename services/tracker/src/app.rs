//! Wiring: landscape → store → topics → follower → API.

use std::{collections::BTreeMap, future::IntoFuture as _, sync::Arc, time::Duration};

use avro::{Reader, Schema, TopicKind};
use kafka::{Client, FollowConfig, Followed, Follower, Producer, Start};
use registry::Registry;
use service::{CancellationToken, Context, Exit};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    Args, Config,
    act::Acts,
    api::{self, Api},
    fleet::Fleet,
    follow::{Decoder, Follow, Progress},
    metrics,
    store::{Reads, Store},
};

/// How long the registry may deny a schema before its records are passed over here. Their own stage makes letters of them.
const UNKNOWN_AFTER: Duration = Duration::from_secs(5);

/// How often the brokers are asked whether they are there.
const PROBE: Duration = Duration::from_secs(5);

/// The tracker, built and ready to follow.
pub struct App {
    client: Client,
    follow: Follow,
    followed: mpsc::Receiver<Followed>,
    listener: TcpListener,
    api: Api,
}

impl service::App for App {
    const NAME: &'static str = "tracker";
    const ABOUT: &'static str = "Follows every revision to every destination; JSON API on its embedded store";
    type Args = Args;

    async fn build(context: Context<Args>) -> Result<Self, Exit> {
        let config = Config::from_args(context.args.clone()).map_err(Exit::config)?;
        let fleet = Arc::new(Fleet::of(&context.landscape, context.topics.prefix()));
        let listener = TcpListener::bind(config.api).await.map_err(|error| {
            Exit::config(anyhow::anyhow!("listening on {} for the API (choose another with --api): {error}", config.api))
        })?;
        let store = Store::open(&config.store, Arc::clone(&fleet)).map_err(Exit::config)?;
        let reads = Reads::new(&config.store);

        let client_id = format!("millrace-tracker-{}", context.instance);
        let client = Client::of(&context.landscape.kafka, &context.brokers, client_id).expecting(context.grants(Self::NAME));
        let topics = followed_topics(&context);
        let specs = context.landscape.topic_specs(&context.topics);
        context.wait_for_topics(|patience| kafka::topics::wrong(&client, &specs, context.common.development, patience)).await?;
        context.watch_access(&client, |client: Client| async move { client.look().await }, Client::is_outdated);
        let mut settings = registry::Config::of(&context.landscape.registry, &context.registry, context.common.start_timeout);
        // One record of a schema that nobody knows must not hold up the view of everything else for minutes.
        settings.unknown_after = UNKNOWN_AFTER;
        let registry = Arc::new(Registry::new(settings).map_err(Exit::config)?);
        // What the tracker writes.
        let subjects = [(Schema::Command, context.topics.command("replayer")), (Schema::AuditEntry, context.topics.audit())];
        let writer = context.wait_for("registry", || registry.writer(&subjects)).await?;
        let producer = Producer::new(&client).map_err(Exit::config)?;

        let mut positions: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for ((topic, slot), next) in store.positions().map_err(Exit::died)? {
            positions.entry(topic).or_default().insert(slot, next);
        }
        let topics = topics.into_iter().map(|topic| match positions.remove(&topic) {
            Some(next) => (topic, Start::Offsets(next)),
            None => (topic, Start::Beginning),
        });
        let group = format!("{}tracker.{}", context.topics.prefix(), context.instance);
        let follow = FollowConfig { client: client.clone(), group: group.clone(), topics: topics.collect() };
        let followed = Follower::spawn(follow, context.stop.clone()).map_err(Exit::config)?;

        let (reader, progress) = (Arc::new(Reader::default()), Arc::new(Progress::default()));
        let acts = Acts::new(context.topics.clone(), fleet.slots, producer, writer, &context.instance, reads.clone());
        let api = Api {
            fleet: Arc::clone(&fleet),
            reads: reads.clone(),
            acts: Some(Arc::new(acts)),
            progress: Arc::clone(&progress),
            reader: Arc::clone(&reader),
            tokens: config.tokens,
            store: config.store.into(),
        };
        context.health.not_ready("store", "reading the topics up to where they were at the start");
        metrics::zeros(&fleet);
        let (topics, health) = (context.topics.clone(), context.health.clone());
        let decoder = Decoder { topics, fleet: Arc::clone(&fleet), reader, registry, health };
        let follow =
            Follow { store, reads, fleet, group, decoder, progress, health: context.health.clone(), traces: context.traces };
        Ok(Self { client, follow, followed, listener, api })
    }

    async fn run(self, stop: CancellationToken) -> Result<(), Exit> {
        let address = self.listener.local_addr().map_err(Exit::died)?;
        tracing::info!(api = %address, "serving the API");
        let probing = tokio::spawn(probe(self.client, Arc::clone(&self.follow.progress)));
        let server = axum::serve(self.listener, api::router(self.api)).with_graceful_shutdown(stop.clone().cancelled_owned());
        let served = tokio::spawn(server.into_future());
        let followed = self.follow.run(self.followed, stop).await.map_err(Exit::died);
        probing.abort();
        // Open questions are answered before the process ends.
        served.await.map_err(Exit::died)?.map_err(Exit::died)?;
        followed
    }
}

/// Tells silence of the topics from silence of the brokers.
async fn probe(client: Client, progress: Arc<Progress>) {
    loop {
        progress.set_cut_off(kafka::topics::probe(&client, PROBE).await.is_err());
        tokio::time::sleep(PROBE).await;
    }
}

/// Every topic of the landscape but commands and cursors, which say nothing that their effects do not.
fn followed_topics(context: &Context<Args>) -> Vec<String> {
    let specs = context.landscape.topic_specs(&context.topics);
    specs
        .into_iter()
        .map(|spec| spec.name)
        .filter(|name| !matches!(context.topics.kind(name), Some(TopicKind::Command(_) | TopicKind::Cursor(_)) | None))
        .collect()
}
