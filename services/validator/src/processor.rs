//! The validator as the loop sees it: restore, prepare, process, wake, committed, aborted.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use avro::{DecodeError, TopicKind};
use kafka::{Fatal, Record};
use model::{
    Held, LetterClass, Outcome, Outgoing, Reason, RecordKey, Rejection, SkipReason, Slot, Timestamp, Topical, Transient,
};
use service::Span;
use telemetry::trace::TRACEPARENT;
use tokio::runtime::Handle;

use crate::{
    judge::{Batch, Incoming, Judged},
    letter::{self, Cause, Origin},
    overlay::Overlay,
    shared::{STAGE, Shared},
    state::State,
    steward,
};

/// Keys that one wake-up takes up: the rest comes with the next turn, so that a batch stays a batch.
const AT_ONCE: usize = 500;
const GAUGES_EVERY: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// One worker's processor.
pub(crate) struct Validator {
    shared: Arc<Shared>,
    worker: usize,
    state: State,
    overlay: Overlay,
    /// Golden records of other slots that arrived in the view.
    arrivals: Receiver<Topical>,
    /// Keys whose waiting changes are to be decided again.
    due: BTreeSet<Topical>,
    /// Those that the running batch took up.
    in_hand: Vec<Topical>,
    /// Held records from the first one on whose schema is not known yet: nothing is decided before they are in.
    unread: Vec<(Slot, Record)>,
    gauges_at: Timestamp,
    ask_again_at: Timestamp,
    /// Shown on `/readyz`.
    is_waiting: bool,
}

impl Validator {
    pub(crate) fn new(shared: Arc<Shared>, worker: usize) -> Self {
        let arrivals = shared.view.listen();
        Self {
            shared,
            worker,
            state: State::default(),
            overlay: Overlay::default(),
            arrivals,
            due: BTreeSet::new(),
            in_hand: Vec::new(),
            unread: Vec::new(),
            gauges_at: Timestamp::default(),
            ask_again_at: Timestamp::default(),
            is_waiting: false,
        }
    }

