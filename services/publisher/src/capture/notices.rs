//! What is wrong with a file or a list as a whole: deletes that cannot be, and letters that close once it is no longer true.

use connect::rows::{Fault, Row};
use landscape::Content;
use model::Timestamp;

use super::{Capture, MOST_UNCAUSED, Pass, Refused};
use crate::memory::NOTICE;

impl Capture {
    /// After the last row of a full file or a complete sweep: the keys to delete. None at all, and a letter, when they are too many or
    /// may be there.
    pub(crate) fn absent(&mut self, pass: &mut Pass, version: &str, now: Timestamp) -> Vec<String> {
        let absent = self.memory.absent(pass.stream, &pass.seen);
        let Some((code, why)) = self.why_nothing_goes(pass, absent.len()) else { return absent };
        let known = self.memory.live(pass.stream);
        let fault = Fault::new(code, format!("{} of {known} known keys are missing{why}; nothing was deleted", absent.len()))
            .observed(absent.len().to_string());
        let notice = format!("{NOTICE}deletes:{}", pass.name);
        self.refuse(
            pass,
            &Refused { source_key: &notice, record_key: None, fault: &fault, raw: version.as_bytes(), line: 0 },
            now,
        );
        Vec::new()
    }

    fn why_nothing_goes(&self, pass: &Pass, absent: usize) -> Option<(&'static str, String)> {
        let limit = self.source.max_deletes;
        // A row that waits stands for a record that is known under another key.
        let known = self.memory.live(pass.stream) + pass.deferred.len();
        if absent == 0 {
            None
        } else if !pass.is_complete {
            Some(("DELETES_WITHHELD", ", and there are rows whose key cannot be read".to_owned()))
        } else if !pass.is_whole {
            Some(("DELETES_WITHHELD", ", and the last row has no line end, so that the file may be cut".to_owned()))
        } else if limit.allows(absent, known) {
            None
        } else if absent >= known {
            Some(("MASS_DELETE", ", which is all of them".to_owned()))
        } else {
            Some(("MASS_DELETE", format!(", more than {} % (and more than {})", limit.percent, limit.at_least)))
        }
    }

    /// A file, or a row without key, that was at fault and no longer is: one of the changes that the pass sent closes its letter.
    pub(super) fn close_notices(&mut self, pass: &mut Pass, now: Timestamp) {
        // Of full files only the newest whole one counts: what was wrong with another one no longer is either.
        let is_last_word = self.has_one_row_a_key(pass) && pass.is_complete && pass.is_whole;
        let names: Vec<&str> = std::iter::once(&pass.name).chain(&pass.sides).map(String::as_str).collect();
        let names = (!is_last_word).then_some(names.as_slice());
        for notice in self.memory.untrue_notices(pass.stream, pass.proves, names, &pass.seen) {
            while !self.close_notice(pass.stream, &notice) {
                let Some(row) = pass.spare.pop_back() else { return };
                self.send_once_more(pass, row, now);
            }
        }
    }

    /// False: there is no change that could name the letter.
    pub(crate) fn close_notice(&mut self, stream: usize, notice: &str) -> bool {
        let Some((index, of, key, mut change)) = self.uncaused.pop_back() else { return false };
        let Some((letter, tombstone)) = self.memory.close_notice(stream, notice) else { return true };
        change.meta.causation_id = Some(letter.0);
        if let Some(outgoing) = self.encode(of, &key, &change) {
            self.batch.records[index] = outgoing;
            self.enter(tombstone);
        }
        true
    }

    /// A row that is known already goes out again, so that there is a change to close a letter with.
    fn send_once_more(&mut self, pass: &mut Pass, row: Row, now: Timestamp) {
        let Some(source_key) = self.source_key(pass.stream, &row.value) else { return };
        if self.memory.letter(pass.stream, &source_key).is_none() {
            self.send_again(pass.stream, &source_key);
            self.take_row(pass, row, now);
        }
    }

    pub(super) fn spare(&self, pass: &mut Pass, row: &Row) {
        if pass.is_final || pass.proves.is_empty() || !self.memory.has_notices(pass.stream) {
            return;
        }
        if pass.spare.len() == MOST_UNCAUSED {
            pass.spare.pop_front();
        }
        pass.spare.push_back(row.clone());
    }

    /// In a full file; a sweep may meet a row again when pages shift.
    pub(super) fn has_one_row_a_key(&self, pass: &Pass) -> bool {
        pass.columns.is_some() && self.stream(pass.stream).content == Content::Full
    }
}
