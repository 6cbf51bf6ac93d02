//! Rows in, records out: what one pass over a source's stream makes of what it reads.
//!
//! Everything goes into a [`Batch`]: changes, letters and the memory of both, which the writer makes durable together. The memory
//! runs ahead of what is durable by the batch that is being written; a batch that cannot be written is written again, never redone.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use connect::rows::{Broken, Fault, Read, Row};
use landscape::{Content, Input, Landscape, Source, Stream};
use model::{Change, ChangeId, ChangeMeta, Domain, Operation, Outgoing, RecordKey, Slot, Timestamp};
use service::Traces;
use telemetry::trace::TraceContext;
use uuid::Uuid;

mod map;
mod notices;
mod pass;
mod trace;

use map::Mapped;
pub(crate) use map::escape;
use pass::Deferred;
pub(crate) use pass::{Batch, Pass, Tally};

use crate::{
    letter::{Failed, Sender, fingerprint},
    memory::{Candidate, Decision, Entry, Memory, NOTICE, Next},
    position::Taken,
};

/// A larger change becomes a letter: it has to fit into a record with its headers, and into one with what is found when it waits or
/// becomes golden.
const LARGEST_CHANGE: usize = 900 * 1024;
const _: () = assert!(LARGEST_CHANGE + model::FINDINGS_BYTES + 32 * 1024 < Outgoing::LARGEST);
/// Rows of one transaction.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Rows that wait for the end of a full file, because their record may be free by then.
const MOST_DEFERRED: usize = 1_000;
/// Letters without key that one transaction can close.
const MOST_UNCAUSED: usize = 16;

/// One source, its memory and what is about to be written.
pub(crate) struct Capture {
    landscape: Arc<Landscape>,
    source: Source,
    topics: avro::Topics,
    writer: avro::Writer,
    sender: Sender,
    pub(crate) memory: Memory,
    batch: Batch,
    traces: Traces,
    /// The command that changes are captured for.
    pub(crate) cause: Option<TraceContext>,
    /// The newest changes of the batch that name no cause yet, with their place in it: at the end of a file they can close the
    /// letters of that file that have no key.
    uncaused: VecDeque<(usize, usize, RecordKey, Change)>,
}

impl Capture {
    pub(crate) fn new(
        landscape: Arc<Landscape>,
        source: Source,
        topics: avro::Topics,
        writer: avro::Writer,
        memory: Memory,
    ) -> Self {
        let sender = Sender {
            source: source.name.clone(),
            office: source.office.clone(),
            epoch: source.epoch,
            policy_version: landscape.policy_version.clone(),
        };
        Self {
            landscape,
            source,
            topics,
            writer,
            sender,
            memory,
            batch: Batch::default(),
            traces: Traces::default(),
            cause: None,
            uncaused: VecDeque::new(),
        }
    }

    pub(crate) fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn stream(&self, stream: usize) -> &Stream {
        &self.source.streams[stream]
    }

