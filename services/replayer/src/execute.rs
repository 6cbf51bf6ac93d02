//! The processor: records in, outcomes out, in the order of the inputs; everything else is behind it, by name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use avro::{DecodeError, Reader, TopicKind};
use kafka::{Fatal, Followed, Processor, Record};
use model::{LetterId, Outcome, Outgoing, Plan, SkipReason, Slot, Timestamp, Topical, Transient};
use registry::Registry;
use service::{Health, Span, Traces};
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    archive::Archive,
    book::Book,
    config::{Config, NAME},
    desk::{Desk, OWN},
    judge::Preview,
    knowledge::{Fact, Knowledge},
    running::Pace,
    sweep::Sweep,
};

/// Followed records taken in per turn of the loop at most, so that the loop keeps turning while there are millions.
const FACTS_PER_TURN: usize = 20_000;

/// The name under which `/readyz` shows that the followed topics are still being read.
const VIEW: &str = "golden and ledgers";

pub(crate) struct Replayer {
    pub(crate) config: Config,
    pub(crate) desk: Desk,
    pub(crate) reader: Arc<Reader>,
    pub(crate) registry: Registry,
    pub(crate) runtime: Handle,
    pub(crate) archive: Archive,
    pub(crate) book: Book,
    pub(crate) knowledge: Knowledge,
    pub(crate) pace: Pace,
    pub(crate) sweep: Sweep,
    /// Letters that a running plan met and did not send, so that its turns do not judge them for ever.
    pub(crate) passed_over: HashMap<String, HashSet<LetterId>>,
    /// Judged before the transaction, by command id: judging reads from the log, and an open transaction should not wait for that.
    pub(crate) previews: HashMap<String, Preview>,
    /// Fresh golden records that this transaction has looked at.
    pub(crate) looked: Vec<(Topical, i64)>,
    /// Counted when the transaction is durable.
    pub(crate) counts: Vec<Count>,
    pub(crate) traces: Traces,
    /// Of what this transaction sends again.
    pub(crate) spans: Vec<Span>,
    followed: Views,
    /// Records whose outcome no broker takes: topic, partition, offset.
    too_large: HashSet<(Arc<str>, i32, i64)>,
    /// Followed, and not taken in yet: the first one may wait for its schema.
    taken: VecDeque<Followed>,
    is_restored: bool,
    health: Health,
}

/// The followed topics, in the order in which they are read at start. The ledgers come last: which of their entries matter depends
/// on the letters and on the deleted records.
pub(crate) struct Views {
    pub(crate) golden: mpsc::Receiver<Followed>,
    pub(crate) ledgers: mpsc::Receiver<Followed>,
}

/// What may happen here, at zero, so that its first time is an increase.
pub(crate) fn zeros<'a>(destinations: impl Iterator<Item = &'a String>) {
    let places = ["capture", "validate"].map(|stage| (stage, "")).into_iter();
    for (stage, destination) in places.chain(destinations.map(|name| ("deliver", name.as_str()))) {
        for how in ["accepted", "superseded", "discarded"] {
            telemetry::DEAD_LETTERS_CLOSED.with_label_values(&[stage, destination, how]);
        }
        for outcome in ["sent", "accepted", "refused"] {
            telemetry::REPLAY_RECORDS.with_label_values(&[destination, outcome]);
        }
    }
}

/// The topic is one for all sinks; the key is what it is compacted by, and what the tracker shows it under.
fn is_under_its_name(status: &model::DestinationStatus, key: &str, record: &Record) -> bool {
    let named = &status.destination;
    if named != key {
        tracing::warn!(key, named, topic = %record.topic, offset = record.offset, "a status names another system than its key: passed over");
    }
    named == key
}

/// A metric that moves with the transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// The destination is empty where the letter is of another stage.
    Closed {
        stage: &'static str,
        destination: String,
        how: &'static str,
    },
    Replayed {
        destination: String,
        outcome: &'static str,
    },
}

