//! The follow loop: records in, batches into the store, time into deadlines and gauges. It is the store's only writer.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use avro::{Reader, TopicKind, Topics};
use kafka::{Followed, Record};
use model::Timestamp;
use registry::Registry;
use service::{CancellationToken, Health, Read, Span, Traces};
use telemetry::trace::{TRACEPARENT, TraceContext, attribute};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use crate::{
    fact::{self, Located},
    fleet::Fleet,
    metrics::{self, Gauges},
    now,
    store::{self, Reads, Store},
};

/// Records of one transaction at most: bounds memory and how long readers wait.
const BATCH: usize = 1_000;
/// Deadlines and gauges are looked at this often.
const TICK: Duration = Duration::from_secs(2);
/// Every so many ticks, what the topics have forgotten is forgotten here.
const FORGET: u32 = 1_800;

/// How far the tracker has read; shared with the API.
#[derive(Debug, Default)]
pub struct Progress {
    as_of: AtomicI64,
    caught_up: AtomicBool,
    cut_off: AtomicBool,
}

impl Progress {
    /// Time of the newest record that was applied, or of the last idle moment after everything was.
    #[must_use]
    pub fn as_of(&self) -> Timestamp {
        Timestamp::from_micros(self.as_of.load(Ordering::Acquire))
    }

    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// While the brokers do not answer, silence does not mean that nothing happened: the answers keep their age.
    pub fn set_cut_off(&self, cut_off: bool) {
        if self.cut_off.swap(cut_off, Ordering::AcqRel) != cut_off {
            if cut_off { tracing::warn!("the brokers do not answer") } else { tracing::info!("the brokers answer again") }
        }
    }

    /// For a store that is filled by hand: it is what it is.
    pub fn settle(&self, at: Timestamp) {
        self.as_of.fetch_max(at.micros(), Ordering::AcqRel);
        self.caught_up.store(true, Ordering::Release);
    }
}

/// What the loop needs.
pub struct Follow {
    pub store: Store,
    pub reads: Reads,
    pub fleet: Arc<Fleet>,
    /// Its name among those that read topics.
    pub group: String,
    pub decoder: Decoder,
    pub progress: Arc<Progress>,
    pub health: Health,
    pub traces: Traces,
}

/// Turns records into facts.
pub struct Decoder {
    pub topics: Topics,
    pub fleet: Arc<Fleet>,
    pub reader: Arc<Reader>,
    pub registry: Arc<Registry>,
    pub health: Health,
}

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the reader of the topics ended")]
    Ended,
}

impl Follow {
    /// Runs until `stop`; ends with an error when it cannot go on.
    ///
    /// # Errors
    /// When the store cannot be written or the follower has ended by itself.
    pub async fn run(mut self, mut followed: mpsc::Receiver<Followed>, stop: CancellationToken) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut gauges, mut count) = (Gauges::default(), 0_u32);
        let mut events = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {
                    self.health.tick();
                    count = count.wrapping_add(1);
                    self = self.tick(&mut gauges, count.is_multiple_of(FORGET), followed.is_empty()).await?;
                }
                received = followed.recv_many(&mut events, BATCH) => {
                    if received == 0 {
                        return if stop.is_cancelled() { Ok(()) } else { Err(Error::Ended) };
                    }
                    self = self.take(std::mem::take(&mut events)).await?;
                }
            }
        }
    }

    async fn take(mut self, events: Vec<Followed>) -> Result<Self, Error> {
        self.decoder.learn(&events).await;
        let mut batch = Vec::with_capacity(events.len());
        let (mut caught_up, mut spans) = (false, Vec::new());
        for event in events {
            match event {
                Followed::Record(record) => {
                    spans.extend(self.span(&record));
                    batch.push(self.decoder.decode(&record).await);
                }
                Followed::CaughtUp => caught_up = true,
            }
        }
        let newest = batch.iter().map(|located| located.timestamp).max();
        if !batch.is_empty() {
            let live = self.progress.caught_up();
            let (store, noted) = blocking(self.store, move |store| store.apply(&batch)).await?;
            self.store = store;
            if live {
                metrics::count(&noted);
            }
        }
        for span in spans {
            self.traces.end(span);
        }
        if let Some(newest) = newest {
            self.progress.as_of.fetch_max(newest.micros(), Ordering::AcqRel);
        }
        if caught_up {
            let at = now();
            let (store, ()) = blocking(self.store, move |store| store.settle(at)).await?;
            self.store = store;
            self.progress.settle(at);
            self.health.ready("store");
            tracing::info!("caught up with the topics");
        }
        Ok(self)
    }

    /// The last step of a record's trace: its receipt is taken up. History that is read again at start was traced when it happened.
    fn span(&self, record: &Record) -> Option<Span> {
        if !self.traces.is_on() || !self.progress.caught_up() {
            return None;
        }
        let Some(TopicKind::Receipt(destination)) = self.decoder.topics.kind(&record.topic) else { return None };
        let creation = record.header(TRACEPARENT).and_then(TraceContext::parse)?;
        let read = Read {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            group: None,
            key: record.key.as_deref(),
        };
        let mut span = self.traces.process(creation, &read)?;
        span.set(attribute::DESTINATION, destination);
        Some(span)
    }

    async fn tick(mut self, gauges: &mut Gauges, forget: bool, idle: bool) -> Result<Self, Error> {
        let at = now();
        if !self.progress.caught_up() {
            if self.progress.as_of().micros() > 0 {
                metrics::behind(&self.group, self.progress.as_of(), at);
            }
            return Ok(self);
        }
        if idle && !self.progress.cut_off.load(Ordering::Acquire) {
            self.progress.as_of.fetch_max(at.micros(), Ordering::AcqRel);
        }
        metrics::behind(&self.group, self.progress.as_of(), at);
        let (store, missed) = blocking(self.store, move |store| {
            if forget {
                store.forget(at)?;
            }
            store.tick(at)
        })
        .await?;
        self.store = store;
        metrics::count(&missed);
        let (fleet, as_of) = (Arc::clone(&self.fleet), self.progress.as_of());
        let reading = self.reads.ask(move |sql| metrics::read(sql, &fleet, as_of, at)).await?;
        gauges.set(&reading);
        Ok(self)
    }
}

