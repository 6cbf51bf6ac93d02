//! What a reader owns: its slots, a commit tracker per partition, the bytes it has handed out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use delivery::CommitTracker;
use model::Slot;

use crate::lookup::Partition;
use crate::{Bounds, Coordinate, Record};

pub(crate) struct Owned {
    completions: Receiver<Coordinate>,
    bounds: Bounds,
    pub(crate) epoch: u64,
    /// Whole ones; partitions of torn slots are owned but never handed out.
    pub(crate) slots: BTreeSet<Slot>,
    partitions: BTreeMap<Partition, Kept>,
    /// Of all unfinished records.
    bytes: usize,
    /// Since the last commit.
    pub(crate) completed: usize,
}

struct Kept {
    tracker: CommitTracker,
    /// Size of each unfinished record.
    sizes: HashMap<i64, usize>,
    /// What the broker was told last, at first where reading starts.
    committed: i64,
    is_paused: bool,
}

impl Owned {
    pub(crate) fn new(completions: Receiver<Coordinate>, bounds: Bounds) -> Self {
        Self { completions, bounds, epoch: 0, slots: BTreeSet::new(), partitions: BTreeMap::new(), bytes: 0, completed: 0 }
    }

    pub(crate) fn assign(&mut self, starts: BTreeMap<Partition, i64>, slots: BTreeSet<Slot>) {
        self.clear();
        self.epoch += 1;
        self.slots = slots;
        self.partitions = starts
            .into_iter()
            .map(|(partition, committed)| {
                let tracker = CommitTracker::new(self.bounds.records);
                (partition, Kept { tracker, sizes: HashMap::new(), committed, is_paused: false })
            })
            .collect();
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.partitions.clear();
        self.bytes = 0;
        self.completed = 0;
    }

    pub(crate) fn assigned(&self) -> Vec<Partition> {
        self.partitions.keys().cloned().collect()
    }

    /// Partitions of whole slots.
    pub(crate) fn ready(&self) -> Vec<Partition> {
        self.partitions.keys().filter(|(_, partition)| self.slots.contains(&Slot(*partition))).cloned().collect()
    }

    /// The epoch under which the record is handed out; None where it is not.
    pub(crate) fn receive(&mut self, record: &Record) -> Option<u64> {
        if !self.slots.contains(&record.slot()) {
            return None;
        }
        let kept = self.partitions.get_mut(&(Arc::clone(&record.topic), record.partition))?;
        if record.offset < kept.committed || !kept.tracker.receive(record.offset) {
            return None;
        }
        kept.sizes.insert(record.offset, record.size());
        self.bytes += record.size();
        Some(self.epoch)
    }

    /// Takes what was reported so far.
    pub(crate) fn complete(&mut self) {
        while let Ok(coordinate) = self.completions.try_recv() {
            self.finish(&coordinate);
        }
    }

    /// As `complete`, but waits for the next report for a while.
    pub(crate) fn complete_waiting(&mut self, wait: Duration) {
        match self.completions.recv_timeout(wait) {
            Ok(coordinate) => self.finish(&coordinate),
            Err(RecvTimeoutError::Timeout) => {}
            // Without a handle nobody reports any more.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
        }
    }

    fn finish(&mut self, coordinate: &Coordinate) {
        if coordinate.epoch != self.epoch {
            return;
        }
        let partition = (Arc::clone(&coordinate.topic), coordinate.partition);
        let Some(kept) = self.partitions.get_mut(&partition) else { return };
        if let Some(size) = kept.sizes.remove(&coordinate.offset) {
            kept.tracker.done(coordinate.offset);
            self.bytes -= size;
            self.completed += 1;
        }
    }

    /// Offsets that moved. `at` is where the consumer stands: past the markers behind the last record, where nothing is open.
    pub(crate) fn to_commit(&self, at: &BTreeMap<(String, i32), i64>) -> BTreeMap<Partition, i64> {
        let next = |(partition, kept): (&Partition, &Kept)| {
            let position = at.get(&(partition.0.to_string(), partition.1)).copied();
            let next = kept.tracker.committable(position)?.get();
            (next > kept.committed).then(|| (partition.clone(), next))
        };
        self.partitions.iter().filter_map(next).collect()
    }

    pub(crate) fn committed(&mut self, offsets: &BTreeMap<Partition, i64>) {
        for (partition, next) in offsets {
            if let Some(kept) = self.partitions.get_mut(partition) {
                kept.committed = *next;
            }
        }
    }

