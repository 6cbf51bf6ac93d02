//! What was last sent of every source key: the publisher's memory, and what follows from it for the next row (domain.md 1.1).
//!
//! Invariant: what is sent next of a record has a higher sequence than all that was sent of it before, under whichever source key
//! and before whichever restart, so that it passes the fence. The exception is a change that the source itself dates before one
//! already sent of the same source key and record: that one goes out under its own number and is found stale.
//! Invariant: a raised epoch believes nothing of the older one but which record a source key stands for.

use std::collections::{BTreeMap, HashMap, HashSet};

use model::{Cursor, Domain, Fence, LetterId, RecordKey, Timestamp, cursor::Sent};

use crate::position::{self, Taken};

/// Source keys that begin so stand for a file or a row without key: they remember only an open letter.
pub(crate) const NOTICE: &str = "!";
/// Source keys that begin so keep the fence of a record that its source key left.
const LEFT: &str = "!left:";
/// Cursor keys below a stream that begin so stand for a file that was taken to its end.
const TAKEN: &str = "!taken:";
/// Cursor key of the position in `command.<source>`. No stream is called so.
pub(crate) const COMMANDS: &str = "!commands";

/// Memory of one source.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    epoch: i64,
    streams: Vec<Stream>,
    commands: Option<String>,
    records: HashMap<(Domain, RecordKey), Record>,
    /// Fences of records of streams that the landscape no longer has: another stream may send them by now.
    foreign: HashMap<RecordKey, Fence>,
    /// What the cursor topic holds of the keys that changed since the last batch: were it something else, somebody else wrote it.
    before: BTreeMap<String, Option<Cursor>>,
}

#[derive(Debug)]
struct Stream {
    name: String,
    domain: Domain,
    /// With the epoch that it was written under.
    position: Option<(String, i64)>,
    sent: HashMap<String, Sent>,
    left: HashMap<String, Sent>,
    notices: BTreeMap<String, LetterId>,
    /// Files that were taken to their end, by name.
    taken: BTreeMap<String, Taken>,
    live: usize,
}

/// What was ever sent of one record.
#[derive(Debug, Default)]
struct Record {
    /// The source key that stands for it: a second one would fence the first one off.
    holder: Option<(usize, String)>,
    fence: Fence,
}

/// A mapped row, as far as the decision needs it.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) stream: usize,
    pub(crate) source_key: &'a str,
    pub(crate) record_key: &'a RecordKey,
    pub(crate) hash: &'a str,
    /// The source's own time of the change.
    pub(crate) stamp: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

/// What becomes of a mapped row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Sent before with the same content, and no letter waits for it.
    Duplicate,
    /// Another source key stands for this record.
    Taken {
        by: String,
    },
    Send(Next),
}

/// What is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) sequence: i64,
    /// A key component changed: the record that this source key stood for until now.
    pub(crate) leaves: Option<RecordKey>,
    /// The letter that this change closes.
    pub(crate) closes: Option<LetterId>,
    /// The source key was deleted: whoever wrote it now, it has to be sent.
    pub(crate) comes_back: bool,
}

/// An entry of the cursor topic; none is a tombstone.
pub(crate) type Entry = (String, Option<Cursor>);

impl Memory {
    pub(crate) fn new(epoch: i64, streams: impl IntoIterator<Item = (String, Domain)>) -> Self {
        let streams = streams
            .into_iter()
            .map(|(name, domain)| Stream {
                name,
                domain,
                position: None,
                sent: HashMap::new(),
                left: HashMap::new(),
                notices: BTreeMap::new(),
                taken: BTreeMap::new(),
                live: 0,
            })
            .collect();
        Self { epoch, streams, ..Self::default() }
    }

