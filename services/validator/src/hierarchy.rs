//! Customers below others: when one moves, those below it have another top. They are looked at one level after the other, a bounded
//! number in each turn, each when the golden record above it has arrived; a start looks at all of its slots once.
//!
//! Invariant: after a customer's parent or top changed, every customer below it is looked at, whoever owns its slot: each worker follows
//! all customers, and rewrites those of its own slots.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Golden, RecordKey, Slot};

/// Customers of a slot that are read in one turn after a start.
const AT_A_START: usize = 500;

/// The customers of this worker's slots that have one above them.
#[derive(Default)]
pub(crate) struct Hierarchy {
    below: HashMap<RecordKey, Below>,
    above: HashMap<RecordKey, RecordKey>,
    /// Of slots that were just taken over.
    unread: BTreeMap<Slot, Vec<RecordKey>>,
    /// Those that may have another top now.
    due: BTreeSet<RecordKey>,
}

#[derive(Default)]
struct Below {
    /// How the one above was seen last.
    seen: Option<Place>,
    children: BTreeSet<RecordKey>,
}

/// Parent and top of a customer; none of both for one that is deleted.
type Place = Option<(Option<RecordKey>, Option<String>)>;

impl Hierarchy {
    pub(crate) fn restored(&mut self, slot: Slot, customers: Vec<RecordKey>) {
        if !customers.is_empty() {
            self.unread.insert(slot, customers);
        }
    }

    pub(crate) fn forget(&mut self, is_gone: impl Fn(&RecordKey) -> bool) {
        self.unread.retain(|_, keys| keys.first().is_some_and(|key| !is_gone(key)));
        self.due.retain(|key| !is_gone(key));
        let gone: Vec<RecordKey> = self.above.keys().filter(|key| is_gone(key)).cloned().collect();
        for key in gone {
            self.put(&key, None);
        }
    }

    /// A customer of an own slot, as it stands now.
    pub(crate) fn put(&mut self, key: &RecordKey, golden: Option<&Golden>) {
        let parent = golden.and_then(policy::parent);
        let before = match &parent {
            Some(parent) => self.above.insert(key.clone(), parent.clone()),
            None => self.above.remove(key),
        };
        if before == parent {
            return;
        }
        if let Some(before) = before
            && let Some(below) = self.below.get_mut(&before)
        {
            below.children.remove(key);
            if below.children.is_empty() {
                self.below.remove(&before);
            }
        }
        if let Some(parent) = parent {
            self.below.entry(parent).or_default().children.insert(key.clone());
        }
    }

    /// A customer of any slot arrived: where its place is new, those below it are due.
    pub(crate) fn arrived(&mut self, key: &RecordKey, golden: impl FnOnce() -> Option<std::sync::Arc<Golden>>) {
        let Some(below) = self.below.get_mut(key) else { return };
        let place = golden().and_then(|golden| match &golden.data {
            Some(model::Data::Customer(customer)) => Some((policy::parent(&golden), customer.ultimate_parent_id.clone())),
            _ => None,
        });
        if below.seen.as_ref() != Some(&place) {
            below.seen = Some(place);
            self.due.extend(below.children.iter().cloned());
        }
    }

    /// The next customers of a slot that was taken over, read for the first time.
    pub(crate) fn take_unread(&mut self, is_ready: impl Fn(Slot) -> bool) -> Vec<RecordKey> {
        let Some(slot) = self.unread.keys().copied().find(|slot| is_ready(*slot)) else { return Vec::new() };
        let Some(keys) = self.unread.get_mut(&slot) else { return Vec::new() };
        let taken = keys.split_off(keys.len().saturating_sub(AT_A_START));
        if keys.is_empty() {
            self.unread.remove(&slot);
        }
        taken
    }

    pub(crate) fn is_below(&self, key: &RecordKey) -> bool {
        self.above.contains_key(key)
    }

    pub(crate) fn look_at(&mut self, keys: impl IntoIterator<Item = RecordKey>) {
        self.due.extend(keys);
    }

    /// What is due, some of it.
    pub(crate) fn take_due(&mut self, most: usize, is_ready: impl Fn(&RecordKey) -> bool) -> Vec<RecordKey> {
        let taken: Vec<RecordKey> = self.due.iter().filter(|key| is_ready(key)).take(most).cloned().collect();
        for key in &taken {
            self.due.remove(key);
        }
        taken
    }
}
