//! The rows of one file, a transaction's worth at a time.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    sync::Arc,
};

use connect::{
    csv::Reader,
    file::{Hashing, Passed},
    rows::Read,
};

use crate::{
    capture::{Capture, Pass},
    writer::now,
};

pub(super) struct Rows {
    pub(super) reader: Reader<Hashing<fs::File>>,
    /// Rows up to here are durable already, except those that waited for the end of the file.
    pub(super) resume: u64,
    pub(super) deferred: BTreeSet<u64>,
    /// Keys that a file taken later names.
    pub(super) overtaken: Arc<HashSet<String>>,
    pub(super) passed: Passed,
    /// The last row, when it has no row end: it may be cut, so it is only taken once the file is known to be what was seen.
    pub(super) last: Option<Read>,
}

impl Rows {
    /// Reads until a transaction is full: the last row of it; none when the file has ended.
    pub(super) fn gather(&mut self, pass: &mut Pass, capture: &mut Capture) -> io::Result<Option<u64>> {
        while let Some(read) = self.reader.next_row()? {
            if self.reader.is_at_end() && !self.reader.is_ended() {
                self.last = Some(read);
                continue;
            }
            let number = number(&read);
            self.take(pass, read, capture);
            if capture.is_full() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    pub(super) fn take_last(&mut self, pass: &mut Pass, capture: &mut Capture) {
        if let Some(read) = self.last.take() {
            self.take(pass, read, capture);
        }
    }

    fn take(&self, pass: &mut Pass, read: Read, capture: &mut Capture) {
        let number = number(&read);
        let is_known = number <= self.resume && !self.deferred.contains(&number);
        if is_known || self.is_overtaken(pass.stream, &read, capture) {
            capture.pass_over(pass, &read);
        } else {
            capture.take(pass, read, now());
        }
    }

    fn is_overtaken(&self, stream: usize, read: &Read, capture: &Capture) -> bool {
        !self.overtaken.is_empty() && key_of(stream, read, capture).is_some_and(|key| self.overtaken.contains(&key))
    }
}

/// The key that a row shows.
pub(super) fn key_of(stream: usize, read: &Read, capture: &Capture) -> Option<String> {
    capture.source_key(
        stream,
        match read {
            Ok(row) => &row.value,
            Err(broken) => &broken.supposed,
        },
    )
}

fn number(read: &Read) -> u64 {
    match read {
        Ok(row) => row.number,
        Err(broken) => broken.number,
    }
}
