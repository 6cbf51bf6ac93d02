//! The exactly-once loop (kafka.md 6.3): GATHER, then OPEN, STEP, WAIT, OFFS, COMMIT in `transact.rs`.
//!
//! Invariant: the consumer is never polled while a transaction is open, so a revoke can only come between two of them.
//! Invariant: every transaction carries an offset of every slot it writes to (P26): the group's generation fences nothing else.
//! Invariant: a batch leaves memory only when it is durable, so nothing is ever sought back: after an abort it is processed again,
//! after a commit in doubt the part that the broker does not know as committed is.
//! Invariant: a slot that waits for something from outside waits alone; its records are kept apart, in their order.
//! Invariant: a record that is larger than any broker takes is never sent: its processor answers again, and the worker goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{Outcome, Outgoing, Slot, Timestamp, Transient};
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::Offset;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::config::{Role, settings};
use crate::context::Damper;
use crate::group::{Cure, Group, Member, Rebalanced, lock, slots, subscribe};
use crate::lookup::{Partition, committed, list, positions};
use crate::offsets::{Positions, commit_pending};
use crate::record::Copier;
use crate::restore::Restorer;
use crate::transact::{Ended, Transactional};
use crate::{Cause, Drained, Error, Processor, Record, WorkerConfig};

/// One poll without work: the latency of a wake-up, at most.
const IDLE_POLL: Duration = Duration::from_millis(25);
/// Offsets without an output are committed alone after this.
const IDLE_COMMIT: Duration = Duration::from_secs(1);
const LEAVE: Duration = Duration::from_secs(5);

/// How far the assigned slots are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is assigned, or nothing whole.
    Without,
    /// A commit is in doubt: what does the broker know? Asked before the ends (C26).
    Reread,
    /// Which partitions hold the state?
    Count,
    Restore,
    Ready,
}

/// Answers that were too large in a row before the worker pauses between them.
const PATIENCE: u32 = 3;

/// Why the partitions of all slots are paused although they are ready.
struct Rest {
    until: Instant,
    /// Grows with each attempt that did not get through.
    attempts: u32,
}

/// One slot's records, while it waits.
struct Waiting {
    records: Vec<Record>,
    until: Instant,
    attempts: u32,
    /// They are back in the batch; the partitions stay paused until they got through.
    is_trying: bool,
}

pub(crate) struct Worker<'a, P> {
    config: &'a WorkerConfig,
    processor: &'a mut P,
    stop: CancellationToken,
    runtime: Handle,
    consumer: Member,
    positions: Arc<Mutex<Positions>>,
    transactional: Transactional,
    restorer: Restorer,
    copier: Copier,
    cure: Cure,
    phase: Phase,
    /// Those that are whole.
    slots: BTreeSet<Slot>,
    batch: Vec<Record>,
    rest: Option<Rest>,
    waiting: BTreeMap<Slot, Waiting>,
    attempts: u32,
    /// Answers in a row that no broker would take.
    too_large: u32,
    last_record: Instant,
    trouble: Damper,
    drained: Drained,
}

