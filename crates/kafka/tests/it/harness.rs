//! The broker, topics with names of their own, and a processor that copies.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka::topics::{self, Topic};
use kafka::{Client, Error, Fatal, Processor, Record, WorkerConfig};
use model::{Outcome, Outgoing, Slot, Timestamp, Transient};
use rdkafka::ClientConfig;
use rdkafka::producer::BaseProducer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const SLOTS: i32 = 4;
pub(crate) const SESSION: Duration = Duration::from_secs(6);

/// None, loudly, where no broker is reachable.
pub(crate) fn brokers() -> Option<String> {
    if let Ok(brokers) = std::env::var("MILLRACE_TEST_BROKERS") {
        return Some(brokers);
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/dev/dev.json");
    let found = std::fs::read_to_string(file)
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|dev| Some(dev.get("brokers")?.as_str()?.to_owned()))
        .filter(|brokers| std::net::TcpStream::connect(brokers.split(',').next().unwrap_or_default()).is_ok());
    if found.is_none() {
        eprintln!("SKIPPED: no broker; set MILLRACE_TEST_BROKERS or run `cargo run -p millrace-devstack -- up`");
    }
    found
}

/// One test's own names on the shared broker.
pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Bench {
    pub(crate) fn new(what: &str) -> Option<Self> {
        let brokers = brokers()?;
        let name = format!("it-{what}-{}", uuid::Uuid::now_v7().simple());
        Some(Self { client: Client::new(brokers, "millrace-it"), name })
    }

    pub(crate) fn topic(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    /// Makes topics of `SLOTS` partitions.
    pub(crate) async fn make(&self, topics: &[&str]) {
        let wanted: Vec<Topic> = topics.iter().map(|what| topic(&self.topic(what), SLOTS)).collect();
        let plan = topics::plan(&self.client, &wanted).await.unwrap();
        topics::apply(&self.client, &plan).await.unwrap();
    }

    pub(crate) async fn read(&self, what: &str) -> Vec<Record> {
        kafka::read_all(&self.client, &self.name, &self.topic(what), None).await.unwrap()
    }

    /// Values in the order of their partitions.
    pub(crate) async fn values(&self, what: &str) -> Vec<String> {
        self.read(what).await.iter().map(value).collect()
    }

    pub(crate) fn outgoing(&self, what: &str, slot: i32, key: &str, value: &str) -> Outgoing {
        Outgoing {
            topic: self.topic(what),
            slot: Slot(slot),
            key: key.to_owned(),
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        }
    }

    /// Writes `count` numbered records to each partition.
    pub(crate) async fn feed(&self, what: &str, from: usize, count: usize) {
        let producer = kafka::Producer::new(&self.client).unwrap();
        let mut deliveries = Vec::new();
        for number in from..from + count {
            for slot in 0..SLOTS {
                let record = self.outgoing(what, slot, &format!("k{number}"), &format!("{slot}-{number}"));
                deliveries.push(producer.enqueue(&record).await.unwrap());
            }
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    }

    /// A worker that copies `in` to `out`, with `state` restored.
    pub(crate) fn worker(&self, instance: &str) -> WorkerConfig {
        let id = format!("{}.{instance}", self.name);
        WorkerConfig {
            inputs: vec![self.topic("in"), self.topic("in2")],
            state: vec![self.topic("state")],
            session_timeout: SESSION,
            ..WorkerConfig::new(self.client.clone(), &self.name, instance, &id, "validator")
        }
    }

    /// A plain librdkafka producer with transactions, for what this crate would never do.
    pub(crate) fn raw_transactional(&self, id: &str) -> BaseProducer {
        ClientConfig::new().set("bootstrap.servers", &self.client.brokers).set("transactional.id", id).create().unwrap()
    }
}

pub(crate) fn topic(name: &str, partitions: i32) -> Topic {
    let config = [("message.timestamp.type", "LogAppendTime"), ("cleanup.policy", "delete")];
    Topic {
        name: name.to_owned(),
        partitions,
        replication: 1,
        config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

pub(crate) fn value(record: &Record) -> String {
    String::from_utf8(record.value.clone().unwrap_or_default()).unwrap()
}

/// Waits for a condition; a minute is the deadline of them all.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "waited a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a copying processor saw, and what it is told to do.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) owned: BTreeMap<Slot, Vec<String>>,
    pub(crate) restored: Vec<Slot>,
    pub(crate) processed: Vec<String>,
    pub(crate) aborted: usize,
    pub(crate) refused_prepares: usize,
    /// `prepare` makes every slot wait while this is set.
    pub(crate) is_registry_down: bool,
    /// And these slots, always.
    pub(crate) without_schema: BTreeSet<Slot>,
    /// What was handed back as too large, and what it answered.
    pub(crate) unwritable: Vec<(String, Option<String>)>,
    /// Sent along with the next batch only.
    pub(crate) poison: Option<Outgoing>,
    /// Given out by the next `wake`, and again until committed.
    pub(crate) due: Vec<(Slot, Vec<Outgoing>)>,
    handed_out: bool,
}

#[derive(Clone)]
pub(crate) struct Copying {
    out: String,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

impl Copying {
    pub(crate) fn new(bench: &Bench) -> Self {
        Self { out: bench.topic("out"), seen: Arc::default() }
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }
}

impl Processor for Copying {
    fn assigned(&mut self, slot: Slot) {
        self.look(|seen| seen.owned.insert(slot, Vec::new()));
    }

    fn restore(&mut self, slot: Slot, record: Record) {
        self.look(|seen| seen.owned.get_mut(&slot).unwrap().push(value(&record)));
    }

    fn restored(&mut self, slot: Slot) {
        self.look(|seen| seen.restored.push(slot));
    }

    fn revoked(&mut self, slot: Slot) {
        self.look(|seen| seen.owned.remove(&slot));
    }

    fn prepare(&mut self, batch: &[Record]) -> BTreeMap<Slot, Transient> {
        self.look(|seen| {
            seen.refused_prepares += usize::from(seen.is_registry_down);
            let waits = |slot: &Slot| seen.is_registry_down || seen.without_schema.contains(slot);
            let cause = Transient { what: "registry", detail: "down on purpose".to_owned() };
            batch.iter().map(Record::slot).filter(waits).map(|slot| (slot, cause.clone())).collect()
        })
    }

    fn process(&mut self, batch: &[Record], _: Timestamp) -> Result<Vec<Outcome>, Fatal> {
        self.look(|seen| {
            let mut poison = seen.poison.take();
            let outcomes = batch.iter().map(|record| {
                let text = value(record);
                seen.processed.push(text.clone());
                if text.contains("skip") {
                    return Outcome::Skip(model::SkipReason::Duplicate);
                }
                let is_small = seen.unwritable.iter().any(|(_, cause)| cause.as_ref() == Some(&text));
                let answer = match (text.strip_prefix("huge"), is_small) {
                    (Some(_), false) => vec![0; Outgoing::LARGEST],
                    (Some(number), true) => format!("small{number}").into_bytes(),
                    (None, _) => text.into_bytes(),
                };
                let mut outgoing = vec![Outgoing {
                    topic: self.out.clone(),
                    slot: record.slot(),
                    key: record.key_text().unwrap().to_owned(),
                    value: Some(answer),
                    headers: Vec::new(),
                }];
                outgoing.extend(poison.take());
                Outcome::Forward(outgoing)
            });
            Ok(outcomes.collect())
        })
    }

    fn wake(&mut self, _: Timestamp) -> Result<Vec<(Slot, Vec<Outgoing>)>, Fatal> {
        self.look(|seen| {
            seen.handed_out = !seen.due.is_empty();
            Ok(seen.due.clone())
        })
    }

    fn committed(&mut self) {
        self.look(|seen| {
            if seen.handed_out {
                seen.due.clear();
            }
        });
    }

    fn aborted(&mut self) {
        self.look(|seen| seen.aborted += 1);
    }

    fn unwritable(&mut self, outgoing: &Outgoing, cause: Option<&Record>) {
        self.look(|seen| {
            if cause.is_none() {
                seen.due.clear();
            }
            seen.unwritable.push((outgoing.key.clone(), cause.map(value)));
        });
    }
}

/// A worker running in the background.
pub(crate) struct Running {
    pub(crate) stop: CancellationToken,
    pub(crate) ended: JoinHandle<Result<kafka::Drained, Error>>,
}

impl Running {
    pub(crate) fn start(config: WorkerConfig, processor: &Copying) -> Self {
        let stop = CancellationToken::new();
        let ended = tokio::spawn(kafka::run(config, processor.clone(), stop.clone()));
        Self { stop, ended }
    }

    pub(crate) async fn stop(self) -> kafka::Drained {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap()
    }
}