    /// Takes up one record of the cursor topic, in the order of the topic. Of streams that the landscape no longer has, only the
    /// fences count.
    /// Answers the epoch it was written under.
    pub(crate) fn restore(&mut self, key: &str, cursor: Option<Cursor>) -> i64 {
        let epoch = cursor.as_ref().map_or(0, |cursor| cursor.epoch);
        if key == COMMANDS {
            self.commands = cursor.and_then(|cursor| cursor.position);
            return epoch;
        }
        let (name, source_key) = match key.split_once('/') {
            Some((name, source_key)) => (name, Some(source_key)),
            None => (key, None),
        };
        let Some(index) = self.streams.iter().position(|stream| stream.name == name) else {
            if let Some(Cursor { sent: Some(Sent { record_key: Some(key), epoch, sequence, .. }), .. }) = cursor {
                let fence = self.foreign.entry(key).or_default();
                *fence = (*fence).max(Fence { epoch, sequence });
            }
            return epoch;
        };
        if let Some(file) = source_key.and_then(|key| key.strip_prefix(TAKEN)) {
            let is_behind = epoch < self.epoch;
            let taken = cursor.and_then(|cursor| cursor.position);
            let taken = taken.map(|text| Taken { is_behind, ..position::read(Some(&text)) });
            self.put_taken(index, file, taken);
            return epoch;
        }
        match (source_key, cursor) {
            (None, cursor) => {
                self.streams[index].position = cursor.and_then(|cursor| Some((cursor.position?, cursor.epoch)));
            }
            (Some(left), Some(Cursor { sent: Some(sent), .. })) if left.starts_with(LEFT) => self.leave(index, left, sent),
            (Some(notice), cursor) if notice.starts_with(NOTICE) => {
                let notices = &mut self.streams[index].notices;
                match cursor.and_then(|cursor| cursor.sent).and_then(|sent| sent.letter) {
                    Some(letter) => _ = notices.insert(notice.to_owned(), LetterId(letter)),
                    None => _ = notices.remove(notice),
                }
            }
            (Some(source_key), Some(Cursor { sent: Some(sent), .. })) => self.put(index, source_key, sent),
            (Some(source_key), _) => self.forget(index, source_key),
        }
        epoch
    }

    /// What was durable of every key that changed since this was asked last.
    pub(crate) fn take_before(&mut self) -> BTreeMap<String, Option<Cursor>> {
        std::mem::take(&mut self.before)
    }

    /// None, too, where it was written under an older epoch: everything is read again.
    pub(crate) fn position(&self, stream: usize) -> Option<&str> {
        self.streams[stream].position.as_ref().filter(|(_, epoch)| *epoch >= self.epoch).map(|(position, _)| position.as_str())
    }

    pub(crate) fn commands(&self) -> Option<&str> {
        self.commands.as_deref()
    }

    /// Files of a stream that were taken to their end, by name.
    pub(crate) fn taken(&self, stream: usize) -> &BTreeMap<String, Taken> {
        &self.streams[stream].taken
    }

    /// Whether a letter about a file, or about a row without key, is open.
    pub(crate) fn has_notices(&self, stream: usize) -> bool {
        !self.streams[stream].notices.is_empty()
    }

    /// Keys that stand for a record now.
    pub(crate) fn live(&self, stream: usize) -> usize {
        self.streams[stream].live
    }

    pub(crate) fn sent(&self, stream: usize, source_key: &str) -> Option<&Sent> {
        self.streams[stream].sent.get(source_key)
    }

    /// Whether a key stands for a record, or its letter is open.
    pub(crate) fn knows(&self, stream: usize, source_key: &str) -> bool {
        self.sent(stream, source_key).is_some_and(|sent| is_live(sent) || sent.letter.is_some())
    }

    /// Whether the letter of any key is open.
    pub(crate) fn has_refused(&self, stream: usize) -> bool {
        self.streams[stream].sent.values().any(|sent| sent.letter.is_some())
    }

    /// The open letter of a key, a file or a row without key.
    pub(crate) fn letter(&self, stream: usize, source_key: &str) -> Option<LetterId> {
        if source_key.starts_with(NOTICE) {
            return self.streams[stream].notices.get(source_key).cloned();
        }
        self.sent(stream, source_key).and_then(|sent| sent.letter.clone()).map(LetterId)
    }

    /// The source key that stands for a record now.
    pub(crate) fn holder(&self, domain: Domain, key: &RecordKey) -> Option<(usize, &str)> {
        let holder = self.records.get(&(domain, key.clone()))?.holder.as_ref()?;
        Some((holder.0, holder.1.as_str()))
    }