    /// Time for a transaction.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.rows >= BATCH_ROWS || self.batch.bytes >= BATCH_BYTES
    }

    pub(crate) fn batch(&mut self) -> Batch {
        self.uncaused.clear();
        Batch { before: self.memory.take_before(), ..std::mem::take(&mut self.batch) }
    }

    /// Where the stream will be read on, durable with everything before it.
    pub(crate) fn move_to(&mut self, stream: usize, position: String) {
        if self.memory.position(stream) != Some(&position) {
            let entry = self.memory.move_to(stream, position);
            self.enter(entry);
        }
    }

    /// A file was taken to its end; none: it is gone for good.
    pub(crate) fn take_file(&mut self, stream: usize, name: &str, taken: Option<Taken>) {
        let entry = self.memory.take_file(stream, name, taken);
        self.enter(entry);
    }

    /// Which commands are done, durable with what they caused.
    pub(crate) fn move_commands(&mut self, position: String) {
        if self.memory.commands() != Some(&position) {
            let entry = self.memory.move_commands(position);
            self.enter(entry);
        }
    }

    /// The next pass sends this key, whatever was sent before.
    pub(crate) fn send_again(&mut self, stream: usize, source_key: &str) {
        if let Some(entry) = self.memory.send_again(stream, source_key) {
            self.enter(entry);
        }
    }

    /// The next pass tells it again, if it is still true.
    pub(crate) fn forget_notice(&mut self, stream: usize, notice: &str) {
        if let Some((_, tombstone)) = self.memory.close_notice(stream, notice) {
            self.enter(tombstone);
        }
    }

    /// A row that was taken before a restart: only its key matters.
    pub(crate) fn pass_over(&mut self, pass: &mut Pass, read: &Read) {
        match read {
            Ok(row) => match self.source_key(pass.stream, &row.value) {
                Some(key) => {
                    let is_again = !pass.seen.insert(key);
                    if is_again && self.has_one_row_a_key(pass) {
                        pass.seen.insert(row_notice(pass, &row.raw));
                    } else {
                        self.spare(pass, row);
                    }
                }
                None => self.note(pass, &row.raw),
            },
            Err(broken) => match self.source_key(pass.stream, &broken.supposed) {
                Some(key) => {
                    pass.seen.insert(key);
                    pass.is_complete &= broken.fault.code == "ENCODING";
                }
                None => self.note(pass, &broken.raw),
            },
        }
    }

    /// One row or item.
    pub(crate) fn take(&mut self, pass: &mut Pass, read: Read, now: Timestamp) {
        self.batch.rows += 1;
        match read {
            Ok(row) => self.take_row(pass, row, now),
            Err(broken) => self.take_broken(pass, &broken, now),
        }
    }

    /// The file, or the sweep, as a whole is at fault: one letter, no rows.
    pub(crate) fn refuse_whole(&mut self, pass: &mut Pass, fault: &Fault, version: &str, now: Timestamp) {
        let notice = format!("{NOTICE}file:{}", pass.name);
        pass.is_complete = false;
        self.refuse(pass, &Refused { source_key: &notice, record_key: None, fault, raw: version.as_bytes(), line: 0 }, now);
    }

    /// One key is gone at the source.
    pub(crate) fn delete(&mut self, pass: &mut Pass, source_key: &str, now: Timestamp) {
        let has_stamps = self.stream(pass.stream).stamp.is_some();
        let Some((key, next, entry)) = self.memory.delete(pass.stream, source_key, has_stamps, now) else { return };
        self.batch.rows += 1;
        let meta = self.meta(pass, source_key, &pass.name, now, &next);
        self.push_change(pass, &key, Change { meta: ChangeMeta { operation: Operation::Delete, ..meta }, data: None });
        self.enter(entry);
        self.count(pass, "ok");
    }

    /// Rows whose record was taken are tried once more, after the deletes; what is still taken becomes a letter.
    pub(crate) fn finish(&mut self, pass: &mut Pass, now: Timestamp) {
        pass.is_final = true;
        let mut waiting = std::mem::take(&mut pass.deferred);
        while let Some(last) = waiting.pop() {
            // Whoever stands for the record and moves, too, moves first.
            let mut moves = vec![last];
            while let Some(by) = self.holder(pass.stream, &moves[moves.len() - 1].key) {
                if moves.iter().any(|other| other.source_key == by) {
                    // In a circle nobody can: one gives up its record, and gets its new one at last.
                    self.delete(pass, &by, now);
                    break;
                }
                let Some(index) = waiting.iter().position(|other| other.source_key == by) else { break };
                moves.push(waiting.swap_remove(index));
            }
            for moving in moves.into_iter().rev() {
                self.take_row(pass, moving.row, now);
            }
        }
        self.close_notices(pass, now);
    }

    /// The source key of this stream that stands for a record.
    fn holder(&self, stream: usize, key: &RecordKey) -> Option<String> {
        let (of, by) = self.memory.holder(self.domain(stream), key)?;
        (of == stream).then(|| by.to_owned())
    }

    fn take_row(&mut self, pass: &mut Pass, row: Row, now: Timestamp) {
        let Some(source_key) = self.source_key(pass.stream, &row.value) else {
            let columns = self.stream(pass.stream).key.join("/");
            let fault = Fault::new("KEY_MISSING", format!("the row has no {columns}, which names it")).field(columns);
            self.refuse_unnamed(pass, &row.raw, row.line, &fault, now);
            return;
        };
        let is_again = !pass.seen.insert(source_key.clone()) && !pass.is_final;
        if is_again {
            pass.deferred.retain(|deferred| deferred.source_key != source_key);
        }
        if is_again && self.has_one_row_a_key(pass) {
            let fault = Fault::new("KEY_TWICE", format!("another row of this file has the key `{source_key}` too"));
            self.refuse_row_only(pass, &row, &fault.observed(&source_key), now);
            return;
        }
        let mapped = match self.map(pass, &row, now) {
            Ok(mapped) => mapped,
            Err(fault) => return self.refuse_key(pass, &row, &source_key, None, &fault, now),
        };
        let candidate = Candidate {
            stream: pass.stream,
            source_key: &source_key,
            record_key: &mapped.key,
            hash: &mapped.hash,
            stamp: mapped.stamp,
            now,
        };
        match self.memory.decide(&candidate) {
            Decision::Duplicate => {
                self.spare(pass, &row);
                self.count(pass, "duplicate");
            }
            Decision::Taken { .. } if self.may_defer(pass) => pass.deferred.push(Deferred { source_key, key: mapped.key, row }),
            Decision::Taken { by } => {
                let fault = Fault::new("KEY_TAKEN", format!("record `{}` already comes from the source key `{by}`", mapped.key))
                    .observed(&by);
                self.refuse_key(pass, &row, &source_key, Some(mapped.key), &fault, now);
            }
            Decision::Send(next) => self.send(pass, &row, &candidate, &mapped, next),
        }
    }

    fn send(&mut self, pass: &mut Pass, row: &Row, candidate: &Candidate<'_>, mapped: &Mapped, mut next: Next) {
        let now = candidate.now;
        let version = mapped.stamp.map_or_else(|| pass.name.clone(), |stamp| stamp.to_string());
        // An echo changes nothing, so it moves no record, closes no letter and brings nothing back.
        if mapped.is_echo && next.leaves.is_none() && next.closes.is_none() && !next.comes_back {
            self.remember(candidate, mapped, next.sequence, &pass.name);
            return self.count(pass, "echo");
        }
        let shown = mapped.version.as_deref().unwrap_or(&version);
        let meta = ChangeMeta {
            operation: if pass.is_first { Operation::Snapshot } else { Operation::Upsert },
            // What the source dates ahead of our clock happened no later than now: a deadline counts from here.
            occurred_at: mapped.stamp.unwrap_or(if pass.is_first { now } else { pass.changed_at }).min(now),
            author: mapped.author.clone(),
            approval: mapped.approval.clone(),
            ..self.meta(pass, candidate.source_key, shown, now, &next)
        };
        let change = Change { meta, data: Some(mapped.data.clone()) };
        let Some(outgoing) = self.encode(pass.stream, candidate.record_key, &change) else { return };
        let size = outgoing.value.as_ref().map_or(0, Vec::len);
        if size > LARGEST_CHANGE {
            let fault = Fault::new(
                "TOO_LARGE",
                format!("the record has {} KiB, a record may have {} KiB", size.div_ceil(1024), LARGEST_CHANGE / 1024),
            )
            .observed(format!("{size} bytes"));
            return self.refuse_key(pass, row, candidate.source_key, Some(mapped.key.clone()), &fault, now);
        }
        if let Some(old) = next.leaves.take() {
            let leaving = Next { sequence: next.sequence, leaves: None, closes: None, comes_back: false };
            let meta = self.meta(pass, candidate.source_key, shown, now, &leaving);
            let meta = ChangeMeta { operation: Operation::Delete, occurred_at: change.meta.occurred_at, ..meta };
            self.push_change(pass, &old, Change { meta, data: None });
        }
        self.publish(pass, &mapped.key, change, outgoing);
        self.remember(candidate, mapped, next.sequence, &pass.name);
        self.spare(pass, row);
        self.count(pass, "ok");
    }

    /// A stamp ahead of our clock is remembered as now: the next one is compared with it, and nobody waits until then.
    fn remember(&mut self, candidate: &Candidate<'_>, mapped: &Mapped, sequence: i64, name: &str) {
        let version = mapped.stamp.map_or_else(|| name.to_owned(), |stamp| stamp.min(candidate.now).to_string());
        for entry in self.memory.remember(candidate, sequence, &version) {
            self.enter(entry);
        }
    }

    fn take_broken(&mut self, pass: &mut Pass, broken: &Broken, now: Timestamp) {
        match self.source_key(pass.stream, &broken.supposed) {
            Some(source_key) => {
                // A row of the wrong width may show another row's key: good enough for a letter, not for a delete.
                pass.is_complete &= broken.fault.code == "ENCODING";
                pass.seen.insert(source_key.clone());
                let refused = Refused {
                    source_key: &source_key,
                    record_key: None,
                    fault: &broken.fault,
                    raw: &broken.raw,
                    line: broken.line,
                };
                self.refuse(pass, &refused, now);
            }
            None => self.refuse_unnamed(pass, &broken.raw, broken.line, &broken.fault, now),
        }
    }

    fn refuse_key(
        &mut self,
        pass: &mut Pass,
        row: &Row,
        source_key: &str,
        record_key: Option<RecordKey>,
        fault: &Fault,
        now: Timestamp,
    ) {
        self.refuse(pass, &Refused { source_key, record_key, fault, raw: &row.raw, line: row.line }, now);
    }

    /// The key belongs to another row, which is good: the letter must not stand in its way.
    fn refuse_row_only(&mut self, pass: &mut Pass, row: &Row, fault: &Fault, now: Timestamp) {
        let notice = row_notice(pass, &row.raw);
        self.refuse(pass, &Refused { source_key: &notice, record_key: None, fault, raw: &row.raw, line: row.line }, now);
    }

    fn refuse_unnamed(&mut self, pass: &mut Pass, raw: &[u8], line: u64, fault: &Fault, now: Timestamp) {
        self.note(pass, raw);
        let notice = row_notice(pass, raw);
        self.refuse(pass, &Refused { source_key: &notice, record_key: None, fault, raw, line }, now);
    }

    fn note(&self, pass: &mut Pass, raw: &[u8]) {
        pass.is_complete = false;
        pass.seen.insert(row_notice(pass, raw));
    }

    fn refuse(&mut self, pass: &mut Pass, refused: &Refused<'_>, now: Timestamp) {
        pass.seen.insert(refused.source_key.to_owned());
        let domain = self.domain(pass.stream);
        let last = self.memory.sent(pass.stream, refused.source_key);
        let failed = Failed {
            domain,
            source_key: refused.source_key.trim_start_matches(NOTICE),
            record_key: refused.record_key.clone().or_else(|| last.and_then(|last| last.record_key.clone())),
            after: last.map_or(0, |last| last.sequence),
            replaces: self.memory.letter(pass.stream, refused.source_key),
            fault: refused.fault,
            raw: refused.raw,
            place: self.place(pass, refused.line),
            now,
        };
        let id = self.sender.id(&failed);
        if failed.replaces.as_ref() == Some(&id) && !pass.is_replay {
            return self.count(pass, "duplicate");
        }
        let letter = self.sender.letter(failed);
        let key = format!("{domain}/{}", refused.source_key.trim_start_matches(NOTICE));
        self.batch.tally.letters.push((domain.name(), letter.class.name(), letter.code.clone()));
        let outgoing = match self.writer.encode(&letter) {
            Ok(value) => Outgoing {
                topic: self.topics.dlq(&self.source.name),
                slot: Slot::of(&key, self.landscape.kafka.slots),
                key,
                value: Some(value),
                headers: deadletter::headers(&letter),
            },
            // Our own schemas always encode our own types; were it otherwise, the row would be met again at the next pass.
            Err(error) => return tracing::error!(%error, letter = %id, "encoding a letter"),
        };
        self.push(outgoing);
        let entry = self.memory.refuse(pass.stream, refused.source_key, &id);
        self.enter(entry);
        self.count(pass, "dead_lettered");
    }

    fn place(&self, pass: &Pass, line: u64) -> BTreeMap<String, String> {
        let mut place = BTreeMap::from([("stream".to_owned(), self.stream(pass.stream).name.clone())]);
        if matches!(self.stream(pass.stream).input, Input::Files { .. }) {
            place.insert("file".to_owned(), pass.name.clone());
        }
        if let Some(columns) = &pass.columns {
            place.insert("columns".to_owned(), columns.clone());
        }
        if line > 0 {
            place.insert("line".to_owned(), line.to_string());
        }
        place
    }

    fn meta(&self, pass: &Pass, source_key: &str, version: &str, now: Timestamp, next: &Next) -> ChangeMeta {
        let change_id = ChangeId(Uuid::now_v7());
        ChangeMeta {
            change_id,
            source: self.source.name.clone(),
            source_entity: self.stream(pass.stream).name.clone(),
            source_key: source_key.to_owned(),
            source_version: version.to_owned(),
            source_epoch: self.source.epoch,
            source_sequence: next.sequence,
            operation: Operation::Upsert,
            occurred_at: pass.changed_at.min(now),
            captured_at: now,
            author: None,
            approval: None,
            correlation_id: change_id,
            causation_id: next.closes.as_ref().map(|letter| letter.0.clone()),
            origin: Vec::new(),
        }
    }

    fn may_defer(&self, pass: &Pass) -> bool {
        !pass.is_final && pass.deferred.len() < MOST_DEFERRED && self.stream(pass.stream).content == Content::Full
    }

    fn domain(&self, stream: usize) -> Domain {
        self.stream(stream).domain
    }

    fn push_change(&mut self, pass: &Pass, key: &RecordKey, change: Change) {
        if let Some(outgoing) = self.encode(pass.stream, key, &change) {
            self.publish(pass, key, change, outgoing);
        }
    }

    fn publish(&mut self, pass: &Pass, key: &RecordKey, change: Change, outgoing: Outgoing) {
        self.batch.tally.captured.push((self.domain(pass.stream).name(), change.meta.captured_at));
        self.trace(&change.meta, self.domain(pass.stream), &outgoing);
        if change.meta.causation_id.is_none() {
            self.uncaused.push_back((self.batch.records.len(), pass.stream, key.clone(), change));
            if self.uncaused.len() > MOST_UNCAUSED {
                self.uncaused.pop_front();
            }
        }
        self.push(outgoing);
    }

    fn encode(&self, stream: usize, key: &RecordKey, change: &Change) -> Option<Outgoing> {
        let domain = self.domain(stream);
        match self.writer.encode_change(domain, change) {
            Ok(value) => Some(Outgoing {
                topic: self.topics.change(&self.source.name, domain),
                slot: key.slot(domain, self.landscape.kafka.slots),
                key: key.to_string(),
                value: Some(value),
                headers: avro::headers::change(change, domain, key, self.created(&change.meta)),
            }),
            Err(error) => {
                tracing::error!(%error, %domain, "encoding a change");
                None
            }
        }
    }

    fn push(&mut self, outgoing: Outgoing) {
        self.batch.bytes += outgoing.value.as_ref().map_or(0, Vec::len);
        self.batch.records.push(outgoing);
    }

    fn enter(&mut self, (key, cursor): Entry) {
        self.batch.cursor.insert(key, cursor);
    }

    fn count(&mut self, pass: &Pass, outcome: &'static str) {
        *self.batch.tally.outcomes.entry((self.domain(pass.stream).name(), outcome)).or_default() += 1;
    }
}

struct Refused<'a> {
    source_key: &'a str,
    record_key: Option<RecordKey>,
    fault: &'a Fault,
    raw: &'a [u8],
    line: u64,
}

fn row_notice(pass: &Pass, raw: &[u8]) -> String {
    format!("{NOTICE}row:{}:{}", pass.name, fingerprint(raw))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod driver;
