//! What all workers of the process share, read-only or behind its own lock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use avro::{Reader, Topics, Writer};
use kafka::Record;
use landscape::Landscape;
use model::{Domain, Outgoing, Topical};
use registry::Registry;
use service::{Health, Read, Traces};

use crate::{tally::HeldGauges, view::View};

/// Wiring, from `App::build`.
pub(crate) struct Shared {
    pub(crate) landscape: Arc<Landscape>,
    pub(crate) topics: Topics,
    pub(crate) reader: Arc<Reader>,
    pub(crate) writer: Writer,
    pub(crate) registry: Registry,
    pub(crate) view: Arc<View>,
    pub(crate) health: Health,
    pub(crate) traces: Traces,
    pub(crate) pulse: Pulse,
    pub(crate) gauges: HeldGauges,
    /// `validator 0.1.0`, on every letter.
    pub(crate) service: String,
    names: Names,
}

/// Topic names, built once.
struct Names {
    golden: BTreeMap<Domain, String>,
    held: String,
    finding: String,
    dlq: String,
    group: String,
}

impl Shared {
    pub(crate) fn new(
        landscape: Arc<Landscape>,
        topics: Topics,
        reader: Arc<Reader>,
        writer: Writer,
        registry: Registry,
        view: Arc<View>,
        health: Health,
    ) -> Self {
        let names = Names {
            golden: Domain::ALL.iter().map(|domain| (*domain, topics.golden(*domain))).collect(),
            held: topics.held(),
            finding: topics.finding(),
            dlq: topics.dlq(STAGE),
            group: format!("{}{STAGE}", topics.prefix()),
        };
        // What this build writes it can read, without a question.
        writer.teach(&reader);
        let service = format!("validator {}", env!("CARGO_PKG_VERSION"));
        let (traces, pulse, gauges) = (Traces::default(), Pulse::default(), HeldGauges::default());
        Self { landscape, topics, reader, writer, registry, view, health, traces, pulse, gauges, service, names }
    }

    pub(crate) fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Where a record was read, for its span.
    pub(crate) fn read<'a>(&'a self, record: &'a Record) -> Read<'a> {
        Read {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            group: Some(&self.names.group),
            key: record.key.as_deref(),
        }
    }

    pub(crate) fn slots(&self) -> u32 {
        self.landscape.kafka.slots
    }

    pub(crate) fn golden(&self, record: &Topical, value: Option<Vec<u8>>, headers: Vec<(String, Vec<u8>)>) -> Outgoing {
        let topic = self.names.golden[&record.domain].clone();
        Outgoing { topic, slot: record.slot(self.slots()), key: record.key.to_string(), value, headers }
    }

    pub(crate) fn held(&self, record: &Topical, value: Option<Vec<u8>>) -> Outgoing {
        self.beside(&self.names.held, record, value, Vec::new())
    }

    pub(crate) fn finding(&self, record: &Topical, value: Vec<u8>) -> Outgoing {
        self.beside(&self.names.finding, record, Some(value), Vec::new())
    }

    fn beside(&self, topic: &str, record: &Topical, value: Option<Vec<u8>>, headers: Vec<(String, Vec<u8>)>) -> Outgoing {
        let slot = record.slot(self.slots());
        Outgoing { topic: topic.to_owned(), slot, key: record.to_string(), value, headers }
    }

    pub(crate) fn dlq(&self) -> &str {
        &self.names.dlq
    }
}

/// When each worker that has something to do turned last. One without slots has nothing to do, and is well.
#[derive(Default)]
pub(crate) struct Pulse {
    workers: Mutex<BTreeMap<usize, Instant>>,
}

impl Pulse {
    const LIMIT: Duration = Duration::from_secs(60);

    pub(crate) fn beat(&self, worker: usize) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, Instant::now());
    }

    pub(crate) fn rest(&self, worker: usize) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker);
    }

    pub(crate) fn is_well(&self) -> bool {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).values().all(|beat| beat.elapsed() < Self::LIMIT)
    }
}

/// The validator's name as a stage: in its letters, its command topic, its dead-letter topic.
pub(crate) const STAGE: &str = "validator";