    fn batch(&mut self, now: Timestamp) -> Batch<'_> {
        Batch { shared: &self.shared, state: &self.state, overlay: &mut self.overlay, now }
    }

    /// A held record of the state; false: its schema must be asked for first.
    fn take_held(&mut self, slot: Slot, record: &Record) -> bool {
        let Some(key) = record.key_text().and_then(|key| Topical::parse(key).ok()) else { return true };
        let held = match record.value.as_deref().map(|value| self.shared.reader.decode::<Held>(value)) {
            None => Held::default(),
            Some(Ok(held)) => held,
            Some(Err(DecodeError::NeedSchema(_))) => return false,
            Some(Err(DecodeError::Unreadable { code, message })) => {
                // Ours, so this is a bug or a foreign writer. Keeping silent would lose changes; the source still has them.
                tracing::error!(code, message, key = %key, "a held record cannot be read; its changes wait no more");
                Held::default()
            }
        };
        self.state.set_held(slot, &key, held);
        true
    }

    /// A tombstone must not overtake the record that it ends: from the first unread one on, all wait.
    fn take_in_order(&mut self, slot: Slot, record: Record) {
        if !self.unread.is_empty() || !self.take_held(slot, &record) {
            self.unread.push((slot, record));
        }
    }

    /// Asks the registry for what the state or the batch needs.
    fn learn(&mut self, values: &[&[u8]]) -> Result<(), Transient> {
        let reader = Arc::clone(&self.shared.reader);
        let is_known = |value: &[u8]| avro::schema_id(value).is_ok_and(|id| reader.knows(id)) || avro::schema_id(value).is_err();
        let mut unknown: Vec<&[u8]> = values.iter().copied().filter(|value| !is_known(value)).collect();
        let unread: Vec<Vec<u8>> = self.unread.iter().filter_map(|(_, record)| record.value.clone()).collect();
        unknown.extend(unread.iter().map(Vec::as_slice).filter(|value| !is_known(value)));
        if !unknown.is_empty() {
            Handle::current()
                .block_on(self.shared.registry.prepare(&self.shared.reader, unknown))
                .map_err(|error| Transient { what: "registry", detail: error.to_string() })?;
        }
        let mut unread = std::mem::take(&mut self.unread).into_iter();
        while let Some((slot, record)) = unread.next() {
            if !self.take_held(slot, &record) {
                self.unread.push((slot, record));
                self.unread.extend(unread.by_ref());
            }
        }
        Ok(())
    }

    /// A worker that waits says so on `/readyz`.
    fn show_waiting(&mut self, cause: Option<&Transient>) {
        let part = format!("worker {}", self.worker);
        match cause {
            Some(cause) => {
                self.shared.health.not_ready(&part, format!("waits: {cause}"));
                self.is_waiting = true;
            }
            None if std::mem::take(&mut self.is_waiting) => self.shared.health.ready(&part),
            None => {}
        }
    }

    /// `learn` outside of a batch, where nobody backs off: a registry that is down is asked every two seconds.
    fn learns(&mut self, values: &[&[u8]], now: Timestamp) -> bool {
        if now < self.ask_again_at {
            return false;
        }
        match self.learn(values) {
            Ok(()) => true,
            Err(cause) => {
                tracing::warn!(%cause, "what is held waits for the registry");
                self.ask_again_at = now.plus(ASK_AGAIN);
                false
            }
        }
    }

    /// Held changes, and the golden records beside them, may have been written under schemas that this process has not met yet.
    fn can_read_in_hand(&mut self, now: Timestamp) -> bool {
        let slots = self.shared.slots();
        let mut values: Vec<Vec<u8>> = Vec::new();
        for record in &self.in_hand {
            let slot = record.slot(slots);
            let held =
                self.state.held(slot, record).into_iter().flat_map(|held| &held.waiting).map(|entry| entry.change.as_slice());
            let golden = self.state.golden(slot, record.domain, &record.key);
            let unknown = held.chain(golden).filter(|value| avro::schema_id(value).is_ok_and(|id| !self.shared.reader.knows(id)));
            values.extend(unknown.map(<[u8]>::to_vec));
        }
        values.is_empty() || self.learns(&values.iter().map(Vec::as_slice).collect::<Vec<_>>(), now)
    }

    fn outcome(&mut self, record: &Record, now: Timestamp) -> Result<Outcome, Fatal> {
        match self.shared.topics.kind(&record.topic) {
            Some(TopicKind::Change(domain)) => self.change(domain, record, now),
            Some(TopicKind::Command(stage)) if stage == STAGE => steward::command(&mut self.batch(now), record),
            Some(TopicKind::Receipt(destination)) => steward::receipt(&mut self.batch(now), &destination, record),
            _ => Ok(Outcome::Skip(SkipReason::OutOfScope)),
        }
    }

    fn change(&mut self, domain: model::Domain, record: &Record, now: Timestamp) -> Result<Outcome, Fatal> {
        let origin = Origin::of(domain, record);
        let key = match self.key(domain, record) {
            Ok(key) => key,
            Err(why) => return self.unreadable(record, &origin, None, letter::code::KEY, why, now),
        };
        let Some(value) = record.value.as_deref() else {
            let why = "a change without a value; a delete is a record whose data is null";
            return self.unreadable(record, &origin, Some(&key), letter::code::EMPTY, why.to_owned(), now);
        };
        let change = match self.shared.reader.decode_change(domain, value) {
            Ok(change) => change,
            Err(DecodeError::NeedSchema(id)) => {
                // `prepare` asked for it; it is asked again with the whole batch.
                let cause = Transient { what: "registry", detail: format!("schema {id} is not known yet") };
                return Ok(Outcome::Pause { until: now.plus(Duration::from_secs(1)), cause });
            }
            Err(DecodeError::Unreadable { code, message }) => {
                return self.unreadable(record, &origin, Some(&key), code, message, now);
            }
        };
        let traces = &self.shared.traces;
        let creation = traces.arrived(record.header(TRACEPARENT), || avro::headers::created(&change.meta, false));
        let span = traces.process(creation, &self.shared.read(record));
        let trace = span.as_ref().map_or(creation, Span::context);
        let incoming = Incoming { record: Topical::new(domain, key), change, origin, held_since: None, is_waived: false, trace };
        let mut batch = self.batch(now);
        let before = batch.overlay.held(batch.state, batch.shared, &incoming.record);
        let mut outgoing = Vec::new();
        let judged = batch.judge(&incoming, &mut outgoing)?;
        batch.write_held(&incoming.record, &before, &mut outgoing)?;
        if let Some(span) = span {
            batch.overlay.worked(span, domain, judged.name(), judged.code());
        }
        Ok(match judged {
            Judged::Accepted => Outcome::Forward(outgoing),
            Judged::Duplicate => Outcome::Skip(SkipReason::Duplicate),
            Judged::Superseded => Outcome::Skip(SkipReason::Superseded),
            // A stale change leaves its finding.
            Judged::Stale => Outcome::Forward(outgoing),
            Judged::Held(reason) => Outcome::Hold(reason, outgoing),
            Judged::Refused(letter) => Outcome::Reject(Box::new(Rejection { letter: *letter, also: outgoing })),
        })
    }

    /// The record's key, in the slot that it belongs to.
    fn key(&self, domain: model::Domain, record: &Record) -> Result<RecordKey, String> {
        let Some(bytes) = &record.key else { return Err("the record has no key".to_owned()) };
        let text = std::str::from_utf8(bytes).map_err(|_| "the record's key is not UTF-8".to_owned())?;
        let key = RecordKey::parse(domain, text).map_err(|error| error.to_string())?;
        let slot = key.slot(domain, self.shared.slots());
        if slot != record.slot() {
            return Err(format!("key {key} belongs to partition {slot}, the record lies in {}", record.partition));
        }
        Ok(key)
    }

    fn unreadable(
        &mut self,
        record: &Record,
        origin: &Origin<'_>,
        key: Option<&RecordKey>,
        code: &str,
        message: String,
        now: Timestamp,
    ) -> Result<Outcome, Fatal> {
        let cause = Cause::unreadable(LetterClass::Schema, code, message, now);
        let letter = letter::letter(&self.shared, origin, key, None, cause, now);
        self.overlay.tally.letter(origin.domain, letter.class, &letter.code);
        self.overlay.tally.record(origin.domain, "dead_lettered");
        let raw = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let also = vec![letter::outgoing(&self.shared, &letter, origin, &raw)?];
        Ok(Outcome::Reject(Box::new(Rejection { letter, also })))
    }

    /// Keys to look at again: what arrived, what is overdue.
    fn take_due(&mut self, now: Timestamp) {
        while let Ok(arrived) = self.arrivals.try_recv() {
            self.due.extend(self.state.waiting_for(&arrived.to_string()).cloned());
        }
        self.in_hand.clear();
        let overdue = self.state.overdue(now).take(AT_ONCE).cloned();
        self.in_hand.extend(overdue);
        while self.in_hand.len() < AT_ONCE
            && let Some(record) = self.due.pop_first()
        {
            if !self.in_hand.contains(&record) {
                self.in_hand.push(record);
            }
        }
    }

    /// Decides the waiting changes of a key again: the main owner's first, because the others may wait for it.
    fn decide_again(&mut self, record: &Topical, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let owner = self.shared.landscape.domains.get(&record.domain).map(|policy| policy.owner.clone());
        let mut outgoing = Vec::new();
        let mut batch = self.batch(now);
        let before = batch.overlay.held(batch.state, batch.shared, record);
        let mut waiting = before.waiting.clone();
        waiting.sort_by_key(|entry| owner.as_ref() != Some(&entry.source));
        for entry in waiting.iter().filter(|entry| matches!(entry.reason, Reason::Record)) {
            steward::again(&mut batch, record, entry, false, &mut outgoing)?;
        }
        batch.write_held(record, &before, &mut outgoing)?;
        Ok(outgoing)
    }

    fn set_gauges(&mut self, now: Timestamp) {
        if now.since(self.gauges_at) < GAUGES_EVERY {
            return;
        }
        self.gauges_at = now;
        let domains = self.shared.landscape.domains.keys().copied();
        self.shared.gauges.set(self.worker, self.state.waiting(), domains, now);
    }
}

