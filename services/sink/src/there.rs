//! Which records the destination accepted, over all slots: what a record of this process waits for may be another instance's.
//!
//! Follows the destination's whole ledger, and only where the landscape declares a reason of absence. Kept are the keys of the domains
//! that may be waited for, so a landscape that waits for units pays for units.
//!
//! Invariant: who asks under the lock is either told that the record is there, or woken when it is.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kafka::{FollowConfig, Followed, Follower, Record};
use model::{Domain, Ledger, LedgerState, Topical, ledger::LEASE_KEY};
use service::CancellationToken;
use tokio::sync::{mpsc, watch};

use crate::{shared::Shared, slot::Input};

const AGAIN: Duration = Duration::from_secs(1);

/// The view.
pub(crate) struct There {
    domains: BTreeSet<Domain>,
    known: Mutex<Known>,
    caught_up: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    accepted: HashSet<Topical>,
    /// Slots that wait for a record.
    waiting: HashMap<Topical, Vec<mpsc::UnboundedSender<Input>>>,
}

impl There {
    pub(crate) fn new(destination: &landscape::Destination) -> Self {
        let absent = destination.domains.values().flat_map(|delivery| &delivery.absent);
        Self {
            domains: absent.map(|absent| absent.domain).collect(),
            known: Mutex::default(),
            caught_up: watch::Sender::new(false),
        }
    }

    /// True where some record may wait for another one.
    pub(crate) fn is_needed(&self) -> bool {
        !self.domains.is_empty()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the record is there; where it is not, the slot is told once it is.
    pub(crate) fn ask(&self, record: &Topical, slot: &mpsc::UnboundedSender<Input>) -> bool {
        let mut known = self.known();
        if known.accepted.contains(record) {
            return true;
        }
        let waiting = known.waiting.entry(record.clone()).or_default();
        // Slots come and go; a key asks again with every attempt.
        waiting.retain(|other| !other.is_closed() && !other.same_channel(slot));
        waiting.push(slot.clone());
        false
    }

    /// Returns once everything was read that was there at the start.
    pub(crate) async fn caught_up(&self) {
        // The sender lives as long as this.
        drop(self.caught_up.subscribe().wait_for(|is| *is).await);
    }

    fn take(&self, record: Topical, is_there: bool) {
        let mut known = self.known();
        if !is_there {
            known.accepted.remove(&record);
            return;
        }
        for slot in known.waiting.remove(&record).unwrap_or_default() {
            // A slot that is gone asks again where it is restored.
            drop(slot.send(Input::Arrived(record.clone())));
        }
        known.accepted.insert(record);
    }
}

/// Follows the ledger until `stop`.
pub(crate) fn follow(shared: Arc<Shared>, stop: CancellationToken) -> Result<(), kafka::Error> {
    if !shared.there.is_needed() {
        return Ok(());
    }
    let config = FollowConfig {
        client: shared.client.clone(),
        group: shared.group.clone(),
        topics: vec![(shared.names.ledger.clone(), kafka::Start::Beginning)],
    };
    let mut followed = Follower::spawn(config, stop)?;
    tokio::spawn(async move {
        while let Some(event) = followed.recv().await {
            match event {
                Followed::Record(record) => take(&shared, &record).await,
                Followed::CaughtUp => _ = shared.there.caught_up.send_replace(true),
            }
        }
    });
    Ok(())
}

async fn take(shared: &Shared, record: &Record) {
    let Some(key) = record.key_text().filter(|key| *key != LEASE_KEY) else { return };
    let Some(key) = Topical::parse(key).ok().filter(|key| shared.there.domains.contains(&key.domain)) else { return };
    let Some(value) = record.value.as_deref() else { return shared.there.take(key, false) };
    while let Err(error) = shared.registry.prepare(&shared.reader, [value]).await {
        tracing::warn!(destination = shared.name(), %error, "waiting for a schema of the ledger");
        tokio::time::sleep(AGAIN).await;
    }
    // What cannot be read is named where its slot is restored.
    let Some(entry) = shared.reader.decode::<Ledger>(value).ok().and_then(|ledger| ledger.entry) else { return };
    let is_there =
        entry.state != LedgerState::Deleted && entry.accepted.is_some_and(|accepted| !accepted.payload_hash.is_empty());
    shared.there.take(key, is_there);
}
