//! Wiring: landscape → store → topics → follower → API.

use std::{collections::BTreeMap, future::IntoFuture as _, path::PathBuf, sync::Arc, time::Duration};

use avro::{Reader, Schema, TopicKind, topic_specs};
use kafka::{Client, FollowConfig, Followed, Follower, Producer, Sasl, Security, Start};
use model::Domain;
use registry::Registry;
use service::{CancellationToken, Context, Exit};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    Args, Config,
    act::Acts,
    api::{self, Api},
    fleet::Fleet,
    follow::{Decoder, Follow, Progress},
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

        let client = kafka_client(&context);
        let topics = followed_topics(&context);
        wait_for_topics(&context, &client).await?;
        let registry = Arc::new(registry_client(&context)?);
        let writer = writer(&context, &registry).await?;
        let producer = Producer::new(&client).map_err(Exit::config)?;

        let mut positions: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for ((topic, slot), next) in store.positions().map_err(Exit::died)? {
            positions.entry(topic).or_default().insert(slot, next);
        }
        let topics = topics.into_iter().map(|topic| match positions.remove(&topic) {
            Some(next) => (topic, Start::Offsets(next)),
            None => (topic, Start::Beginning),
        });
        let group = format!("{}tracker", context.topics.prefix());
        let follow = FollowConfig { client: client.clone(), group, topics: topics.collect() };
        let followed = Follower::spawn(follow, context.stop.clone()).map_err(Exit::config)?;

        let (reader, progress) = (Arc::new(Reader::default()), Arc::new(Progress::default()));
        let acts = Acts::new(context.topics.clone(), fleet.slots, producer, writer, &context.instance, reads.clone());
        let api = Api {
            fleet: Arc::clone(&fleet),
            reads: reads.clone(),
            acts: Some(Arc::new(acts)),
            progress: Arc::clone(&progress),
            reader: Arc::clone(&reader),
        };
        context.health.not_ready("store", "reading the topics up to where they were at the start");
        let follow = Follow {
            store,
            reads,
            fleet,
            decoder: Decoder { topics: context.topics.clone(), reader, registry, health: context.health.clone() },
            progress,
            health: context.health.clone(),
        };
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

fn kafka_client(context: &Context<Args>) -> Client {
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
    let client_id = format!("millrace-tracker-{}", context.instance);
    Client { brokers: context.brokers.join(","), client_id, security }
}

fn registry_client(context: &Context<Args>) -> Result<Registry, Exit> {
    let settings = &context.landscape.registry;
    let mut config = registry::Config::new(context.registry.clone());
    config.username.clone_from(&settings.username);
    config.password_file = settings.password_file.as_ref().map(PathBuf::from);
    config.ca_file = settings.ca_file.as_ref().map(PathBuf::from);
    config.retry_for = config.retry_for.min(context.common.start_timeout / 2);
    // One record of a schema that nobody knows must not hold up the view of everything else for minutes.
    config.unknown_after = UNKNOWN_AFTER;
    Registry::new(config).map_err(Exit::config)
}

/// Every topic of the landscape but commands and cursors, which say nothing that their effects do not.
fn followed_topics(context: &Context<Args>) -> Vec<String> {
    specs(context)
        .into_iter()
        .map(|spec| spec.name)
        .filter(|name| !matches!(context.topics.kind(name), Some(TopicKind::Command(_) | TopicKind::Cursor(_)) | None))
        .collect()
}

fn specs(context: &Context<Args>) -> Vec<avro::TopicSpec> {
    let landscape = &context.landscape;
    let domains: Vec<Domain> = landscape.domains.keys().copied().collect();
    let sources: Vec<&str> = landscape.sources.keys().map(String::as_str).collect();
    let destinations: Vec<&str> = landscape.destinations.keys().map(String::as_str).collect();
    let replication = landscape.kafka.replication;
    topic_specs(&context.topics, landscape.kafka.slots, replication, &domains, &sources, &destinations)
}

/// Missing topics are waited for; a topic that is there but wrong ends the start at once.
async fn wait_for_topics(context: &Context<Args>, client: &Client) -> Result<(), Exit> {
    let specs = specs(context);
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

/// The ids of what the tracker writes: commands and audit entries.
async fn writer(context: &Context<Args>, registry: &Registry) -> Result<avro::Writer, Exit> {
    let subjects = [(Schema::Command, context.topics.command("replayer")), (Schema::AuditEntry, context.topics.audit())];
    context
        .health
        .wait_for("registry", context.common.start_timeout, || async {
            registry.writer(&subjects).await.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
        })
        .await
}