    /// What becomes of a mapped row. Changes nothing.
    pub(crate) fn decide(&self, candidate: &Candidate<'_>) -> Decision {
        let stream = &self.streams[candidate.stream];
        let holder = self.holder(stream.domain, candidate.record_key);
        if let Some((_, by)) = holder.filter(|holder| *holder != (candidate.stream, candidate.source_key)) {
            return Decision::Taken { by: by.to_owned() };
        }
        let last = stream.sent.get(candidate.source_key);
        let now_sent = last.filter(|last| last.epoch == self.epoch && is_live(last));
        if now_sent.is_some_and(|last| last.content_hash == candidate.hash && last.letter.is_none()) {
            return Decision::Duplicate;
        }
        let leaves = last.filter(|last| is_live(last)).and_then(|last| last.record_key.clone());
        let leaves = leaves.filter(|key| key != candidate.record_key);
        let own = last.filter(|last| last.epoch == self.epoch && last.record_key.is_some()).map(|last| last.sequence);
        let floors = [Some(candidate.record_key), leaves.as_ref()].map(|key| self.fence(stream.domain, key?));
        let floor = floors.into_iter().chain([own]).flatten().max();
        let sequence = match candidate.stamp {
            // The source dates it before what was sent: stale, and shown as such.
            Some(stamp) if leaves.is_none() && now_sent.is_some_and(|last| is_dated_before(stamp, last, candidate.now)) => {
                stamp.micros()
            }
            stamp => above(floor, stamp.unwrap_or(candidate.now)),
        };
        let closes = last.and_then(|last| last.letter.clone()).map(LetterId);
        Decision::Send(Next { sequence, leaves, closes, comes_back: last.is_some_and(|last| last.deleted) })
    }

    /// The highest sequence that was sent of a record under this epoch.
    fn fence(&self, domain: Domain, key: &RecordKey) -> Option<i64> {
        let own = self.records.get(&(domain, key.clone())).map(|record| record.fence);
        let fence = own.into_iter().chain(self.foreign.get(key).copied()).max()?;
        (fence.epoch == self.epoch).then_some(fence.sequence)
    }

    /// Remembers that the row was sent under `sequence`: what is to be written of it.
    pub(crate) fn remember(&mut self, candidate: &Candidate<'_>, sequence: i64, version: &str) -> Vec<Entry> {
        let Candidate { stream, source_key, .. } = *candidate;
        let left = self.sent(stream, source_key).and_then(|last| last.record_key.clone());
        let left = left.filter(|left| left != candidate.record_key);
        let last = self.streams[stream].sent.get(source_key).filter(|last| last.epoch == self.epoch);
        let is_stale = last.is_some_and(|last| sequence < last.sequence);
        let sent = Sent {
            // The highest stamp stays: the next row is compared with it.
            version: last.filter(|_| is_stale).map_or_else(|| version.to_owned(), |last| last.version.clone()),
            content_hash: candidate.hash.to_owned(),
            epoch: self.epoch,
            sequence: last.map_or(sequence, |last| last.sequence.max(sequence)),
            record_key: Some(candidate.record_key.clone()),
            deleted: false,
            letter: None,
        };
        let mut entries = Vec::from_iter(left.map(|left| self.remember_left(stream, left, sequence)));
        entries.push(self.enter(stream, source_key, sent));
        entries
    }

    /// The source key's own entry will tell of another record from now on, and whoever takes up this one must get past its fence.
    fn remember_left(&mut self, stream: usize, key: RecordKey, sequence: i64) -> Entry {
        let name = format!("{LEFT}{key}");
        self.keep_before(stream, &name);
        let fence = Fence { epoch: self.epoch, sequence };
        let fence = self.records.get(&(self.streams[stream].domain, key.clone())).map_or(fence, |record| record.fence.max(fence));
        let sent = Sent { record_key: Some(key), epoch: fence.epoch, sequence: fence.sequence, ..self.nothing() };
        self.leave(stream, &name, sent.clone());
        self.entry(stream, &name, sent)
    }

    fn leave(&mut self, stream: usize, name: &str, sent: Sent) {
        if let Some(key) = &sent.record_key {
            self.raise(stream, key, Fence { epoch: sent.epoch, sequence: sent.sequence });
        }
        self.streams[stream].left.insert(name.to_owned(), sent);
    }

    fn raise(&mut self, stream: usize, key: &RecordKey, fence: Fence) -> &mut Record {
        let record = self.records.entry((self.streams[stream].domain, key.clone())).or_default();
        record.fence = record.fence.max(fence);
        record
    }