impl Replayer {
    #[expect(clippy::too_many_arguments, reason = "the parts are wired once, in app.rs, each by name")]
    pub(crate) fn new(
        config: Config,
        writer: avro::Writer,
        reader: Arc<Reader>,
        registry: Registry,
        runtime: Handle,
        archive: Archive,
        followed: Views,
        health: Health,
    ) -> Self {
        let desk = Desk::new(config.topics.clone(), config.slots(), writer);
        health.not_ready(VIEW, "reading up to where they were at the start");
        Self {
            config,
            desk,
            reader,
            registry,
            runtime,
            archive,
            book: Book::default(),
            knowledge: Knowledge::default(),
            pace: Pace::default(),
            sweep: Sweep::default(),
            passed_over: HashMap::new(),
            previews: HashMap::new(),
            looked: Vec::new(),
            counts: Vec::new(),
            traces: Traces::default(),
            spans: Vec::new(),
            followed,
            too_large: HashSet::new(),
            taken: VecDeque::new(),
            is_restored: false,
            health,
        }
    }

    /// Takes in what the followed topics said since the last turn. Not before the letters are known: only what concerns them is kept.
    /// Schemas of all that was taken are asked for at once.
    fn follow(&mut self) -> Result<(), Transient> {
        let mut left = FACTS_PER_TURN;
        while left > 0 {
            while self.taken.len() < left
                && let Some(event) = self.next_followed()
            {
                self.taken.push_back(event);
            }
            if self.taken.is_empty() {
                return Ok(());
            }
            left = left.saturating_sub(self.taken.len());
            self.take_in()?;
        }
        Ok(())
    }

    fn take_in(&mut self) -> Result<(), Transient> {
        let open: BTreeSet<i32> = self.taken.iter().filter_map(|event| self.unanswered(event)).collect();
        if !open.is_empty() {
            // Those that were answered go on, up to the first that was not.
            let asked = self.runtime.block_on(self.registry.teach_all(&self.reader, open));
            asked.unwrap_or_else(|error| tracing::debug!(%error, "following waits"));
        }
        while let Some(event) = self.taken.pop_front() {
            let fact = match &event {
                Followed::Record(record) => self.fact(record),
                Followed::CaughtUp if self.knowledge.is_golden_caught_up() => {
                    self.health.ready(VIEW);
                    Ok(Some(Fact::CaughtUp))
                }
                Followed::CaughtUp => Ok(Some(Fact::GoldenCaughtUp)),
            };
            match fact {
                Ok(Some(fact)) => self.knowledge.learn(fact, &self.book),
                Ok(None) => {}
                Err(transient) => {
                    self.taken.push_front(event);
                    return Err(transient);
                }
            }
        }
        Ok(())
    }

    fn unanswered(&self, event: &Followed) -> Option<i32> {
        let Followed::Record(record) = event else { return None };
        let value = record.value.as_deref()?;
        avro::schema_id(value).ok().filter(|id| !self.reader.has_answer(*id))
    }

    fn next_followed(&mut self) -> Option<Followed> {
        if let Ok(followed) = self.followed.golden.try_recv() {
            return Some(followed);
        }
        if self.knowledge.is_golden_caught_up() { self.followed.ledgers.try_recv().ok() } else { None }
    }

    fn fact(&self, record: &Record) -> Result<Option<Fact>, Transient> {
        let (Some(kind), Some(key)) = (self.config.topics.kind(&record.topic), record.key_text()) else { return Ok(None) };
        let value = record.value.as_deref();
        Ok(match kind {
            TopicKind::Golden(domain) => {
                let Ok(key) = model::RecordKey::parse(domain, key) else { return Ok(None) };
                let place = Topical::new(domain, key);
                let Some(value) = value else { return Ok(Some(Fact::GoldenGone(place))) };
                self.decoded(record, |reader| reader.decode_golden_meta(domain, value))?.map(|(meta, has_data)| Fact::Golden {
                    place,
                    meta: Box::new(meta),
                    is_delete: !has_data,
                    partition: record.partition,
                    offset: record.offset,
                })
            }
            TopicKind::Ledger(destination) => {
                // The slot's lease has a key without `/`.
                let Ok(place) = Topical::parse(key) else { return Ok(None) };
                let Some(value) = value else { return Ok(Some(Fact::Ledger { destination, place, entry: None })) };
                self.decoded(record, |reader| reader.decode::<model::Ledger>(value))?.map(|ledger| Fact::Ledger {
                    destination,
                    place,
                    entry: ledger.entry.map(Box::new),
                })
            }
            TopicKind::Destination => match value {
                Some(value) => {
                    let status = self.decoded(record, |reader| reader.decode::<model::DestinationStatus>(value))?;
                    status
                        .filter(|status| is_under_its_name(status, key, record))
                        .map(|status| Fact::Destination(Box::new(status)))
                }
                None => None,
            },
            _ => None,
        })
    }

