//! Commands that wait for something that is away, while others go on.
//!
//! Invariant: commands of one key are done in their order; the position in the topic never passes one that waits. After a restart
//! those behind it may be done again, which repeats a row and loses none.

use std::collections::{HashSet, VecDeque};

use kafka::Record;

use crate::position::CommandPosition;

/// So many may wait; then the topic is not read on.
const MOST: usize = 1_000;

/// The commands that were read and are not done.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Record>,
    /// Partition → offset after the last one that was read.
    read: CommandPosition,
}

impl Queue {
    pub(crate) fn new(done: CommandPosition) -> Self {
        Self { waiting: VecDeque::new(), read: done }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }

    /// Takes note of a command that comes from the topic. None: it has to wait for an earlier one of its key.
    pub(crate) fn arrive(&mut self, record: Record) -> Option<Record> {
        self.read.insert(record.partition, record.offset + 1);
        if self.waiting.iter().any(|earlier| earlier.key == record.key) {
            self.waiting.push_back(record);
            return None;
        }
        Some(record)
    }

    /// It is tried again later.
    pub(crate) fn wait(&mut self, record: Record) {
        let place = self.waiting.iter().position(|other| (other.partition, other.offset) > (record.partition, record.offset));
        self.waiting.insert(place.unwrap_or(self.waiting.len()), record);
    }

    /// The first of each key that waits; those behind it stay until they are first.
    pub(crate) fn take(&mut self) -> Vec<Record> {
        let mut keys = HashSet::new();
        let (first, rest) =
            std::mem::take(&mut self.waiting).into_iter().partition(|record: &Record| keys.insert(record.key.clone()));
        self.waiting = rest;
        Vec::from(first)
    }

    /// Where the topic is read on after a restart, once the given ones and all that wait are not done.
    pub(crate) fn position(&self, undone: &[Record]) -> CommandPosition {
        let mut position = self.read.clone();
        for record in self.waiting.iter().chain(undone) {
            let next = position.entry(record.partition).or_insert(record.offset);
            *next = (*next).min(record.offset);
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(partition: i32, offset: i64, key: &str) -> Record {
        Record {
            topic: "mdm.command.erp".into(),
            partition,
            offset,
            timestamp: model::Timestamp::default(),
            key: Some(key.as_bytes().to_vec()),
            value: None,
            headers: Vec::new(),
        }
    }

    fn position(list: &[(i32, i64)]) -> CommandPosition {
        list.iter().copied().collect()
    }

    #[test]
    fn a_command_that_waits_holds_up_its_key_and_the_position_and_nothing_else() {
        let mut queue = Queue::new(position(&[(0, 5)]));
        let first = queue.arrive(command(0, 5, "a")).unwrap();
        queue.wait(first);
        assert!(queue.arrive(command(0, 6, "a")).is_none(), "it waits for the one before");
        assert!(queue.arrive(command(0, 7, "b")).is_some());
        assert!(queue.arrive(command(1, 0, "c")).is_some());
        assert_eq!(queue.position(&[]), position(&[(0, 5), (1, 1)]));

        let mut again = queue.take();
        assert_eq!(again.iter().map(|record| record.offset).collect::<Vec<_>>(), [5]);
        assert_eq!(queue.position(&again), position(&[(0, 5), (1, 1)]), "not before it is done");
        queue.wait(again.remove(0));
        assert_eq!(queue.take()[0].offset, 5, "in their order still");
        assert_eq!(queue.position(&[]), position(&[(0, 6), (1, 1)]));
        assert_eq!(queue.take()[0].offset, 6);
        assert!(queue.is_empty());
        assert_eq!(queue.position(&[]), position(&[(0, 8), (1, 1)]));
    }

    #[test]
    fn so_many_may_wait() {
        let mut queue = Queue::default();
        for offset in 0..1_000 {
            assert!(!queue.is_full());
            let record = queue.arrive(command(0, offset, &offset.to_string())).unwrap();
            queue.wait(record);
        }
        assert!(queue.is_full());
    }
}