    /// Remembers the open letter of a key that could not be read or mapped, or of a file.
    pub(crate) fn refuse(&mut self, stream: usize, source_key: &str, letter: &LetterId) -> Entry {
        if source_key.starts_with(NOTICE) {
            self.keep_before(stream, source_key);
            self.streams[stream].notices.insert(source_key.to_owned(), letter.clone());
            let sent = Sent { letter: Some(letter.0.clone()), ..self.nothing() };
            return self.entry(stream, source_key, sent);
        }
        let sent = self.sent(stream, source_key).cloned().unwrap_or_else(|| self.nothing());
        self.enter(stream, source_key, Sent { letter: Some(letter.0.clone()), ..sent })
    }

    /// Notices of these kinds, about these files or about rows of them, that a pass did not meet again. No name: about any file.
    pub(crate) fn untrue_notices(
        &self,
        stream: usize,
        kinds: &[&str],
        names: Option<&[&str]>,
        still_true: &HashSet<String>,
    ) -> Vec<String> {
        let is_about = |notice: &str| {
            kinds.iter().any(|kind| {
                let about = notice.strip_prefix(NOTICE).and_then(|rest| rest.strip_prefix(kind)?.strip_prefix(':'));
                let is = |about: &str, name: &str| {
                    about.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
                };
                about.is_some_and(|about| names.is_none_or(|names| names.iter().any(|name| is(about, name))))
            })
        };
        let notices = self.streams[stream].notices.keys();
        notices.filter(|notice| is_about(notice) && !still_true.contains(*notice)).cloned().collect()
    }

    /// Forgets a notice: its letter, and the tombstone.
    pub(crate) fn close_notice(&mut self, stream: usize, notice: &str) -> Option<(LetterId, Entry)> {
        self.keep_before(stream, notice);
        let letter = self.streams[stream].notices.remove(notice)?;
        Some((letter, (format!("{}/{notice}", self.streams[stream].name), None)))
    }

    /// Live keys that `seen` lacks, in order.
    pub(crate) fn absent(&self, stream: usize, seen: &HashSet<String>) -> Vec<String> {
        let sent = &self.streams[stream].sent;
        let mut absent: Vec<_> =
            sent.iter().filter(|(key, sent)| is_live(sent) && !seen.contains(*key)).map(|(key, _)| key.clone()).collect();
        absent.sort();
        absent
    }

    /// Remembers a delete: the record key, its sequence, the letter that it closes, the entry. None when the key is not live.
    ///
    /// A source with stamps gets the last sequence + 1: the capture's clock must not fence off what the source dates next.
    pub(crate) fn delete(
        &mut self,
        stream: usize,
        source_key: &str,
        has_stamps: bool,
        now: Timestamp,
    ) -> Option<(RecordKey, Next, Entry)> {
        let last = self.sent(stream, source_key).filter(|last| is_live(last))?.clone();
        let record_key = last.record_key.clone()?;
        let floor = self.fence(self.streams[stream].domain, &record_key).into_iter().chain([last.sequence]).max();
        let sequence = above(floor, if has_stamps { Timestamp::from_micros(last.sequence) } else { now });
        let closes = last.letter.clone().map(LetterId);
        let sent = Sent { content_hash: String::new(), epoch: self.epoch, sequence, deleted: true, letter: None, ..last };
        let entry = self.enter(stream, source_key, sent);
        Some((record_key, Next { sequence, leaves: None, closes, comes_back: false }, entry))
    }

    /// Sends a key again with its next row, whatever was sent.
    pub(crate) fn send_again(&mut self, stream: usize, source_key: &str) -> Option<Entry> {
        let sent = self.sent(stream, source_key)?.clone();
        Some(self.enter(stream, source_key, Sent { content_hash: String::new(), ..sent }))
    }

    pub(crate) fn move_to(&mut self, stream: usize, position: String) -> Entry {
        let last = self.streams[stream].position.replace((position.clone(), self.epoch));
        let before = last.map(|(last, epoch)| Cursor { position: Some(last), sent: None, epoch });
        self.before.entry(self.streams[stream].name.clone()).or_insert(before);
        (self.streams[stream].name.clone(), Some(Cursor { position: Some(position), sent: None, epoch: self.epoch }))
    }

    pub(crate) fn move_commands(&mut self, position: String) -> Entry {
        let last = self.commands.replace(position.clone());
        let before = last.map(|last| Cursor { position: Some(last), sent: None, epoch: self.epoch });
        self.before.entry(COMMANDS.to_owned()).or_insert(before);
        (COMMANDS.to_owned(), Some(Cursor { position: Some(position), sent: None, epoch: self.epoch }))
    }