#[cfg(test)]
impl Validator {
    pub(crate) fn waiting(&self) -> i64 {
        self.state.waiting().values().map(|(count, _)| count).sum()
    }
}

impl kafka::Processor for Validator {
    fn assigned(&mut self, slot: Slot) {
        // Restoring takes as long as it takes; it counts again from its first turn on.
        self.shared.pulse.rest(self.worker);
        self.state.begin(slot);
        self.unread.retain(|(unread, _)| *unread != slot);
    }

    fn restore(&mut self, slot: Slot, record: Record) {
        match self.shared.topics.kind(&record.topic) {
            Some(TopicKind::Golden(domain)) => {
                let Some(key) = record.key_text().and_then(|key| RecordKey::parse(domain, key).ok()) else { return };
                let value = record.value.map(Vec::into_boxed_slice);
                self.state.set_golden(slot, &Topical::new(domain, key), value);
            }
            Some(TopicKind::Held) => self.take_in_order(slot, record),
            _ => {}
        }
    }

    fn restored(&mut self, slot: Slot) {
        // What they wait for may have arrived while nobody owned the slot.
        self.due.extend(self.state.all_held(slot).cloned());
    }

    fn revoked(&mut self, slot: Slot) {
        self.shared.pulse.rest(self.worker);
        self.show_waiting(None);
        self.state.forget(slot);
        self.unread.retain(|(unread, _)| *unread != slot);
        let slots = self.shared.slots();
        self.due.retain(|record| record.slot(slots) != slot);
    }

