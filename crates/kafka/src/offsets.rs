//! Offsets of a worker's partitions: what the broker knows, what is done beyond it, what a transaction has to carry.

use std::collections::{BTreeMap, BTreeSet};

use model::Slot;
use rdkafka::consumer::Consumer as _;

use crate::group::Member;
use crate::lookup::Partition;

/// Of the assigned partitions. Invariant: under one owner they never go back.
#[derive(Default)]
pub(crate) struct Positions(BTreeMap<Partition, Position>);

#[derive(Clone, Copy)]
struct Position {
    /// As the broker knows it.
    committed: i64,
    /// Everything below is durable or needs no output.
    next: i64,
}

impl Positions {
    pub(crate) fn starting(starts: BTreeMap<Partition, i64>) -> Self {
        Self(starts.into_iter().map(|(partition, start)| (partition, Position { committed: start, next: start })).collect())
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.0.keys()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// True for an offset of an assigned partition that is not done yet.
    pub(crate) fn is_ahead(&self, partition: &Partition, offset: i64) -> bool {
        self.0.get(partition).is_some_and(|position| offset >= position.next)
    }

    /// What the broker answered after a commit in doubt.
    pub(crate) fn reread(&mut self, committed: BTreeMap<Partition, Option<i64>>) {
        for (partition, offset) in committed {
            if let Some(position) = self.0.get_mut(&partition) {
                position.committed = offset.unwrap_or(position.committed).max(position.committed);
                position.next = position.next.max(position.committed);
            }
        }
    }

    /// What moved in this batch and before it, and one offset of every slot written to that did not move (P26): without it the
    /// group's generation would not fence the transaction.
    pub(crate) fn covering(&self, written: &BTreeSet<Slot>, moved: &BTreeMap<Partition, i64>) -> BTreeMap<Partition, i64> {
        let mut offsets = self.pending();
        offsets.extend(moved.iter().map(|(partition, next)| (partition.clone(), *next)));
        for slot in written {
            if !offsets.keys().any(|(_, partition)| *partition == slot.0)
                && let Some((partition, position)) = self.0.iter().find(|((_, partition), _)| *partition == slot.0)
            {
                offsets.insert(partition.clone(), position.next);
            }
        }
        offsets
    }

    pub(crate) fn advance(&mut self, offsets: &BTreeMap<Partition, i64>, is_committed: bool) {
        for (partition, next) in offsets {
            if let Some(position) = self.0.get_mut(partition) {
                position.next = position.next.max(*next);
                if is_committed {
                    position.committed = *next;
                }
            }
        }
    }

    /// With nothing in hand the consumer's own position counts: it lies behind markers and aborted records (C19).
    pub(crate) fn pass(&mut self, at: &BTreeMap<(String, i32), i64>) {
        for ((topic, partition), position) in &mut self.0 {
            if let Some(at) = at.get(&(topic.to_string(), *partition)) {
                position.next = position.next.max(*at);
            }
        }
    }

    fn pending(&self) -> BTreeMap<Partition, i64> {
        let moved = self.0.iter().filter(|(_, position)| position.next > position.committed);
        moved.map(|(partition, position)| (partition.clone(), position.next)).collect()
    }
}

/// Commits what no transaction took along, and waits for the answer; what is refused stays pending.
pub(crate) fn commit_pending(consumer: &Member, positions: &mut Positions) {
    let pending = positions.pending();
    if !pending.is_empty() && !consumer.assignment_lost() && consumer.context().commit_now(consumer, &pending) {
        positions.advance(&pending, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offsets: &[(&str, i32, i64)]) -> BTreeMap<Partition, i64> {
        offsets.iter().map(|(topic, partition, offset)| (((*topic).into(), *partition), *offset)).collect()
    }

    #[test]
    fn a_transaction_carries_an_offset_of_every_slot_it_writes_to() {
        let mut positions = Positions::starting(at(&[("a", 0, 5), ("a", 1, 7), ("b", 0, 0), ("b", 1, 0), ("b", 2, 3)]));
        // Slot 1 moved before, without an output.
        positions.advance(&at(&[("a", 1, 9)]), false);
        let written = BTreeSet::from([Slot(0), Slot(2)]);
        assert_eq!(positions.covering(&written, &at(&[("b", 0, 4)])), at(&[("a", 1, 9), ("b", 0, 4), ("b", 2, 3)]));
        let woken = BTreeSet::from([Slot(0)]);
        assert_eq!(positions.covering(&woken, &BTreeMap::new()), at(&[("a", 0, 5), ("a", 1, 9)]), "unmoved, but sent");
    }

    #[test]
    fn after_a_doubt_the_broker_decides_but_offsets_never_go_back() {
        let mut positions = Positions::starting(at(&[("a", 0, 5), ("a", 1, 5), ("a", 2, 5)]));
        positions.reread(BTreeMap::from([(("a".into(), 0), Some(8)), (("a".into(), 1), None), (("a".into(), 2), Some(3))]));
        let ahead = |partition, offset| positions.is_ahead(&("a".into(), partition), offset);
        assert_eq!([ahead(0, 7), ahead(0, 8), ahead(1, 5), ahead(2, 4), ahead(2, 5)], [false, true, true, false, true]);
        assert!(!ahead(3, 0), "not assigned");
    }
}