    /// Remembers that a file was taken to its end, or, with none, forgets a file that is gone.
    pub(crate) fn take_file(&mut self, stream: usize, name: &str, taken: Option<Taken>) -> Entry {
        let key = format!("{}/{TAKEN}{name}", self.streams[stream].name);
        let epoch = self.epoch;
        let cursor = |taken: &Taken| Cursor { position: Some(position::write(taken)), sent: None, epoch };
        let before = self.streams[stream].taken.get(name).map(cursor);
        self.before.entry(key.clone()).or_insert(before);
        let entry = (key, taken.as_ref().map(cursor));
        self.put_taken(stream, name, taken);
        entry
    }

    fn put_taken(&mut self, stream: usize, name: &str, taken: Option<Taken>) {
        match taken {
            Some(taken) => _ = self.streams[stream].taken.insert(name.to_owned(), taken),
            None => _ = self.streams[stream].taken.remove(name),
        }
    }

    fn nothing(&self) -> Sent {
        Sent {
            version: String::new(),
            content_hash: String::new(),
            epoch: self.epoch,
            sequence: 0,
            record_key: None,
            deleted: false,
            letter: None,
        }
    }

    fn enter(&mut self, stream: usize, source_key: &str, sent: Sent) -> Entry {
        self.keep_before(stream, source_key);
        self.put(stream, source_key, sent.clone());
        self.entry(stream, source_key, sent)
    }

    fn keep_before(&mut self, stream: usize, source_key: &str) {
        let key = format!("{}/{source_key}", self.streams[stream].name);
        if self.before.contains_key(&key) {
            return;
        }
        let known = &self.streams[stream];
        let sent = match known.notices.get(source_key) {
            Some(letter) => Some(Sent { letter: Some(letter.0.clone()), ..self.nothing() }),
            None => known.left.get(source_key).or_else(|| known.sent.get(source_key)).cloned(),
        };
        let before = sent.map(|sent| Cursor { position: None, sent: Some(sent), epoch: self.epoch });
        self.before.insert(key, before);
    }

    fn entry(&self, stream: usize, source_key: &str, sent: Sent) -> Entry {
        let key = format!("{}/{source_key}", self.streams[stream].name);
        (key, Some(Cursor { position: None, sent: Some(sent), epoch: self.epoch }))
    }

    fn put(&mut self, stream: usize, source_key: &str, sent: Sent) {
        self.forget(stream, source_key);
        if let Some(key) = &sent.record_key {
            let record = self.raise(stream, key, Fence { epoch: sent.epoch, sequence: sent.sequence });
            if is_live(&sent) {
                record.holder = Some((stream, source_key.to_owned()));
                self.streams[stream].live += 1;
            }
        }
        self.streams[stream].sent.insert(source_key.to_owned(), sent);
    }

    /// What was sent of its record stays known.
    fn forget(&mut self, stream: usize, source_key: &str) {
        let domain = self.streams[stream].domain;
        let Some(last) = self.streams[stream].sent.remove(source_key) else { return };
        if let Some(key) = last.record_key.clone().filter(|_| is_live(&last)) {
            self.streams[stream].live -= 1;
            let record = self.records.entry((domain, key)).or_default();
            record.holder = record.holder.take().filter(|(by, key)| (*by, key.as_str()) != (stream, source_key));
        }
    }
}

/// The given number, or the next one that passes the fence.
fn above(floor: Option<i64>, wanted: Timestamp) -> i64 {
    wanted.micros().max(floor.map_or(i64::MIN, |floor| floor.saturating_add(1)))
}

/// A stamp that lies ahead of our clock is no order: the source's clock was wrong, and what comes after it is newer all the same.
fn is_dated_before(stamp: Timestamp, last: &Sent, now: Timestamp) -> bool {
    stamp_of(last).is_some_and(|sent| stamp < sent && sent <= now)
}

fn is_live(sent: &Sent) -> bool {
    sent.record_key.is_some() && !sent.deleted
}

/// Version of a stamped source is its stamp.
fn stamp_of(sent: &Sent) -> Option<Timestamp> {
    sent.version.parse().ok()
}

#[cfg(test)]
mod tests;