impl<'a, P: Processor> Worker<'a, P> {
    pub(crate) fn new(
        config: &'a WorkerConfig,
        processor: &'a mut P,
        stop: CancellationToken,
        runtime: Handle,
    ) -> Result<Self, Error> {
        let positions: Arc<Mutex<Positions>> = Arc::default();
        let before_revoke = {
            let positions = Arc::clone(&positions);
            move |consumer: &Member| commit_pending(consumer, &mut lock(&positions))
        };
        let role = Role::Member {
            group: &config.group,
            instance: &config.instance,
            session_timeout: config.session_timeout,
            // An offset that retention overtook is a loss that somebody must hear of (C17).
            reset: "error",
            queued_kib: 4096,
        };
        let consumer: Member = settings(&config.client, &role)?
            .create_with_context(Group::new(&config.client, &config.group, &config.inputs, stop.clone(), before_revoke))
            .map_err(|source| Error::Settings {
                what: format!("creating a member of `{}`", config.group),
                source: Cause::new(source).into(),
            })?;
        let restorer = Restorer::new(&config.client, &config.group)?;
        let queue = config.batch.records.saturating_mul(4).max(1000);
        let mut transactional =
            Transactional::new(&config.client, &config.transactional_id, config.component, queue, runtime.clone(), &stop)?;
        transactional.alive.clone_from(&config.alive);
        tell_torn(config, &consumer, 0);
        Ok(Self {
            config,
            processor,
            stop,
            runtime,
            consumer,
            positions,
            transactional,
            restorer,
            copier: Copier::default(),
            cure: Cure::default(),
            phase: Phase::Without,
            slots: BTreeSet::new(),
            batch: Vec::new(),
            rest: None,
            waiting: BTreeMap::new(),
            attempts: 0,
            too_large: 0,
            last_record: Instant::now(),
            trouble: Damper::default(),
            drained: Drained::default(),
        })
    }

    /// Until `stop`, or until it cannot go on. Either way the processor owns nothing afterwards; what was done is added to `total`.
    pub(crate) fn work(mut self, total: &mut Drained) -> Result<(), Error> {
        let mut ended = subscribe(&self.consumer, &self.config.inputs);
        while ended.is_ok() && !self.stop.is_cancelled() {
            ended = self.turn();
        }
        // Only `stop` says this.
        if matches!(ended, Err(Error::Stopped { .. })) {
            ended = Ok(());
        }
        if ended.is_ok() {
            self.leave();
        }
        self.revoked();
        total.records += self.drained.records;
        total.transactions += self.drained.transactions;
        total.aborted += self.transactional.aborted;
        total.recycled += self.transactional.recycled;
        total.hurried += self.transactional.hurried;
        ended
    }

    fn turn(&mut self) -> Result<(), Error> {
        self.config.alive();
        self.gather()?;
        let assigned: Vec<Partition> = lock(&self.positions).partitions().cloned().collect();
        self.cure.apply(&self.consumer, &self.config.inputs, &assigned)?;
        match self.phase {
            Phase::Without => Ok(()),
            Phase::Reread => self.reread(),
            Phase::Count => self.count(),
            Phase::Restore => self.restore(),
            Phase::Ready if self.is_resting() => Ok(()),
            Phase::Ready => {
                self.step()?;
                self.commit_idle();
                Ok(())
            }
        }
    }

