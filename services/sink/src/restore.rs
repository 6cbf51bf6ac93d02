//! Taking a slot over: its ledger up to the uncommitted end, the own lease, and what a former owner wrote in between.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use delivery::{Setup, SlotState};
use kafka::Record;
use model::{Lease, Ledger, Outgoing, Slot, Topical, ledger::LEASE_KEY};
use tokio::sync::Mutex;

use crate::{
    record::Taken,
    shared::{Shared, now},
};

const AGAIN: Duration = Duration::from_millis(500);
/// Asked again after this, when a destination took a record without saying that it applied it.
const ACCEPTANCE: Duration = Duration::from_secs(60);

/// A slot that may start.
pub(crate) struct Restored {
    pub(crate) state: SlotState<Arc<Taken>>,
    pub(crate) was_unclean: bool,
}

/// The ledger of all slots of one assignment, read in one go: a client per slot would cost threads and memory that stay.
pub(crate) struct Ledgers {
    slots: Vec<Slot>,
    read: Mutex<Option<BTreeMap<Slot, Vec<Record>>>>,
}

impl Ledgers {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        Self { slots, read: Mutex::new(None) }
    }

    /// The records of one slot. Asked for the first time, the first one to ask reads for all; asked again, it is read again.
    async fn of(&self, shared: &Shared, slot: Slot) -> Result<Vec<Record>, kafka::Error> {
        let mut read = self.read.lock().await;
        if read.is_none() {
            let partitions = self.slots.iter().map(|slot| slot.0).collect();
            let mut by_slot: BTreeMap<Slot, Vec<Record>> = self.slots.iter().map(|slot| (*slot, Vec::new())).collect();
            for record in kafka::read_all(&shared.client, &shared.group, &shared.names.ledger, Some(partitions)).await? {
                by_slot.entry(record.slot()).or_default().push(record);
            }
            *read = Some(by_slot);
        }
        if let Some(records) = read.as_mut().and_then(|read| read.remove(&slot)) {
            return Ok(records);
        }
        drop(read);
        kafka::read_all(&shared.client, &shared.group, &shared.names.ledger, Some(vec![slot.0])).await
    }
}

/// Tries until it is done; the reason it is not is on `/readyz`.
pub(crate) async fn restore(shared: &Shared, ledgers: &Ledgers, slot: Slot, part: &str) -> Restored {
    loop {
        match attempt(shared, ledgers, slot).await {
            Ok(restored) => {
                shared.health.ready(part);
                return restored;
            }
            Err(error) => {
                let text = format!("{error:#}");
                tracing::warn!(destination = shared.name(), %slot, error = text, "restoring a slot");
                shared.health.not_ready(part, text);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn attempt(shared: &Shared, ledgers: &Ledgers, slot: Slot) -> anyhow::Result<Restored> {
    let topic = &shared.names.ledger;
    let records = ledgers.of(shared, slot).await?;
    let values = records.iter().filter_map(|record| record.value.as_deref());
    shared.registry.prepare(&shared.reader, values).await.context("asking for the schemas of the ledger")?;

    let last_lease = records.iter().rev().find(|record| record.key_text() == Some(LEASE_KEY));
    let lease: Option<Lease> = last_lease.and_then(|record| ledger(shared, record)).and_then(|ledger| ledger.lease);
    // No other ownership has this name: it carries the instant of the take-over.
    let owner = format!("{}/{slot}/{}", shared.instance, now().micros());
    let mut state = SlotState::new(setup(shared, slot), owner, lease.as_ref());
    let mut next = records.first().map_or(0, |record| record.offset);
    for record in &records {
        next = record.offset + 1;
        put(shared, &mut state, record);
    }
    let was_unclean = state.was_unclean();
    let is_empty = records.is_empty();
    drop(records);

    // A lease of somebody who is no longer a member would disown the real owner's entries.
    anyhow::ensure!(shared.handle.may_call(), "the membership of this instance is in doubt");
    let lease = shared.writer.encode(&Ledger { entry: None, lease: Some(state.lease(false)) })?;
    let outgoing = lease_record(topic, slot, lease);
    let epoch = shared.producer.send(&outgoing).await.context("writing the lease")?;
    // What the former owner wrote after the end that was read, and before the lease: it still counts.
    if !is_empty {
        for offset in next..epoch {
            if let Some(record) = shared.fetcher.fetch(topic, slot.0, offset).await? {
                put(shared, &mut state, &record);
            }
        }
    }
    state.begin(epoch, now());
    if state.has_accepted() {
        shared.traffic().has_served_before();
    }
    tracing::info!(destination = shared.name(), %slot, epoch, keys = state.sizes().1, was_unclean, "slot restored");
    Ok(Restored { state, was_unclean })
}

fn setup(shared: &Shared, slot: Slot) -> Setup {
    let retry = &shared.destination.retry;
    Setup {
        destination: shared.name().to_owned(),
        connector: connect::http::CONNECTOR.to_owned(),
        slot,
        letter_id: deadletter::id_of_record,
        budget: delivery::Budget {
            attempts: retry.attempts,
            first: retry.first,
            longest: retry.max,
            ..delivery::Budget::STANDARD
        },
        acceptance: ACCEPTANCE,
    }
}

pub(crate) fn lease_record(topic: &str, slot: Slot, value: Vec<u8>) -> Outgoing {
    Outgoing { topic: topic.to_owned(), slot, key: LEASE_KEY.to_owned(), value: Some(value), headers: Vec::new() }
}

fn ledger(shared: &Shared, record: &Record) -> Option<Ledger> {
    match shared.reader.decode::<Ledger>(record.value.as_deref()?) {
        Ok(ledger) => Some(ledger),
        Err(error) => {
            tracing::error!(destination = shared.name(), slot = record.partition, offset = record.offset, %error, "ledger record");
            None
        }
    }
}

fn put(shared: &Shared, state: &mut SlotState<Arc<Taken>>, record: &Record) {
    let key = record.key_text().unwrap_or_default();
    if key == LEASE_KEY {
        if let Some(lease) = ledger(shared, record).and_then(|ledger| ledger.lease) {
            state.restore_lease(record.offset, lease);
        }
        return;
    }
    let Ok(key) = Topical::parse(key) else {
        tracing::error!(
            destination = shared.name(),
            slot = record.partition,
            offset = record.offset,
            "ledger record without a key"
        );
        return;
    };
    if record.value.is_none() {
        return state.restore(key, None);
    }
    // An entry that cannot be read is as good as none: its key is offered again, under the same idempotency key.
    if let Some(entry) = ledger(shared, record).and_then(|ledger| ledger.entry) {
        state.restore(key, Some(entry));
    }
}