    /// Of each partition, moved or not: what a synchronous commit tells the broker, also after an asynchronous one got lost.
    pub(crate) fn standing(&self, at: &BTreeMap<(String, i32), i64>) -> BTreeMap<Partition, i64> {
        let mut offsets: BTreeMap<Partition, i64> =
            self.partitions.iter().map(|(partition, kept)| (partition.clone(), kept.committed)).collect();
        offsets.extend(self.to_commit(at));
        offsets
    }

    /// What to pause and what to resume now.
    pub(crate) fn bounds(&mut self, never_paused: &BTreeSet<&str>) -> (Vec<Partition>, Vec<Partition>) {
        let is_full = self.bytes >= self.bounds.bytes;
        let has_room = self.bytes * 2 <= self.bounds.bytes;
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (partition, kept) in &mut self.partitions {
            if never_paused.contains(&*partition.0) || !self.slots.contains(&Slot(partition.1)) {
                continue;
            }
            if !kept.is_paused && (is_full || kept.tracker.is_full()) {
                kept.is_paused = true;
                pause.push(partition.clone());
            } else if kept.is_paused && has_room && kept.tracker.has_room() {
                kept.is_paused = false;
                resume.push(partition.clone());
            }
        }
        (pause, resume)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use model::Timestamp;

    use super::*;

    fn owned(records: usize, bytes: usize) -> (Owned, Sender<Coordinate>) {
        let (sender, receiver) = channel();
        let mut owned = Owned::new(receiver, Bounds { records, bytes });
        owned.assign(BTreeMap::from([(("t".into(), 0), 5)]), BTreeSet::from([Slot(0)]));
        (owned, sender)
    }

    fn record(offset: i64, size: usize) -> Record {
        Record {
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp: Timestamp::default(),
            key: None,
            value: Some(vec![0; size]),
            headers: Vec::new(),
        }
    }

    fn done(offset: i64, epoch: u64) -> Coordinate {
        Coordinate { topic: "t".into(), partition: 0, offset, epoch }
    }

    fn next(owned: &Owned, position: i64) -> Option<i64> {
        owned.to_commit(&BTreeMap::from([(("t".to_owned(), 0), position)])).into_values().next()
    }

    #[test]
    fn nothing_is_committed_past_an_open_record_and_the_position_counts_when_none_is_open() {
        let (mut owned, sender) = owned(10, 1000);
        for offset in [5, 7, 9] {
            assert_eq!(owned.receive(&record(offset, 1)), Some(1));
        }
        assert_eq!(owned.receive(&record(7, 1)), None, "a record is handed out once");
        assert_eq!(next(&owned, 11), None);
        for (offset, committable) in [(9, None), (5, Some(7)), (7, Some(11))] {
            sender.send(done(offset, 1)).unwrap();
            owned.complete();
            assert_eq!(next(&owned, 11), committable, "after {offset}");
        }
    }

    #[test]
    fn a_completion_of_an_older_epoch_changes_nothing() {
        let (mut owned, sender) = owned(10, 1000);
        assert_eq!(owned.receive(&record(5, 1)), Some(1));
        owned.assign(BTreeMap::from([(("t".into(), 0), 5)]), BTreeSet::from([Slot(0)]));
        assert_eq!(owned.receive(&record(5, 1)), Some(2));
        sender.send(done(5, 1)).unwrap();
        owned.complete();
        assert_eq!(next(&owned, 6), None);
        sender.send(done(5, 2)).unwrap();
        owned.complete();
        assert_eq!(next(&owned, 6), Some(6));
    }

    #[test]
    fn full_partitions_pause_and_resume_at_half_and_commands_never_pause() {
        let (mut owned, sender) = owned(100, 40);
        let none = BTreeSet::new();
        for offset in 5..9 {
            assert!(owned.receive(&record(offset, 10)).is_some());
        }
        assert_eq!(owned.bounds(&BTreeSet::from(["t"])), (vec![], vec![]));
        assert_eq!(owned.bounds(&none).0.len(), 1);
        assert_eq!(owned.bounds(&none), (vec![], vec![]), "pausing twice would refetch for nothing");
        sender.send(done(5, 1)).unwrap();
        owned.complete();
        assert_eq!(owned.bounds(&none), (vec![], vec![]));
        sender.send(done(6, 1)).unwrap();
        owned.complete();
        assert_eq!(owned.bounds(&none).1.len(), 1);
    }
}