    fn prepare(&mut self, batch: &[Record]) -> Result<(), Transient> {
        let mut values: Vec<Vec<u8>> = Vec::new();
        for record in batch {
            // Ids that are known are not copied: this is the common case.
            if let Some(value) = record.value.as_deref()
                && avro::schema_id(value).is_ok_and(|id| !self.shared.reader.knows(id))
            {
                values.push(value.to_vec());
            }
            if let Some(TopicKind::Change(domain)) = self.shared.topics.kind(&record.topic)
                && let Some(key) = record.key_text().and_then(|key| RecordKey::parse(domain, key).ok())
                && let Some(golden) = self.state.golden(record.slot(), domain, &key)
                && avro::schema_id(golden).is_ok_and(|id| !self.shared.reader.knows(id))
            {
                values.push(golden.to_vec());
            }
        }
        let learned = self.learn(&values.iter().map(Vec::as_slice).collect::<Vec<_>>());
        self.show_waiting(learned.as_ref().err());
        learned
    }

    fn process(&mut self, batch: &[Record], now: Timestamp) -> Result<Vec<Outcome>, Fatal> {
        batch.iter().map(|record| self.outcome(record, now)).collect()
    }

    fn wake(&mut self, now: Timestamp) -> Result<Vec<(Slot, Vec<Outgoing>)>, Fatal> {
        self.shared.pulse.beat(self.worker);
        self.set_gauges(now);
        if !self.unread.is_empty() && !self.learns(&[], now) {
            return Ok(Vec::new());
        }
        self.take_due(now);
        if !self.can_read_in_hand(now) {
            self.due.extend(self.in_hand.drain(..));
            return Ok(Vec::new());
        }
        let mut woken = Vec::new();
        for record in self.in_hand.clone() {
            let slot = record.slot(self.shared.slots());
            if self.state.owns(slot) {
                let outgoing = self.decide_again(&record, now)?;
                if !outgoing.is_empty() {
                    woken.push((slot, outgoing));
                }
            }
        }
        Ok(woken)
    }

    fn committed(&mut self) {
        self.in_hand.clear();
        let (changed, waiting) = self.overlay.fold(&mut self.state, &self.shared);
        for record in changed {
            self.due.extend(self.state.waiting_for(&record.to_string()).cloned());
        }
        // Once more: what a change waits for may have come between its decision and its commit.
        let lookup = crate::overlay::Lookup { overlay: &self.overlay, state: &self.state, shared: &self.shared };
        let arrived = waiting.into_iter().filter(|record| {
            let held = self.state.held(record.slot(self.shared.slots()), record);
            held.is_some_and(|held| held.waiting.iter().any(|entry| steward::is_there(&lookup, entry)))
        });
        self.due.extend(arrived);
    }

    fn aborted(&mut self) {
        self.overlay.drop_all();
        self.due.extend(self.in_hand.drain(..));
    }
}