    /// Polls until drained or until the batch is full. Always polls at least once: that is what keeps the membership (C14).
    fn gather(&mut self) -> Result<(), Error> {
        let full_at = self.config.batch;
        let mut bytes: usize = self.batch.iter().map(Record::size).sum();
        let mut first: Option<Instant> = None;
        let mut wait = match self.phase {
            Phase::Ready | Phase::Without | Phase::Reread => IDLE_POLL,
            Phase::Count | Phase::Restore => Duration::ZERO,
        };
        loop {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let record = self.copier.copy(&message);
                    drop(message);
                    bytes += record.size();
                    self.take(record);
                }
                Some(Err(error)) => self.consumer.context().poll_error(error)?,
                None => {
                    self.rebalanced()?;
                    return Ok(());
                }
            }
            let since = *first.get_or_insert_with(Instant::now);
            let is_full = self.batch.len() >= full_at.records || bytes >= full_at.bytes;
            if is_full || since.elapsed() >= full_at.wait || self.stop.is_cancelled() {
                return self.rebalanced();
            }
            wait = full_at.wait.saturating_sub(since.elapsed()).min(Duration::from_millis(2));
        }
    }

    fn take(&mut self, record: Record) {
        let partition = (Arc::clone(&record.topic), record.partition);
        let is_ahead = lock(&self.positions).is_ahead(&partition, record.offset);
        if !is_ahead || !self.slots.contains(&record.slot()) {
            return;
        }
        self.consumer.context().take_up(&record.topic, record.timestamp);
        self.last_record = Instant::now();
        match self.waiting.get_mut(&record.slot()).filter(|waiting| !waiting.is_trying) {
            Some(waiting) => waiting.records.push(record),
            None => self.batch.push(record),
        }
    }

    fn rebalanced(&mut self) -> Result<(), Error> {
        loop {
            // Taken out first, so that the queue is not locked while a hook looks into it.
            let Some(event) = self.consumer.context().event() else { return Ok(()) };
            match event {
                Rebalanced::Assigned(starts) => self.assigned(starts),
                Rebalanced::Revoked => self.revoked(),
                Rebalanced::Failed(error) => return Err(error),
            }
        }
    }

    fn assigned(&mut self, starts: BTreeMap<Partition, i64>) {
        self.revoked();
        let found = slots(starts.keys(), &self.config.inputs, self.config.whole);
        tracing::info!(group = self.config.group, slots = found.whole.len(), torn = found.torn.len(), "assigned");
        tell_torn(self.config, &self.consumer, found.torn.len());
        *lock(&self.positions) = Positions::starting(starts);
        self.slots = found.whole;
        self.begin_restore();
    }

    fn begin_restore(&mut self) {
        for slot in &self.slots {
            self.processor.assigned(*slot);
        }
        self.phase = if self.slots.is_empty() { Phase::Without } else { Phase::Count };
    }

    fn revoked(&mut self) {
        for slot in std::mem::take(&mut self.slots) {
            self.processor.revoked(slot);
        }
        lock(&self.positions).clear();
        self.batch.clear();
        self.waiting.clear();
        self.restorer.want(Vec::new());
        self.rest = None;
        self.phase = Phase::Without;
    }

    /// After a commit in doubt: the committed offsets decide what of the batch is left to do.
    fn reread(&mut self) -> Result<(), Error> {
        let partitions: Vec<Partition> = lock(&self.positions).partitions().cloned().collect();
        let found = match committed(&self.consumer, &self.config.group, &partitions, &self.stop) {
            Ok(found) => found,
            Err(error) if error.is_transient() => {
                self.warn(&error, "waiting for the outcome of a transaction");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        lock(&self.positions).reread(found);
        // Their partitions are resumed with all others once the state is read again.
        for slot in std::mem::take(&mut self.waiting).into_values() {
            self.batch.extend(slot.records);
        }
        self.keep_what_is_ahead();
        self.begin_restore();
        Ok(())
    }

    /// Which state partitions the slots have; topics of one partition belong to slot 0.
    fn count(&mut self) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for topic in &self.config.state {
            match self.restorer.partition_count(topic) {
                Ok(count) => {
                    let topic: Arc<str> = topic.as_str().into();
                    wanted.extend(self.slots.iter().filter(|s| s.0 < count).map(|s| (Arc::clone(&topic), s.0)));
                }
                Err(error) if error.is_transient() => {
                    self.warn(&error, "waiting for the state topics");
                    self.pause_briefly();
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.restorer.want(wanted);
        self.phase = Phase::Restore;
        self.restore()
    }

    fn restore(&mut self) -> Result<(), Error> {
        let processor = &mut self.processor;
        let step = self.restorer.step(Duration::from_millis(50), &mut |record| {
            processor.restore(record.slot(), record);
        });
        if let Err(error) = step {
            self.warn(&error, "restoring state");
            self.pause_briefly();
            return Ok(());
        }
        if self.restorer.is_done() {
            for slot in &self.slots {
                self.processor.restored(*slot);
            }
            self.phase = Phase::Ready;
            self.rest = None;
            self.resume()?;
            tracing::info!(group = self.config.group, slots = self.slots.len(), "restored");
        }
        Ok(())
    }

    fn pause_briefly(&self) {
        // The caller's loop looks at `stop` itself.
        crate::lookup::wait(&self.runtime, &self.stop, Duration::from_millis(200));
    }

    fn warn(&self, error: &Error, what: &'static str) {
        if let Some(left_out) = self.trouble.speak() {
            tracing::warn!(error = error as &dyn std::error::Error, left_out, "{what}");
        }
    }

    /// One batch: what is due, then what came.
    fn step(&mut self) -> Result<(), Error> {
        let now = now();
        self.take_back();
        self.prepare()?;
        let mut answered = Answered::default();
        for (slot, records) in self.processor.wake(now).map_err(|source| Error::Processor { source })? {
            if !self.slots.contains(&slot) {
                return Err(Error::Broken(format!("woke slot {slot}, which is not owned")));
            }
            answered.add(slot, None, records);
        }
        let mut moved = BTreeMap::new();
        if !self.batch.is_empty() {
            // Slot by slot; within a slot in the order received.
            self.batch.sort_by_key(|record| record.partition);
            let outcomes = self.processor.process(&self.batch, now).map_err(|source| Error::Processor { source })?;
            if outcomes.len() != self.batch.len() {
                return Err(Error::Broken(format!("{} outcomes for {} records", outcomes.len(), self.batch.len())));
            }
            for (index, (record, outcome)) in self.batch.iter().zip(outcomes).enumerate() {
                let records = match outcome {
                    Outcome::Forward(records) | Outcome::Hold(_, records) => records,
                    Outcome::Skip(_) => Vec::new(),
                    Outcome::Reject(rejection) => rejection.also,
                    Outcome::Pause { until, cause } => {
                        let slot = record.slot();
                        self.processor.aborted();
                        return self.wait(slot, &cause, Some(until.since(now)));
                    }
                };
                answered.add(record.slot(), Some(index), records);
                moved.insert((Arc::clone(&record.topic), record.partition), record.offset + 1);
            }
        }
        if answered.outgoing.iter().any(|outgoing| !outgoing.fits()) {
            return self.hand_back(&answered);
        }
        if answered.outgoing.is_empty() {
            self.durable(&moved, false);
            return self.resume_after_rest();
        }
        self.transact(&answered.outgoing, &answered.written, &moved)
    }

    /// No broker takes what was answered: the processor learns of it and answers again, with something smaller.
    fn hand_back(&mut self, answered: &Answered) -> Result<(), Error> {
        self.processor.aborted();
        let mut last = String::new();
        for (outgoing, cause) in answered.outgoing.iter().zip(&answered.causes).filter(|(outgoing, _)| !outgoing.fits()) {
            let (topic, size) = (&outgoing.topic, outgoing.size());
            last = format!("a record of {size} bytes for `{topic}`, at most {} can be written", Outgoing::LARGEST);
            tracing::warn!(topic, key = model::clip(&outgoing.key, 512), size, "a record is too large to be written");
            self.processor.unwritable(outgoing, cause.map(|index| &self.batch[index]));
        }
        self.too_large += 1;
        if self.too_large < PATIENCE {
            return Ok(());
        }
        // It answers the same again and again: a fault of ours, named, and still no reason to end.
        let pause = self.back_off();
        self.rest_for(&Transient { what: "kafka", detail: last }, pause)
    }

    /// Slots that lack something from outside wait; what the others have stays in the batch.
    fn prepare(&mut self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        for (slot, cause) in self.processor.prepare(&self.batch) {
            self.wait(slot, &cause, None)?;
        }
        Ok(())
    }

    fn wait(&mut self, slot: Slot, cause: &Transient, pause: Option<Duration>) -> Result<(), Error> {
        let (mine, others) = std::mem::take(&mut self.batch).into_iter().partition(|record| record.slot() == slot);
        self.batch = others;
        let is_new = !self.waiting.contains_key(&slot);
        let waiting = self.waiting.entry(slot).or_insert(Waiting {
            records: Vec::new(),
            until: Instant::now(),
            attempts: 0,
            is_trying: false,
        });
        waiting.records = mine;
        waiting.attempts += 1;
        waiting.is_trying = false;
        let pause = pause.unwrap_or_else(|| backed_off(waiting.attempts));
        waiting.until = Instant::now() + pause;
        if let Some(left_out) = self.trouble.speak() {
            tracing::warn!(%cause, %slot, ?pause, left_out, group = self.config.group, "a slot waits");
        }
        if is_new && self.rest.is_none() {
            let partitions = self.partitions(|of| of == slot);
            self.consumer.pause(&partitions).map_err(|source| Error::unreachable("pausing a slot", source))?;
        }
        Ok(())
    }

    /// Slots whose time has come try again, their records before all that came since.
    fn take_back(&mut self) {
        let now = Instant::now();
        for waiting in self.waiting.values_mut().filter(|waiting| !waiting.is_trying && waiting.until <= now) {
            waiting.is_trying = true;
            self.batch.splice(..0, waiting.records.drain(..));
        }
    }

    /// Slots that got through.
    fn resume_slots(&mut self) -> Result<(), Error> {
        let is_through = |slot: &Slot| !self.batch.iter().any(|record| record.slot() == *slot);
        let through: Vec<Slot> =
            self.waiting.iter().filter(|(slot, waiting)| waiting.is_trying && is_through(slot)).map(|(slot, _)| *slot).collect();
        for slot in through {
            let attempts = self.waiting.remove(&slot).map_or(0, |waiting| waiting.attempts);
            tracing::info!(%slot, attempts, group = self.config.group, "a slot waits no more");
            if self.rest.is_none() {
                let partitions = self.partitions(|of| of == slot);
                self.consumer.resume(&partitions).map_err(|source| Error::unreachable("resuming a slot", source))?;
            }
        }
        Ok(())
    }

    fn transact(
        &mut self,
        outgoing: &[Outgoing],
        written: &BTreeSet<Slot>,
        moved: &BTreeMap<Partition, i64>,
    ) -> Result<(), Error> {
        let offsets = lock(&self.positions).covering(written, moved);
        let list = list(offsets.iter().map(|((topic, partition), next)| (topic, *partition, Offset::Offset(*next))));
        let Some(member) = self.consumer.group_metadata() else {
            return Err(Error::Broken("a worker without a group".to_owned()));
        };
        match self.transactional.transact(outgoing, Some((&list, &member)), &self.stop)? {
            Ended::Committed => {
                self.drained.transactions += 1;
                self.durable(&offsets, true);
                self.resume_after_rest()
            }
            Ended::Aborted(cause) => {
                self.processor.aborted();
                let pause = self.back_off();
                self.rest_for(&Transient { what: "kafka", detail: cause.to_string() }, pause)
            }
            Ended::Unknown(cause) => {
                tracing::warn!(%cause, id = self.config.transactional_id, "a transaction ended in doubt; reading back");
                self.processor.aborted();
                self.phase = Phase::Reread;
                if self.rest.is_none() { self.pause() } else { Ok(()) }
            }
        }
    }

    /// `wake` and `process` are done with; `offsets` cover the batch, where there is one.
    fn durable(&mut self, offsets: &BTreeMap<Partition, i64>, is_committed: bool) {
        self.too_large = 0;
        lock(&self.positions).advance(offsets, is_committed);
        let before = self.batch.len();
        self.keep_what_is_ahead();
        self.drained.records += (before - self.batch.len()) as u64;
        self.processor.committed();
    }

    /// Of the batch, what is neither durable nor without need.
    fn keep_what_is_ahead(&mut self) {
        let positions = lock(&self.positions);
        self.batch.retain(|record| positions.is_ahead(&(Arc::clone(&record.topic), record.partition), record.offset));
    }

    /// Offsets that no transaction took along, and markers behind the last record (C19).
    fn commit_idle(&mut self) {
        if !self.batch.is_empty() || self.last_record.elapsed() < IDLE_COMMIT {
            return;
        }
        self.last_record = Instant::now();
        let mut at = positions(&self.consumer);
        // Of a slot that waits, records are in hand that the consumer is past.
        at.retain(|(_, partition), _| self.slots.contains(&Slot(*partition)) && !self.waiting.contains_key(&Slot(*partition)));
        let mut positions = lock(&self.positions);
        positions.pass(&at);
        commit_pending(&self.consumer, &mut positions);
    }

    fn back_off(&mut self) -> Duration {
        self.attempts += 1;
        backed_off(self.attempts)
    }

    fn rest_for(&mut self, cause: &Transient, pause: Duration) -> Result<(), Error> {
        if let Some(left_out) = self.trouble.speak() {
            tracing::warn!(%cause, ?pause, left_out, group = self.config.group, "the batch waits");
        }
        if self.rest.is_none() {
            self.pause()?;
        }
        self.rest = Some(Rest { until: Instant::now() + pause, attempts: self.attempts });
        Ok(())
    }

    /// The pause stays until the batch got through; only the next attempt is due when its time is over.
    fn is_resting(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| Instant::now() < rest.until)
    }

    /// After a turn that went through: unless a batch is still waiting for something from outside.
    fn resume_after_rest(&mut self) -> Result<(), Error> {
        self.resume_slots()?;
        if !self.batch.is_empty() {
            return Ok(());
        }
        self.attempts = 0;
        if let Some(rest) = self.rest.take() {
            tracing::info!(attempts = rest.attempts, group = self.config.group, "the batch got through");
            self.resume()?;
        }
        Ok(())
    }

    /// Partitions of whole slots that do not wait by themselves; called once for each resume, never twice in a row (C15).
    fn pause(&self) -> Result<(), Error> {
        let ready = self.partitions(|slot| !self.waiting.contains_key(&slot));
        self.consumer.pause(&ready).map_err(|source| Error::unreachable("pausing partitions", source))
    }

    fn resume(&self) -> Result<(), Error> {
        let ready = self.partitions(|slot| !self.waiting.contains_key(&slot));
        self.consumer.resume(&ready).map_err(|source| Error::unreachable("resuming partitions", source))
    }

    fn partitions(&self, is_meant: impl Fn(Slot) -> bool) -> rdkafka::TopicPartitionList {
        let positions = lock(&self.positions);
        let mine = positions.partitions().map(|partition| (partition, Slot(partition.1)));
        let meant = mine.filter(|(_, slot)| self.slots.contains(slot) && is_meant(*slot));
        list(meant.map(|((topic, partition), _)| (topic, *partition, Offset::Invalid)))
    }

    /// Intake is over; what was gathered and not processed belongs to the next owner.
    fn leave(&mut self) {
        self.batch.clear();
        self.waiting.clear();
        commit_pending(&self.consumer, &mut lock(&self.positions));
        let is_member = !lock(&self.positions).is_empty();
        self.consumer.unsubscribe();
        let deadline = Instant::now() + LEAVE;
        while is_member && Instant::now() < deadline {
            // Whatever else it says comes too late to matter.
            drop(self.consumer.poll(Duration::from_millis(50)));
            if let Some(Rebalanced::Revoked | Rebalanced::Failed(_)) = self.consumer.context().event() {
                break;
            }
        }
    }
}

/// What a turn is about to write.
#[derive(Default)]
struct Answered {
    outgoing: Vec<Outgoing>,
    /// Of each: which record of the batch it answers; none for what was due by itself.
    causes: Vec<Option<usize>>,
    written: BTreeSet<Slot>,
}

impl Answered {
    fn add(&mut self, slot: Slot, cause: Option<usize>, records: Vec<Outgoing>) {
        if !records.is_empty() {
            self.written.insert(slot);
            self.causes.extend(records.iter().map(|_| cause));
            self.outgoing.extend(records);
        }
    }
}

fn backed_off(attempts: u32) -> Duration {
    (Duration::from_millis(50) * 2u32.pow(attempts.min(7))).min(Duration::from_secs(5))
}

/// The clock of the house, read once per batch.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Only where a slot can be torn at all.
fn tell_torn(config: &WorkerConfig, consumer: &Member, torn: usize) {
    if config.whole {
        consumer.context().torn(torn);
    }
}
