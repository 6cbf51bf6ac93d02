//! The golden records of all slots that rules look up: customers and reference codes. One view a process.
//!
//! Invariant: complete (kafka.md C26) before the first decision; afterwards as new as what was committed and followed.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use avro::{Reader, TopicKind, Topics};
use kafka::Followed;
use model::{Domain, Golden, RecordKey, Topical};
use registry::Registry;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

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
    let mut is_caught_up = false;
    let mut unread = Unread::default();
    loop {
        tokio::select! {
            event = followed.recv() => match event {
                None => return,
                Some(Followed::CaughtUp) => is_caught_up = true,
                Some(Followed::Record(record)) => {
                    let Some(TopicKind::Golden(domain)) = topics.kind(&record.topic) else { continue };
                    let Some(key) = record.key_text().and_then(|key| RecordKey::parse(domain, key).ok()) else { continue };
                    unread.take(&view, &reader, &registry, Topical::new(domain, key), record.value);
                }
            },
            Some(_) = unread.asked.join_next() => unread.read(&view, &reader),
        }
        if is_caught_up
            && unread.records.is_empty()
            && let Some(complete) = complete.take()
        {
            // Where nobody waits any more, the process stops.
            let _sent = complete.send(());
        }
    }
}

/// Records that wait for their schema, in order; those of other keys go on, and every schema is asked for at once.
#[derive(Default)]
struct Unread {
    records: Vec<(Topical, Option<Vec<u8>>)>,
    keys: HashSet<Topical>,
    ids: HashSet<i32>,
    asked: JoinSet<()>,
}

impl Unread {
    fn take(&mut self, view: &View, reader: &Arc<Reader>, registry: &Registry, key: Topical, value: Option<Vec<u8>>) {
        let unknown = unanswered(reader, value.as_deref());
        if let Some(id) = unknown.filter(|id| self.ids.insert(*id)) {
            self.asked.spawn(ask(registry.clone(), Arc::clone(reader), id));
        }
        if unknown.is_some() || self.keys.contains(&key) {
            self.keys.insert(key.clone());
            self.records.push((key, value));
        } else {
            view.put(reader, key, value.as_deref());
        }
    }

    fn read(&mut self, view: &View, reader: &Reader) {
        self.keys.clear();
        for (key, value) in std::mem::take(&mut self.records) {
            if self.keys.contains(&key) || unanswered(reader, value.as_deref()).is_some() {
                self.keys.insert(key.clone());
                self.records.push((key, value));
            } else {
                view.put(reader, key, value.as_deref());
            }
        }
        self.ids.retain(|id| !reader.has_answer(*id));
    }
}

fn unanswered(reader: &Reader, value: Option<&[u8]>) -> Option<i32> {
    avro::schema_id(value?).ok().filter(|id| !reader.has_answer(*id))
}

/// Until there is an answer; it may be that there is no such schema.
async fn ask(registry: Registry, reader: Arc<Reader>, id: i32) {
    while let Err(error) = registry.teach(&reader, id).await {
        tracing::warn!(schema = id, error = &error as &dyn std::error::Error, "the view of references waits for a schema");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
