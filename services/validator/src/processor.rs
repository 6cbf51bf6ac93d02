//! The validator as the loop sees it: restore, prepare, process, wake, committed, aborted.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use crate::{
    hierarchy::Hierarchy,
    judge::{self, Batch, Incoming, Judged},
    letter::{self, Cause, Origin},
    overlay::{Current, Lookup, Overlay},
    questions::Questions,
    shared::{STAGE, Shared},
    state::State,
    steward,
};
use avro::{DecodeError, TopicKind};
use kafka::{Fatal, Record};
use model::{
    Domain, Held, LetterClass, Outcome, Outgoing, Reason, RecordKey, Rejection, SkipReason, Slot, Timestamp, Topical, Transient,
};
use policy::References as _;
use service::Span;
use telemetry::trace::TRACEPARENT;

/// Keys that one wake-up takes up: the rest comes with the next turn, so that a batch stays a batch.
const AT_ONCE: usize = 500;
const GAUGES_EVERY: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Topic, partition, offset.
type Coordinate = (Arc<str>, i32, i64);

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
    hierarchy: Hierarchy,
    /// Customers that the running batch looks at because something above them moved.
    looked_at: Vec<RecordKey>,
    /// Schemas that a slot's state needs and nobody has answered for: nothing is decided there before.
    needs: BTreeMap<Slot, BTreeSet<i32>>,
    /// Held records from the first one on whose schema is not known yet.
    unread: BTreeMap<Slot, Vec<Record>>,
    questions: Questions,
    /// Records whose outcome no broker takes: they become letters.
    too_large: HashSet<Coordinate>,
    /// And keys whose waiting changes do.
    too_large_held: HashSet<Topical>,
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
            hierarchy: Hierarchy::default(),
            looked_at: Vec::new(),
            needs: BTreeMap::new(),
            unread: BTreeMap::new(),
            questions: Questions::default(),
            too_large: HashSet::new(),
            too_large_held: HashSet::new(),
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
        for entry in &held.waiting {
            self.note_need(slot, Some(&entry.change));
        }
        self.state.set_held(slot, &key, held);
        true
    }

    /// A tombstone must not overtake the record that it ends: from the first unread one on, all wait.
    fn take_in_order(&mut self, slot: Slot, record: Record) {
        if self.unread.contains_key(&slot) || !self.take_held(slot, &record) {
            self.note_need(slot, record.value.as_deref());
            self.unread.entry(slot).or_default().push(record);
        }
    }

    fn note_need(&mut self, slot: Slot, value: Option<&[u8]>) {
        if let Some(id) = unanswered(&self.shared, value) {
            self.needs.entry(slot).or_default().insert(id);
        }
    }

    /// Held records of slots whose schemas are known by now. True: what they hold needs others.
    fn read_held(&mut self) -> bool {
        let ready: Vec<Slot> = self.unread.keys().copied().filter(|slot| !self.needs.contains_key(slot)).collect();
        for slot in &ready {
            for record in self.unread.remove(slot).unwrap_or_default() {
                self.take_in_order(*slot, record);
            }
        }
        ready.iter().any(|slot| self.needs.contains_key(slot))
    }

    /// Asks for what the slots' state and these records need, all at once. Answered are the slots that have to wait.
    fn learn(&mut self, wanted: &BTreeMap<Slot, BTreeSet<i32>>) -> BTreeMap<Slot, Transient> {
        loop {
            let ids: BTreeSet<i32> = self.needs.values().chain(wanted.values()).flatten().copied().collect();
            let cause = self.questions.ask(&self.shared, &ids);
            let reader = &self.shared.reader;
            self.needs.retain(|_, ids| {
                ids.retain(|id| !reader.has_answer(*id));
                !ids.is_empty()
            });
            if self.read_held() {
                continue;
            }
            let Some(cause) = cause else { return BTreeMap::new() };
            let open = |ids: &BTreeSet<i32>| ids.iter().any(|id| !self.shared.reader.has_answer(*id));
            let waiting = wanted.iter().filter(|(_, ids)| open(ids)).map(|(slot, _)| slot);
            return waiting.chain(self.needs.keys()).map(|slot| (*slot, cause.clone())).collect();
        }
    }

    fn is_ready(&self, slot: Slot) -> bool {
        !self.needs.contains_key(&slot) && !self.unread.contains_key(&slot)
    }

    /// What a batch needs beside the state: its own schemas, and again those of golden records that were denied before.
    fn wanted(&self, batch: &[Record]) -> BTreeMap<Slot, BTreeSet<i32>> {
        let mut wanted: BTreeMap<Slot, BTreeSet<i32>> = BTreeMap::new();
        let reader = &self.shared.reader;
        let unknown = |value: &[u8]| avro::schema_id(value).ok().filter(|id| !reader.knows(*id));
        for record in batch {
            let of_record = record.value.as_deref().and_then(unknown);
            let target = match self.shared.topics.kind(&record.topic) {
                Some(TopicKind::Change { domain, .. }) => {
                    record.key_text().and_then(|key| RecordKey::parse(domain, key).ok()).map(|key| Topical::new(domain, key))
                }
                _ => record.key_text().and_then(|key| Topical::parse(key).ok()),
            };
            let golden = target.and_then(|target| self.state.golden(record.slot(), target.domain, &target.key));
            let ids = of_record.into_iter().chain(golden.and_then(unknown));
            for id in ids {
                wanted.entry(record.slot()).or_default().insert(id);
            }
        }
        wanted
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

    fn outcome(&mut self, record: &Record, now: Timestamp) -> Result<Outcome, Fatal> {
        if !self.too_large.is_empty() && self.too_large.contains(&coordinate(record)) {
            return self.refuse_large(record, now);
        }
        match self.shared.topics.kind(&record.topic) {
            Some(TopicKind::Change { source, domain }) => self.change(&source, domain, record, now),
            Some(TopicKind::Command(stage)) if stage == STAGE => steward::command(&mut self.batch(now), record),
            Some(TopicKind::Receipt(destination)) => steward::receipt(&mut self.batch(now), &destination, record),
            _ => Ok(Outcome::Skip(SkipReason::OutOfScope)),
        }
    }

    fn change(&mut self, source: &str, domain: model::Domain, record: &Record, now: Timestamp) -> Result<Outcome, Fatal> {
        let origin = Origin::of(source, domain, record);
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
                // `prepare` asked for it, and asks again.
                return Ok(self.batch(now).wait(judge::unknown(id)));
            }
            Err(DecodeError::Unreadable { code, message }) => {
                return self.unreadable(record, &origin, Some(&key), code, message, now);
            }
        };
        if change.meta.source != source {
            let (claimed, topic) = (&change.meta.source, &record.topic);
            tracing::warn!(source, claimed, %topic, partition = record.partition, offset = record.offset,
                "a change names another source than its topic's");
            let why =
                format!("the change says it is of {claimed:?}, and lies where only {source} writes; nothing of it was applied");
            return self.unreadable(record, &origin, Some(&key), letter::code::SOURCE, why, now);
        }
        let traces = &self.shared.traces;
        let creation = traces.arrived(record.header(TRACEPARENT), || avro::headers::created(&change.meta, false));
        let span = traces.process(creation, &self.shared.read(record));
        let trace = span.as_ref().map_or(creation, Span::context);
        let incoming = Incoming { record: Topical::new(domain, key), change, origin, held_since: None, is_waived: false, trace };
        let mut batch = self.batch(now);
        let before = batch.overlay.held(batch.state, batch.shared, &incoming.record);
        let mut outgoing = Vec::new();
        let judged = batch.judge(&incoming, &mut outgoing)?;
        if let Judged::Waits(cause) = judged {
            return Ok(batch.wait(cause));
        }
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
            Judged::Waits(cause) => batch.wait(cause),
        })
    }

    /// What became of this record was larger than any broker takes, although everything is bounded: a fault of ours, and no reason to stop.
    fn refuse_large(&mut self, record: &Record, now: Timestamp) -> Result<Outcome, Fatal> {
        let kind = self.shared.topics.kind(&record.topic);
        let key = record.key_text();
        // Whose topic it is: a receipt's and a command's, too.
        let Some(source) = kind.as_ref().and_then(TopicKind::system) else { return Ok(Outcome::Skip(SkipReason::OutOfScope)) };
        let place = match &kind {
            Some(TopicKind::Change { domain, .. }) => Some((*domain, key.and_then(|key| RecordKey::parse(*domain, key).ok()))),
            _ => key.and_then(|key| Topical::parse(key).ok()).map(|place| (place.domain, Some(place.key))),
        };
        let Some((domain, key)) = place else { return Ok(Outcome::Skip(SkipReason::OutOfScope)) };
        let why = format!("what becomes of this record is larger than {} KiB", Outgoing::LARGEST / 1024);
        let cause = Cause::unreadable(LetterClass::Internal, letter::code::LARGE, why, now);
        self.batch(now).refuse_unread(record, &Origin::of(source, domain, record), key.as_ref(), cause)
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
        self.batch(now).refuse_unread(record, origin, key, cause)
    }

    /// Keys to look at again: what arrived, what is overdue.
    fn take_due(&mut self, now: Timestamp) {
        while let Ok(arrived) = self.arrivals.try_recv() {
            self.due.extend(self.state.waiting_for(&arrived.to_string()).cloned());
            if arrived.domain == Domain::Customer {
                let lookup = Lookup { overlay: &self.overlay, state: &self.state, shared: &self.shared };
                self.hierarchy.arrived(&arrived.key, || lookup.golden(Domain::Customer, &arrived.key));
            }
        }
        let slots = self.shared.slots();
        let is_ready = |record: &&Topical| self.needs.is_empty() && self.unread.is_empty() || self.is_ready(record.slot(slots));
        let overdue = self.state.overdue(now).filter(is_ready).take(AT_ONCE);
        let mut in_hand: Vec<Topical> = overdue.cloned().collect();
        let room = AT_ONCE - in_hand.len();
        let due: Vec<Topical> = self.due.iter().filter(is_ready).take(room).cloned().collect();
        for record in due {
            self.due.remove(&record);
            if !in_hand.contains(&record) {
                in_hand.push(record);
            }
        }
        self.in_hand = in_hand;
    }

    /// Decides the waiting changes of a key again: the main owner's first, because the others may wait for it.
    fn decide_again(&mut self, record: &Topical, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let owner = self.shared.landscape.domains.get(&record.domain).map(|policy| policy.owner.clone());
        let is_too_large = self.too_large_held.contains(record);
        let mut outgoing = Vec::new();
        let mut batch = self.batch(now);
        let before = batch.overlay.held(batch.state, batch.shared, record);
        let mut waiting = before.waiting.clone();
        waiting.sort_by_key(|entry| owner.as_ref() != Some(&entry.source));
        for entry in waiting.iter().filter(|entry| matches!(entry.reason, Reason::Record)) {
            if is_too_large {
                steward::give_up_large(&mut batch, record, entry, &mut outgoing)?;
            } else {
                // What needs a schema stays as it is; its turn comes again.
                steward::again(&mut batch, record, entry, false, &mut outgoing)?;
            }
        }
        batch.write_held(record, &before, &mut outgoing)?;
        Ok(outgoing)
    }

    /// Customers below one that moved, and those of a slot that was just taken over: whose top is another one gets a revision.
    fn follow_hierarchy(&mut self, now: Timestamp) -> Result<Vec<(Slot, Vec<Outgoing>)>, Fatal> {
        let slots = self.shared.slots();
        let slot_of = |key: &RecordKey| key.slot(Domain::Customer, slots);
        let is_ready = |slot: Slot| !self.needs.contains_key(&slot) && !self.unread.contains_key(&slot);
        let first: Vec<RecordKey> = self.hierarchy.take_unread(is_ready);
        for key in &first {
            let bytes = self.state.golden(slot_of(key), Domain::Customer, key);
            let golden = bytes.and_then(|bytes| self.shared.reader.decode_golden(Domain::Customer, bytes).ok());
            self.hierarchy.put(key, golden.as_ref());
        }
        let below: Vec<RecordKey> = first.into_iter().filter(|key| self.hierarchy.is_below(key)).collect();
        self.hierarchy.look_at(below);
        self.looked_at = self.hierarchy.take_due(AT_ONCE, |key| is_ready(slot_of(key)));
        let mut written = Vec::new();
        for key in self.looked_at.clone() {
            let record = Topical::new(Domain::Customer, key);
            let mut batch = self.batch(now);
            let Current::Known(golden) = batch.current(&record) else { continue };
            let lookup = Lookup { overlay: batch.overlay, state: batch.state, shared: batch.shared };
            let version = &batch.shared.landscape.policy_version;
            let Some(moved) = policy::below_new_top(&golden, &lookup, steward::own_id(&batch), version, now) else { continue };
            let cause = avro::headers::correlated(&golden.meta);
            let made = batch.golden(&record, moved, cause)?;
            let mut outgoing = Vec::new();
            batch.write_golden(&record, made, cause, &mut outgoing);
            written.push((record.slot(slots), outgoing));
        }
        Ok(written)
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
        self.unread.remove(&slot);
        self.needs.remove(&slot);
    }

    fn restore(&mut self, slot: Slot, record: Record) {
        self.note_need(slot, record.value.as_deref());
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
        self.hierarchy.restored(slot, self.state.keys(slot, Domain::Customer));
        // What they wait for may have arrived while nobody owned the slot.
        self.due.extend(self.state.all_held(slot).cloned());
    }

    fn revoked(&mut self, slot: Slot) {
        self.shared.pulse.rest(self.worker);
        self.show_waiting(None);
        self.state.forget(slot);
        self.unread.remove(&slot);
        self.needs.remove(&slot);
        let slots = self.shared.slots();
        self.due.retain(|record| record.slot(slots) != slot);
        self.hierarchy.forget(|key| key.slot(Domain::Customer, slots) == slot);
    }

    fn prepare(&mut self, batch: &[Record]) -> BTreeMap<Slot, Transient> {
        let wanted = self.wanted(batch);
        let mut waiting = if wanted.is_empty() && self.needs.is_empty() { BTreeMap::new() } else { self.learn(&wanted) };
        self.show_waiting(waiting.values().next());
        waiting.retain(|slot, _| batch.iter().any(|record| record.slot() == *slot));
        waiting
    }

    fn process(&mut self, batch: &[Record], now: Timestamp) -> Result<Vec<Outcome>, Fatal> {
        batch.iter().map(|record| self.outcome(record, now)).collect()
    }

    fn wake(&mut self, now: Timestamp) -> Result<Vec<(Slot, Vec<Outgoing>)>, Fatal> {
        self.shared.pulse.beat(self.worker);
        self.set_gauges(now);
        if !self.needs.is_empty() && now >= self.ask_again_at {
            let waiting = self.learn(&BTreeMap::new());
            self.show_waiting(waiting.values().next());
            self.ask_again_at = now.plus(ASK_AGAIN);
        }
        self.take_due(now);
        let mut woken = self.follow_hierarchy(now)?;
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
        self.too_large.clear();
        self.too_large_held.clear();
        let (changed, waiting) = self.overlay.fold(&mut self.state, &self.shared);
        self.looked_at.clear();
        for (record, golden) in changed {
            self.due.extend(self.state.waiting_for(&record.to_string()).cloned());
            if record.domain == Domain::Customer {
                self.hierarchy.put(&record.key, golden.as_deref());
                self.hierarchy.arrived(&record.key, || golden);
            }
        }
        // Once more: what a change waits for may have come between its decision and its commit.
        let lookup = Lookup { overlay: &self.overlay, state: &self.state, shared: &self.shared };
        let arrived = waiting.into_iter().filter(|record| {
            let held = self.state.held(record.slot(self.shared.slots()), record);
            held.is_some_and(|held| held.waiting.iter().any(|entry| steward::is_there(&lookup, entry)))
        });
        self.due.extend(arrived);
    }

    fn aborted(&mut self) {
        self.overlay.drop_all();
        self.due.extend(self.in_hand.drain(..));
        self.hierarchy.look_at(self.looked_at.drain(..));
    }

    fn unwritable(&mut self, outgoing: &Outgoing, cause: Option<&Record>) {
        match (cause, self.shared.topics.kind(&outgoing.topic)) {
            (Some(record), _) => _ = self.too_large.insert(coordinate(record)),
            (None, Some(TopicKind::Golden(domain))) => {
                self.too_large_held.extend(RecordKey::parse(domain, &outgoing.key).map(|key| Topical::new(domain, key)));
            }
            (None, _) => self.too_large_held.extend(Topical::parse(&outgoing.key)),
        }
    }
}

fn coordinate(record: &Record) -> Coordinate {
    (Arc::clone(&record.topic), record.partition, record.offset)
}

/// The schema of a value, while it is neither known nor known to be none.
fn unanswered(shared: &Shared, value: Option<&[u8]>) -> Option<i32> {
    avro::schema_id(value?).ok().filter(|id| !shared.reader.has_answer(*id))
}
