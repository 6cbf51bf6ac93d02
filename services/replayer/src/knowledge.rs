//! What the other stages know: where each golden record lies, which keys are parked or deleted where, which destinations are open.
//!
//! Followed, not transactional: it is the same whoever reads it, and a restart reads it again. Kept small: per healthy key one
//! coordinate of its golden record and nothing per destination.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use model::{DestinationState, DestinationStatus, GoldenMeta, LedgerEntry, LedgerState, LetterId, Timestamp, Topical};

use crate::book::Book;

/// Healthy ledger entries that are remembered for a while: a receipt may be read before the letter that it closes.
const RECENT: usize = 50_000;

/// One thing that a followed topic says.
#[derive(Debug)]
pub(crate) enum Fact {
    Golden {
        place: Topical,
        meta: Box<GoldenMeta>,
        is_delete: bool,
        partition: i32,
        offset: i64,
    },
    /// A tombstone.
    GoldenGone(Topical),
    Ledger {
        destination: String,
        place: Topical,
        entry: Option<Box<LedgerEntry>>,
    },
    Destination(Box<DestinationStatus>),
    /// Every golden record and every destination that was there at the start has been told; the ledgers follow.
    GoldenCaughtUp,
    /// And every ledger.
    CaughtUp,
}

/// Where a golden record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) revision: i64,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// A deleted record whose tombstone has not been written.
#[derive(Clone, Debug)]
pub(crate) struct Deleted {
    pub(crate) revision: i64,
    pub(crate) at: Timestamp,
    /// It was known before the first ledger was read: a destination without an entry never had the key.
    pub(crate) is_complete: bool,
    pub(crate) asked: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    golden: HashMap<Topical, Spot>,
    /// Per destination: keys that are parked or deleted there, or have a letter that waits.
    ledgers: HashMap<String, HashMap<Topical, LedgerEntry>>,
    recent: HashMap<(String, Topical), (i64, Timestamp)>,
    order: VecDeque<(String, Topical)>,
    destinations: BTreeMap<String, DestinationStatus>,
    pub(crate) deleted: BTreeMap<Topical, Deleted>,
    /// Golden records that may close a letter, until the transaction that looked at them is durable.
    pub(crate) fresh: BTreeMap<Topical, GoldenMeta>,
    is_golden_caught_up: bool,
    is_caught_up: bool,
}

impl Knowledge {
    pub(crate) fn learn(&mut self, fact: Fact, book: &Book) {
        match fact {
            Fact::Golden { place, meta, is_delete, partition, offset } => {
                if is_delete {
                    let (revision, at) = (meta.revision, meta.accepted_at);
                    self.deleted
                        .insert(place.clone(), Deleted { revision, at, is_complete: !self.is_golden_caught_up, asked: None });
                } else {
                    self.deleted.remove(&place);
                }
                self.golden.insert(place.clone(), Spot { revision: meta.revision, partition, offset });
                let is_cause = meta.causation_id.as_ref().is_some_and(|cause| book.letter(&LetterId(cause.clone())).is_some());
                if is_cause || book.has_movable(&place) {
                    self.fresh.insert(place, *meta);
                }
            }
            Fact::GoldenGone(place) => {
                self.golden.remove(&place);
                self.deleted.remove(&place);
                for ledger in self.ledgers.values_mut() {
                    ledger.remove(&place);
                }
            }
            Fact::Ledger { destination, place, entry } => self.ledger(destination, place, entry.map(|entry| *entry), book),
            Fact::Destination(status) => drop(self.destinations.insert(status.destination.clone(), *status)),
            Fact::GoldenCaughtUp => self.is_golden_caught_up = true,
            Fact::CaughtUp => self.is_caught_up = true,
        }
    }

    fn ledger(&mut self, destination: String, place: Topical, entry: Option<LedgerEntry>, book: &Book) {
        let ledger = self.ledgers.entry(destination.clone()).or_default();
        let Some(entry) = entry else {
            ledger.remove(&place);
            return;
        };
        let matters = matches!(entry.state, LedgerState::Parked | LedgerState::Deleted)
            || book.has_movable(&place)
            || self.deleted.contains_key(&place);
        if let Some(accepted) = &entry.accepted {
            let id = (destination, place.clone());
            if self.recent.insert(id.clone(), (accepted.revision, accepted.at)).is_none() {
                self.order.push_back(id);
            }
            if self.order.len() > RECENT
                && let Some(oldest) = self.order.pop_front()
            {
                self.recent.remove(&oldest);
            }
        }
        if matters {
            ledger.insert(place, entry);
        } else {
            ledger.remove(&place);
        }
    }

    pub(crate) fn is_golden_caught_up(&self) -> bool {
        self.is_golden_caught_up
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    pub(crate) fn golden(&self, place: &Topical) -> Option<Spot> {
        self.golden.get(place).copied()
    }

    pub(crate) fn entry(&self, destination: &str, place: &Topical) -> Option<&LedgerEntry> {
        self.ledgers.get(destination)?.get(place)
    }

    /// The newest revision that a destination is known to have accepted, and when.
    pub(crate) fn accepted(&self, destination: &str, place: &Topical) -> Option<(i64, Timestamp)> {
        let entry = self.entry(destination, place).and_then(|entry| entry.accepted.as_ref());
        let kept = entry.map(|accepted| (accepted.revision, accepted.at));
        kept.max(self.recent.get(&(destination.to_owned(), place.clone())).copied())
    }

    /// Destinations among these that would not take a record now.
    pub(crate) fn not_ready<'a>(&self, systems: impl IntoIterator<Item = &'a String>) -> Vec<String> {
        let names: HashSet<&String> = systems.into_iter().collect();
        self.destinations
            .values()
            .filter(|status| names.contains(&status.destination))
            .filter(|status| matches!(status.state, DestinationState::Paused | DestinationState::Unavailable))
            .map(|status| status.destination.clone())
            .collect()
    }

    /// What was looked at is durable.
    pub(crate) fn looked_at(&mut self, places: &[(Topical, i64)]) {
        for (place, revision) in places {
            if self.fresh.get(place).is_some_and(|meta| meta.revision == *revision) {
                self.fresh.remove(place);
            }
        }
    }
}
