//! Committed state of the slots that a worker owns: golden records as encoded bytes, and what is held.
//!
//! Invariant: the indexes say what `held` says: which keys wait for a record, and when each gives up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Domain, Held, Reason, RecordKey, Slot, Timestamp, Topical};

use crate::tally::Waiting;

/// All slots of one worker.
#[derive(Default)]
pub(crate) struct State {
    slots: BTreeMap<Slot, SlotState>,
    /// `domain/key` → keys with a change that waits for it.
    waiting_for: HashMap<String, BTreeSet<Topical>>,
    /// When the first change of a key gives up.
    deadlines: BTreeSet<(Timestamp, Topical)>,
}

#[derive(Default)]
struct SlotState {
    golden: HashMap<Domain, HashMap<RecordKey, Box<[u8]>>>,
    held: HashMap<Topical, Held>,
}

impl State {
    /// An empty state for a slot that is about to be restored.
    pub(crate) fn begin(&mut self, slot: Slot) {
        self.forget(slot);
        self.slots.insert(slot, SlotState::default());
    }

    pub(crate) fn forget(&mut self, slot: Slot) {
        if let Some(state) = self.slots.remove(&slot) {
            for (record, held) in &state.held {
                self.unindex(record, held);
            }
        }
    }

    pub(crate) fn owns(&self, slot: Slot) -> bool {
        self.slots.contains_key(&slot)
    }

    pub(crate) fn golden(&self, slot: Slot, domain: Domain, key: &RecordKey) -> Option<&[u8]> {
        self.slots.get(&slot)?.golden.get(&domain)?.get(key).map(AsRef::as_ref)
    }

    /// The keys of a domain in a slot.
    pub(crate) fn keys(&self, slot: Slot, domain: Domain) -> Vec<RecordKey> {
        let records = self.slots.get(&slot).and_then(|state| state.golden.get(&domain));
        records.into_iter().flat_map(|records| records.keys().cloned()).collect()
    }

    /// None is a tombstone.
    pub(crate) fn set_golden(&mut self, slot: Slot, record: &Topical, value: Option<Box<[u8]>>) {
        let Some(state) = self.slots.get_mut(&slot) else { return };
        let domain = state.golden.entry(record.domain).or_default();
        match value {
            Some(value) => {
                domain.insert(record.key.clone(), value);
            }
            None => {
                domain.remove(&record.key);
            }
        }
    }

    pub(crate) fn held(&self, slot: Slot, record: &Topical) -> Option<&Held> {
        self.slots.get(&slot)?.held.get(record)
    }

    /// An entry that holds nothing is none.
    pub(crate) fn set_held(&mut self, slot: Slot, record: &Topical, held: Held) {
        let Some(state) = self.slots.get_mut(&slot) else { return };
        let old = state.held.remove(record);
        let is_empty = held.waiting.is_empty() && held.grave.is_none();
        if !is_empty {
            state.held.insert(record.clone(), held.clone());
        }
        if let Some(old) = old {
            self.unindex(record, &old);
        }
        if !is_empty {
            self.index(record, &held);
        }
    }

    /// Keys with a change that waits for `record`.
    pub(crate) fn waiting_for(&self, record: &str) -> impl Iterator<Item = &Topical> {
        self.waiting_for.get(record).into_iter().flatten()
    }

    /// Keys whose first deadline has passed, earliest first.
    pub(crate) fn overdue(&self, now: Timestamp) -> impl Iterator<Item = &Topical> {
        self.deadlines.iter().take_while(move |(until, _)| *until <= now).map(|(_, record)| record)
    }

    /// Keys of a slot on which something waits.
    pub(crate) fn all_held(&self, slot: Slot) -> impl Iterator<Item = &Topical> {
        self.slots
            .get(&slot)
            .into_iter()
            .flat_map(|state| state.held.iter())
            .filter(|(_, held)| !held.waiting.is_empty())
            .map(|(record, _)| record)
    }

    /// For the gauges.
    pub(crate) fn waiting(&self) -> Waiting {
        let mut waiting = Waiting::new();
        for (record, held) in self.slots.values().flat_map(|state| &state.held) {
            for entry in &held.waiting {
                let row = waiting.entry((record.domain, entry.reason.name())).or_insert((0, entry.since));
                row.0 += 1;
                row.1 = row.1.min(entry.since);
            }
        }
        waiting
    }

    fn index(&mut self, record: &Topical, held: &Held) {
        for entry in held.waiting.iter().filter(|entry| entry.reason == Reason::Record) {
            self.waiting_for.entry(entry.waits_for.clone()).or_default().insert(record.clone());
        }
        if let Some(until) = first_deadline(held) {
            self.deadlines.insert((until, record.clone()));
        }
    }

    fn unindex(&mut self, record: &Topical, held: &Held) {
        for entry in held.waiting.iter().filter(|entry| entry.reason == Reason::Record) {
            if let Some(keys) = self.waiting_for.get_mut(&entry.waits_for) {
                keys.remove(record);
                if keys.is_empty() {
                    self.waiting_for.remove(&entry.waits_for);
                }
            }
        }
        if let Some(until) = first_deadline(held) {
            self.deadlines.remove(&(until, record.clone()));
        }
    }
}

fn first_deadline(held: &Held) -> Option<Timestamp> {
    held.waiting.iter().filter_map(|entry| entry.until).min()
}
