//! The commit tracker of one partition: which offset may be committed while records finish out of order (delivery.md 4).
//!
//! Invariant: the committable offset never exceeds the smallest received offset that is not done, and never decreases.
//! Invariant: it is keyed by *received* offsets, never by counting; transaction markers and compaction leave gaps in a log.
//!
//! It belongs to one epoch of one assignment: a revoke drops it whole, so no completion of the old epoch can reach the next.

use std::collections::VecDeque;

/// The offset that a group would read next. Only the tracker makes one, so a commit that is off by one does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextOffset(i64);

impl NextOffset {
    /// The number as the protocol wants it: the offset of the next record to read.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Received and finished offsets of one partition, in the order received.
#[derive(Debug)]
pub struct CommitTracker {
    capacity: usize,
    /// Strictly increasing; the front is the smallest offset that is not done.
    entries: VecDeque<Entry>,
    last_received: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: i64,
    is_done: bool,
}

impl CommitTracker {
    /// A tracker that calls itself full at `capacity` unfinished entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: VecDeque::new(), last_received: None }
    }

    /// Takes up a received offset. Returns false, and changes nothing, where it is not above the last one: a record that was
    /// delivered twice within one epoch, which the caller drops.
    #[must_use = "an offset that was received before must not be processed again"]
    pub fn receive(&mut self, offset: i64) -> bool {
        if self.last_received.is_some_and(|last| offset <= last) {
            return false;
        }
        self.entries.push_back(Entry { offset, is_done: false });
        self.last_received = Some(offset);
        true
    }

    /// Marks an offset as finished; twice is harmless. Returns false for an offset that was never received.
    pub fn done(&mut self, offset: i64) -> bool {
        let Ok(index) = self.entries.binary_search_by_key(&offset, |entry| entry.offset) else {
            return self.last_received.is_some_and(|last| offset <= last);
        };
        self.entries[index].is_done = true;
        while self.entries.front().is_some_and(|entry| entry.is_done) {
            self.entries.pop_front();
        }
        true
    }

    /// What may be committed now. `position` is where the consumer stands: with nothing unfinished it may lie beyond the last
    /// record, past transaction markers and aborted records (C19).
    #[must_use]
    pub fn committable(&self, position: Option<i64>) -> Option<NextOffset> {
        if let Some(front) = self.entries.front() {
            return Some(NextOffset(front.offset));
        }
        let last = self.last_received?;
        Some(NextOffset(position.unwrap_or(i64::MIN).max(last + 1)))
    }

    /// True when reading has to pause.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// True when a paused partition may go on: half of the capacity is free (C15: hysteresis, a resume refetches).
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.entries.len() * 2 <= self.capacity
    }

    /// Entries that are held: unfinished ones and those finished behind them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when everything received is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
