//! What was last sent of every source key: the publisher's memory, and what follows from it for the next row (domain.md 1.1).
//!
//! Invariant: of one source key the remembered sequence never falls, so that whatever is sent next passes the fence, except a
//! change that the source itself dates before one already sent: that one goes out under its own number and is found stale.

use std::collections::{BTreeMap, HashMap, HashSet};

use model::{Cursor, Domain, LetterId, RecordKey, Timestamp, cursor::Sent};

/// Source keys that begin so stand for a file or a row without key: they remember only an open letter.
pub(crate) const NOTICE: &str = "!";
/// Cursor key of the position in `command.<source>`. No stream is called so.
pub(crate) const COMMANDS: &str = "!commands";

/// Memory of one source.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    epoch: i64,
    streams: Vec<Stream>,
    commands: Option<String>,
    /// Which source key stands for a record: a second one would fence the first one off.
    holders: HashMap<(Domain, RecordKey), (usize, String)>,
    /// What the cursor topic holds of the keys that changed since the last batch: were it something else, somebody else wrote it.
    before: BTreeMap<String, Option<Cursor>>,
}

#[derive(Debug)]
struct Stream {
    name: String,
    domain: Domain,
    position: Option<String>,
    sent: HashMap<String, Sent>,
    notices: BTreeMap<String, LetterId>,
    live: usize,
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
                notices: BTreeMap::new(),
                live: 0,
            })
            .collect();
        Self { epoch, streams, commands: None, holders: HashMap::new(), before: BTreeMap::new() }
    }

    /// Takes up one record of the cursor topic, in the order of the topic. Streams that the landscape no longer has are left alone.
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
        let Some(index) = self.streams.iter().position(|stream| stream.name == name) else { return epoch };
        match (source_key, cursor) {
            (None, cursor) => self.streams[index].position = cursor.and_then(|cursor| cursor.position),
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

    pub(crate) fn position(&self, stream: usize) -> Option<&str> {
        self.streams[stream].position.as_deref()
    }

    pub(crate) fn commands(&self) -> Option<&str> {
        self.commands.as_deref()
    }

    /// Keys that stand for a record now.
    pub(crate) fn live(&self, stream: usize) -> usize {
        self.streams[stream].live
    }

    pub(crate) fn sent(&self, stream: usize, source_key: &str) -> Option<&Sent> {
        self.streams[stream].sent.get(source_key)
    }

    /// The open letter of a key, a file or a row without key.
    pub(crate) fn letter(&self, stream: usize, source_key: &str) -> Option<LetterId> {
        if source_key.starts_with(NOTICE) {
            return self.streams[stream].notices.get(source_key).cloned();
        }
        self.sent(stream, source_key).and_then(|sent| sent.letter.clone()).map(LetterId)
    }

    /// What becomes of a mapped row. Changes nothing.
    pub(crate) fn decide(&self, candidate: &Candidate<'_>) -> Decision {
        let stream = &self.streams[candidate.stream];
        let holder = self.holders.get(&(stream.domain, candidate.record_key.clone()));
        if let Some((_, by)) = holder.filter(|(stream, key)| (*stream, key.as_str()) != (candidate.stream, candidate.source_key))
        {
            return Decision::Taken { by: by.clone() };
        }
        let Some(last) = stream.sent.get(candidate.source_key) else {
            let sequence = candidate.stamp.unwrap_or(candidate.now).micros();
            return Decision::Send(Next { sequence, leaves: None, closes: None });
        };
        if is_live(last) && last.content_hash == candidate.hash && last.letter.is_none() {
            return Decision::Duplicate;
        }
        let leaves = last.record_key.as_ref().filter(|key| is_live(last) && *key != candidate.record_key).cloned();
        let sequence = match candidate.stamp {
            _ if leaves.is_some() => last.sequence + 1,
            Some(stamp) if self.epoch > last.epoch => stamp.micros(),
            None if self.epoch > last.epoch => candidate.now.micros(),
            // Never sent, only refused.
            Some(stamp) if last.record_key.is_none() => stamp.micros(),
            // The source dates it before what was sent: stale, and shown as such.
            Some(stamp) if stamp_of(last).is_some_and(|sent| stamp < sent) => stamp.micros(),
            Some(stamp) => stamp.micros().max(last.sequence + 1),
            None => candidate.now.micros().max(last.sequence + 1),
        };
        Decision::Send(Next { sequence, leaves, closes: last.letter.clone().map(LetterId) })
    }

    /// Remembers that the row was sent under `sequence`.
    pub(crate) fn remember(&mut self, candidate: &Candidate<'_>, sequence: i64, version: &str) -> Entry {
        let last = self.streams[candidate.stream].sent.get(candidate.source_key).filter(|last| last.epoch == self.epoch);
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
        self.enter(candidate.stream, candidate.source_key, sent)
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

    /// Notices of these kinds, about this file or about rows of it, that a pass over it did not meet again.
    pub(crate) fn untrue_notices(&self, stream: usize, kinds: &[&str], name: &str, still_true: &HashSet<String>) -> Vec<String> {
        let about: Vec<_> = kinds.iter().map(|kind| format!("{NOTICE}{kind}:{name}")).collect();
        let is_about = |notice: &str| {
            about
                .iter()
                .any(|about| notice.strip_prefix(about.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
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
        let sequence = if has_stamps { last.sequence + 1 } else { now.micros().max(last.sequence + 1) };
        let closes = last.letter.clone().map(LetterId);
        let sent = Sent { content_hash: String::new(), epoch: self.epoch, sequence, deleted: true, letter: None, ..last };
        let entry = self.enter(stream, source_key, sent);
        Some((record_key, Next { sequence, leaves: None, closes }, entry))
    }

    /// Sends a key again with its next row, whatever was sent.
    pub(crate) fn send_again(&mut self, stream: usize, source_key: &str) -> Option<Entry> {
        let sent = self.sent(stream, source_key)?.clone();
        Some(self.enter(stream, source_key, Sent { content_hash: String::new(), ..sent }))
    }

    pub(crate) fn move_to(&mut self, stream: usize, position: String) -> Entry {
        let last = self.streams[stream].position.replace(position.clone());
        let before = last.map(|last| Cursor { position: Some(last), sent: None, epoch: self.epoch });
        self.before.entry(self.streams[stream].name.clone()).or_insert(before);
        (self.streams[stream].name.clone(), Some(Cursor { position: Some(position), sent: None, epoch: self.epoch }))
    }

    pub(crate) fn move_commands(&mut self, position: String) -> Entry {
        let last = self.commands.replace(position.clone());
        let before = last.map(|last| Cursor { position: Some(last), sent: None, epoch: self.epoch });
        self.before.entry(COMMANDS.to_owned()).or_insert(before);
        (COMMANDS.to_owned(), Some(Cursor { position: Some(position), sent: None, epoch: self.epoch }))
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
        let sent = match self.streams[stream].notices.get(source_key) {
            Some(letter) => Some(Sent { letter: Some(letter.0.clone()), ..self.nothing() }),
            None => self.sent(stream, source_key).cloned(),
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
        let domain = self.streams[stream].domain;
        if let Some(key) = sent.record_key.clone().filter(|_| is_live(&sent)) {
            self.streams[stream].live += 1;
            self.holders.insert((domain, key), (stream, source_key.to_owned()));
        }
        self.streams[stream].sent.insert(source_key.to_owned(), sent);
    }

    fn forget(&mut self, stream: usize, source_key: &str) {
        let domain = self.streams[stream].domain;
        let Some(last) = self.streams[stream].sent.remove(source_key) else { return };
        if let Some(key) = last.record_key.clone().filter(|_| is_live(&last)) {
            self.streams[stream].live -= 1;
            let place = (domain, key);
            if self.holders.get(&place).is_some_and(|holder| (holder.0, holder.1.as_str()) == (stream, source_key)) {
                self.holders.remove(&place);
            }
        }
    }
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