    /// Decodes, asking the registry where needed. None: unreadable, which its own stage has made a letter of; said once in the log.
    pub(crate) fn decoded<T>(
        &self,
        record: &Record,
        decode: impl Fn(&Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, Transient> {
        loop {
            match decode(&self.reader) {
                Ok(value) => return Ok(Some(value)),
                Err(DecodeError::NeedSchema(id)) => self.runtime.block_on(self.registry.teach(&self.reader, id))?,
                Err(DecodeError::Unreadable { code, message }) => {
                    let Record { topic, partition, offset, .. } = record;
                    tracing::warn!(%topic, partition, offset, code, %message, "record passed over");
                    return Ok(None);
                }
            }
        }
    }

    fn one(&mut self, record: &Record, now: Timestamp) -> Result<Outcome, Fatal> {
        if self.too_large.contains(&(Arc::clone(&record.topic), record.partition, record.offset)) {
            return Ok(Outcome::Skip(SkipReason::OutOfScope));
        }
        let Some(value) = record.value.as_deref() else { return Ok(Outcome::Skip(SkipReason::OutOfScope)) };
        let outgoing = match self.config.topics.kind(&record.topic) {
            Some(TopicKind::Command(stage)) if stage == NAME => match self.ready(record, |reader| reader.decode(value))? {
                Some(command) => self.command(&command, now)?,
                None => None,
            },
            Some(TopicKind::Dlq(system)) => match self.ready(record, |reader| reader.decode(value))? {
                // One from before letters were bounded becomes a state and perhaps a command: those are.
                Some(letter) => self.letter_of_author(&system, &deadletter::bounded(letter), record, now)?,
                None => None,
            },
            Some(TopicKind::Receipt(destination)) => match self.ready(record, |reader| reader.decode(value))? {
                Some(receipt) => self.receipt_of_author(&destination, &receipt, record, now)?,
                None => None,
            },
            _ => None,
        };
        Ok(match outgoing {
            Some(outgoing) => Outcome::Forward(outgoing),
            None => Outcome::Skip(SkipReason::OutOfScope),
        })
    }

    /// As [`Replayer::decoded`], inside a transaction: `prepare` has fetched every schema.
    fn ready<T>(&self, record: &Record, decode: impl Fn(&Reader) -> Result<T, DecodeError>) -> Result<Option<T>, Fatal> {
        self.decoded(record, decode).map_err(Fatal::new)
    }

    pub(crate) fn put_plan(&mut self, plan: Plan) -> Result<Outgoing, Fatal> {
        let outgoing = self.desk.plan(&plan)?;
        self.book.put_plan(plan);
        Ok(outgoing)
    }
}

impl Processor for Replayer {
    fn assigned(&mut self, slot: Slot) {
        if slot == OWN {
            self.book.clear();
            self.looked.clear();
            self.counts.clear();
            self.spans.clear();
            self.is_restored = false;
        }
    }

    fn restore(&mut self, _slot: Slot, record: Record) {
        // The replayer's own state: without it nothing may be decided, so a registry that is away is waited for here.
        while let Err(transient) = self.restore_one(&record) {
            tracing::warn!(error = %transient, "restoring waits");
            self.runtime.block_on(tokio::time::sleep(std::time::Duration::from_secs(1)));
        }
    }

    fn restored(&mut self, slot: Slot) {
        if slot == OWN {
            self.is_restored = true;
            self.tell_plans();
        }
    }

    fn revoked(&mut self, _slot: Slot) {}

    /// Its inputs belong together whatever their partition: all wait, or none.
    fn prepare(&mut self, batch: &[Record]) -> BTreeMap<Slot, Transient> {
        self.health.tick();
        match self.ready_for(batch) {
            Ok(()) => BTreeMap::new(),
            Err(cause) => batch.iter().map(|record| (record.slot(), cause.clone())).collect(),
        }
    }

    fn process(&mut self, batch: &[Record], now: Timestamp) -> Result<Vec<Outcome>, Fatal> {
        let outcomes = batch.iter().map(|record| self.one(record, now)).collect();
        self.previews.clear();
        outcomes
    }

    fn wake(&mut self, now: Timestamp) -> Result<Vec<(Slot, Vec<Outgoing>)>, Fatal> {
        self.health.tick();
        if !self.is_restored {
            return Ok(Vec::new());
        }
        if let Err(transient) = self.follow() {
            tracing::debug!(error = %transient, "following waits");
        }
        if !self.knowledge.is_caught_up() {
            return Ok(Vec::new());
        }
        let mut outgoing = self.golden_moved(now)?;
        outgoing.extend(self.run_plans(now)?);
        outgoing.extend(self.sweep(now)?);
        Ok(if outgoing.is_empty() { Vec::new() } else { vec![(OWN, outgoing)] })
    }

    fn committed(&mut self) {
        self.too_large.clear();
        self.book.committed();
        let looked = std::mem::take(&mut self.looked);
        self.knowledge.looked_at(&looked);
        for count in std::mem::take(&mut self.counts) {
            match count {
                Count::Closed { stage, destination, how } => {
                    telemetry::DEAD_LETTERS_CLOSED.with_label_values(&[stage, destination.as_str(), how]).inc();
                }
                Count::Replayed { destination, outcome } => {
                    telemetry::REPLAY_RECORDS.with_label_values(&[destination.as_str(), outcome]).inc();
                }
            }
        }
        for span in self.spans.drain(..) {
            self.traces.end(span);
        }
        self.tell_plans();
    }

    fn aborted(&mut self) {
        self.book.aborted();
        self.sweep.aborted();
        self.looked.clear();
        self.counts.clear();
        self.spans.clear();
    }

    /// Letters and commands are bounded where they are made, and so is what follows from them. Should one not be, it is passed over by name.
    fn unwritable(&mut self, outgoing: &Outgoing, cause: Option<&Record>) {
        let Some(Record { topic, partition, offset, .. }) = cause else { return };
        tracing::error!(%topic, partition, offset, to = outgoing.topic, size = outgoing.size(), "a record is passed over: what follows from it is too large");
        self.too_large.insert((Arc::clone(topic), *partition, *offset));
    }
}

impl Replayer {
    fn ready_for(&mut self, batch: &[Record]) -> Result<(), Transient> {
        let values = batch.iter().filter_map(|record| record.value.as_deref());
        self.runtime.block_on(self.registry.prepare(&self.reader, values))?;
        self.follow()?;
        if !self.knowledge.is_caught_up() {
            return Err(Transient { what: "kafka", detail: "golden records and ledgers are still being read".to_owned() });
        }
        self.preview(batch)
    }

    fn tell_plans(&self) {
        for (state, count) in self.book.plan_states() {
            telemetry::REPLAY_PLANS.with_label_values(&[state]).set(count);
        }
    }

    fn restore_one(&mut self, record: &Record) -> Result<(), Transient> {
        let (Some(kind), Some(key)) = (self.config.topics.kind(&record.topic), record.key_text()) else { return Ok(()) };
        match (kind, record.value.as_deref()) {
            (TopicKind::Deadletter, None) => self.book.restore_letter(LetterId(key.to_owned()), None),
            (TopicKind::Deadletter, Some(value)) => {
                if let Some(status) = self.decoded(record, |reader| reader.decode(value))? {
                    self.book.restore_letter(LetterId(key.to_owned()), Some(status));
                }
            }
            (TopicKind::Plan, None) => self.book.restore_plan(key.to_owned(), None),
            (TopicKind::Plan, Some(value)) => {
                if let Some(plan) = self.decoded(record, |reader| reader.decode(value))? {
                    self.book.restore_plan(key.to_owned(), Some(plan));
                }
            }
            (TopicKind::Audit, Some(value)) => {
                if let Some(entry) = self.decoded(record, |reader| reader.decode::<model::AuditEntry>(value))?
                    && entry.writer == NAME
                {
                    self.book.restore_head(entry.seq, entry.hash);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
