//! The golden records of all slots that rules look up: customers and reference codes. One view a process.
//!
//! Invariant: complete (kafka.md C26) before the first decision; afterwards as new as what was committed and followed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use avro::{Reader, TopicKind, Topics};
use kafka::{Followed, Record};
use model::{Domain, Golden, RecordKey, Topical};
use registry::Registry;
use tokio::sync::{mpsc, oneshot};

/// Domains whose records others refer to.
pub(crate) const REFERRED: [Domain; 2] = [Domain::Customer, Domain::Reference];

/// Shared by all workers.
#[derive(Default)]
pub(crate) struct View {
    records: RwLock<HashMap<Domain, HashMap<RecordKey, Entry>>>,
    listeners: Mutex<Vec<Sender<Topical>>>,
}

/// Codes are few and looked up all the time; customers are many and looked up by their children.
enum Entry {
    Decoded(Arc<Golden>),
    Bytes(Box<[u8]>),
}

impl View {
    /// The record as it was last followed.
    pub(crate) fn golden(&self, reader: &Reader, domain: Domain, key: &RecordKey) -> Option<Arc<Golden>> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        match records.get(&domain)?.get(key)? {
            Entry::Decoded(golden) => Some(Arc::clone(golden)),
            Entry::Bytes(bytes) => reader.decode_golden(domain, bytes).ok().map(Arc::new),
        }
    }

    /// Every record that arrives from now on, for whoever waits for it.
    pub(crate) fn listen(&self) -> Receiver<Topical> {
        let (sender, receiver) = channel();
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// A golden record, framed; none is a tombstone. What cannot be decoded is as good as absent: whoever needs it waits.
    pub(crate) fn put(&self, reader: &Reader, record: Topical, value: Option<&[u8]>) {
        {
            let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
            let domain = records.entry(record.domain).or_default();
            match value {
                None => {
                    domain.remove(&record.key);
                }
                Some(bytes) if record.domain == Domain::Reference => {
                    if let Ok(golden) = reader.decode_golden(record.domain, bytes) {
                        domain.insert(record.key.clone(), Entry::Decoded(Arc::new(golden)));
                    }
                }
                Some(bytes) => {
                    domain.insert(record.key.clone(), Entry::Bytes(bytes.into()));
                }
            }
        }
        // A worker that ended listens no more.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).retain(|listener| listener.send(record.clone()).is_ok());
    }
}

/// Keeps the view up to date until the follower ends; `complete` is told once, when everything that was there is in.
pub(crate) async fn follow(
    view: Arc<View>,
    reader: Arc<Reader>,
    registry: Registry,
    topics: Topics,
    mut followed: mpsc::Receiver<Followed>,
    complete: oneshot::Sender<()>,
) {
    let mut complete = Some(complete);
    while let Some(event) = followed.recv().await {
        match event {
            Followed::Record(record) => take(&view, &reader, &registry, &topics, &record).await,
            Followed::CaughtUp => {
                if let Some(complete) = complete.take() {
                    // Where nobody waits any more, the process stops.
                    let _sent = complete.send(());
                }
            }
        }
    }
}

async fn take(view: &View, reader: &Reader, registry: &Registry, topics: &Topics, record: &Record) {
    let Some(TopicKind::Golden(domain)) = topics.kind(&record.topic) else { return };
    let Some(key) = record.key_text().and_then(|key| RecordKey::parse(domain, key).ok()) else { return };
    while let Some(value) = &record.value {
        match registry.prepare(reader, [value.as_slice()]).await {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the view of references waits for the registry");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    view.put(reader, Topical::new(domain, key), record.value.as_deref());
}