impl Decoder {
    /// Asks for every schema of a batch at once: were they asked for one after the other, each unknown one would hold up the tracker for
    /// as long as a registry must deny it. Waits until there is an answer for each.
    async fn learn(&self, events: &[Followed]) {
        let ids: BTreeSet<i32> = events.iter().filter_map(|event| self.schema_of(event)).collect();
        let mut pause = Duration::from_millis(100);
        loop {
            let open: Vec<i32> = ids.iter().copied().filter(|id| !self.reader.has_answer(*id)).collect();
            if open.is_empty() {
                return;
            }
            match self.registry.teach_all(&self.reader, open).await {
                Ok(()) => {}
                Err(error) if error.is_transient() => {
                    self.health.tick();
                    tracing::warn!(%error, "waiting for schemas");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(10));
                }
                // Said with each of its records.
                Err(_) => return,
            }
        }
    }

    /// Of a record that is decoded here.
    fn schema_of(&self, event: &Followed) -> Option<i32> {
        let Followed::Record(record) = event else { return None };
        let is_kept = !matches!(self.topics.kind(&record.topic), None | Some(TopicKind::Command(_) | TopicKind::Cursor(_)));
        record.value.as_deref().filter(|_| is_kept).and_then(|value| avro::schema_id(value).ok())
    }

    /// Decodes, asking the registry for a schema that was not seen yet. An unreachable registry is waited for: a record that was
    /// passed over would be missing until the next rebuild.
    async fn decode(&self, record: &Record) -> Located {
        let mut pause = Duration::from_millis(100);
        loop {
            match fact::decode(&self.reader, &self.topics, &self.fleet, record) {
                Ok(located) => return located,
                Err(id) => match self.registry.teach(&self.reader, id).await {
                    Ok(()) => {}
                    Err(error) if error.is_transient() => {
                        self.health.tick();
                        tracing::warn!(schema = id, %error, "waiting for a schema");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_secs(10));
                    }
                    Err(error) => {
                        tracing::warn!(schema = id, topic = %record.topic, offset = record.offset, %error,
                            "record of an unknown schema passed over");
                        return Located {
                            topic: record.topic.to_string(),
                            partition: record.partition,
                            offset: record.offset,
                            timestamp: record.timestamp,
                            key: String::new(),
                            fact: fact::Fact::Nothing,
                        };
                    }
                },
            }
        }
    }
}

/// Lends the store to a thread that may block, and takes it back.
async fn blocking<T: Send + 'static>(
    mut store: Store,
    work: impl FnOnce(&mut Store) -> Result<T, store::Error> + Send + 'static,
) -> Result<(Store, T), store::Error> {
    tokio::task::spawn_blocking(move || {
        let done = work(&mut store);
        done.map(|done| (store, done))
    })
    .await
    .expect("writing the store does not panic and is not cancelled")
}
