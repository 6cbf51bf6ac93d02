//! The plain world around one slot: a log with gaps, a destination that counts, topics that lose what was not acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use model::{
    Act, ChangeId, Command, Domain, Lease, LedgerEntry, LedgerState, LetterClass, LetterId, Reason, Receipt, RecordKey, Slot,
    Stage, Timestamp, Topical,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::Bug;
use crate::{
    Absence, Action, Answer, AnswerClass, Budget, Call, Closed, CommitTracker, Job, Offer, Operation, Place, Problem, Setup,
    SlotState, Ticket, Verdict,
};

pub(super) const TOPICS: [&str; 2] = ["golden", "command"];

/// A golden record as the log keeps it.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub(super) offset: i64,
    pub(super) key: Topical,
    /// None: the tombstone.
    pub(super) record: Option<Version>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) revision: i64,
    pub(super) change_id: ChangeId,
    pub(super) operation: Operation,
    pub(super) is_closed: bool,
}

#[derive(Clone, Debug)]
enum Write {
    Letter(LetterId),
    Entry(Topical, Option<Box<LedgerEntry>>),
    Lease(Box<Lease>),
    Receipt(Box<Receipt>),
}

/// A record of the ledger topic; its offset is its index.
#[derive(Clone, Debug)]
pub(super) enum Durable {
    Entry(Topical, Option<Box<LedgerEntry>>),
    Lease(Box<Lease>),
}

struct Flying {
    call: Call<i64>,
    is_applied: bool,
}

pub(super) struct World {
    random: StdRng,
    bug: Option<Bug>,
    now: i64,
    slot: SlotState<i64>,
    pub(super) golden: Vec<Logged>,
    pub(super) commands: Vec<(i64, Option<Topical>, Command)>,
    /// Last revision of a key; it outlives its tombstone.
    pub(super) revisions: BTreeMap<Topical, i64>,
    /// How far each topic was read in this life.
    read: [usize; 2],
    /// End of golden when this life began.
    golden_end: usize,
    trackers: [CommitTracker; 2],
    pub(super) committed: [i64; 2],
    /// Handed to the producer, not yet on the topic.
    sent: VecDeque<(Job, Write)>,
    pub(super) ledger: Vec<Durable>,
    pub(super) receipts: Vec<Receipt>,
    pub(super) letters: BTreeSet<LetterId>,
    flying: Vec<Flying>,
    fetches: VecDeque<(Topical, Place)>,
    refused: BTreeSet<Topical>,
    /// What the destination applied last, per key: revision, and whether it holds the record.
    pub(super) applied: BTreeMap<Topical, (i64, bool)>,
    /// Different idempotency keys per (key, revision): each is one effect.
    effects: BTreeMap<(Topical, i64), BTreeSet<String>>,
    /// How often an answer does not arrive.
    loses_answers: f64,
    is_healed: bool,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            bug,
            now: 1_000_000,
            slot: fresh(None, bug),
            golden: Vec::new(),
            commands: Vec::new(),
            revisions: BTreeMap::new(),
            read: [0, 0],
            golden_end: 0,
            trackers: [CommitTracker::new(1000), CommitTracker::new(1000)],
            committed: [0, 0],
            sent: VecDeque::new(),
            ledger: Vec::new(),
            receipts: Vec::new(),
            letters: BTreeSet::new(),
            flying: Vec::new(),
            fetches: VecDeque::new(),
            refused: BTreeSet::new(),
            applied: BTreeMap::new(),
            effects: BTreeMap::new(),
            loses_answers: 0.2,
            is_healed: false,
        };
        world.start();
        world
    }

    pub(super) fn steps(&mut self) -> usize {
        self.random.random_range(50..400)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        match self.random.random_range(0..102) {
            0..18 => self.append(),
            18..20 => self.append_command(),
            20..40 => {
                let topic = usize::from(self.random.random_bool(0.2));
                self.read_next(topic);
            }
            40..60 => self.take()?,
            60..72 => self.apply_one()?,
            72..80 => self.answer_one(),
            80..92 => self.acknowledge_one(),
            92..94 => self.fetch_one(),
            94..96 => self.commit(),
            96..98 => {
                self.now += self.random.random_range(0..400_000);
                self.slot.tick(self.now());
            }
            98 => {
                let key = self.any_key();
                if !self.refused.remove(&key) {
                    self.refused.insert(key);
                } else if let Some(record) = missing(&key) {
                    self.slot.arrived(&record, self.now());
                }
            }
            99 => self.crash()?,
            _ => self.hand_over()?,
        }
        self.carry_out();
        Ok(())
    }

    fn any_key(&mut self) -> Topical {
        let number = self.random.random_range(0..6);
        Topical::new(Domain::Item, RecordKey::new(Domain::Item, &[&format!("i{number}"), "A"]).unwrap())
    }

    /// The validator writes a revision; offsets have gaps.
    fn append(&mut self) {
        let key = self.any_key();
        self.append_of(key);
    }

    fn append_of(&mut self, key: Topical) {
        let offset = self.golden.last().map_or(0, |last| last.offset) + self.random.random_range(1..4);
        let entry = self.entry(&key).filter(|entry| entry.state == LedgerState::Deleted);
        let latest = self.latest(&key).and_then(|latest| latest.record);
        // The replayer asks for the tombstone once the ledger says that the delete was accepted, or that there was nothing to delete.
        let is_over = latest.is_some_and(|latest| {
            latest.operation == Operation::Remove
                && entry.is_some_and(|entry| entry.offered.is_some_and(|offered| offered.revision == latest.revision))
        });
        let record = (!is_over).then(|| {
            let revision = self.revisions.entry(key.clone()).or_insert(0);
            *revision += 1;
            let operation = if self.random.random_bool(0.15) { Operation::Remove } else { Operation::Upsert };
            let change_id = ChangeId(uuid::Uuid::from_u128(u128::try_from(offset).unwrap()));
            Version { revision: *revision, change_id, operation, is_closed: self.random.random_bool(0.1) }
        });
        self.golden.push(Logged { offset, key, record });
    }

    fn append_command(&mut self) {
        let key = self.any_key();
        let offset = self.commands.last().map_or(0, |(offset, ..)| *offset) + self.random.random_range(1..3);
        let (act, key) = match self.random.random_range(0..8) {
            0 | 1 => (Act::Replay, Some(key)),
            2 => (Act::Resend, Some(key)),
            3 => (Act::Block, Some(key)),
            4 => (Act::Unblock, Some(key)),
            5 => (Act::Discard, Some(key)),
            6 => (Act::Pause, None),
            _ => (Act::Resume, None),
        };
        self.commands.push((offset, key.clone(), command(offset, act, key)));
    }

    fn read_next(&mut self, topic: usize) -> bool {
        let index = self.read[topic];
        let now = self.now();
        let name = Arc::from(TOPICS[topic]);
        if topic == 0 {
            let Some(logged) = self.golden.get(index).cloned() else { return false };
            assert!(self.trackers[0].receive(logged.offset));
            let ticket = Ticket { topic: name, offset: logged.offset };
            match offer(&logged) {
                Some(offer) => self.slot.offer(logged.key, offer, ticket, now),
                None => self.slot.tombstone(logged.key, removal(logged.offset), ticket, now),
            }
        } else {
            let Some((offset, key, command)) = self.commands.get(index).cloned() else { return false };
            assert!(self.trackers[1].receive(offset));
            let ticket = Ticket { topic: name, offset };
            match key {
                Some(key) => self.slot.command(key, command, ticket, now),
                None => self.slot.command_all(command, ticket, now),
            }
        }
        self.read[topic] += 1;
        if self.read[0] >= self.golden_end {
            self.slot.caught_up(now);
        }
        self.carry_out();
        true
    }

    fn take(&mut self) -> Result<(), String> {
        let now = self.now();
        let Some(call) = self.slot.take(false, now) else { return Ok(()) };
        if self.flying.iter().any(|flying| flying.call.key == call.key) {
            return Err(format!("I4: two calls of {} at once", call.key));
        }
        if !self.is_healed && self.random.random_bool(0.05) {
            self.slot.put_back(&call.key, now);
            return Ok(());
        }
        let hash = hash(&call);
        if call.is_unchanged(&hash) {
            let there = self.applied.get(&call.key).copied();
            if there.is_none_or(|(applied, holds)| !holds || content(applied) != content(call.offer.revision)) {
                return Err(format!("lost: {} {} left out as unchanged, there {there:?}", call.key, call.offer.revision));
            }
            self.slot.unchanged(&call.key, &hash, now);
        } else {
            self.flying.push(Flying { call, is_applied: false });
        }
        Ok(())
    }

    /// The destination applies a call on its way; the answer comes later, or never.
    fn apply_one(&mut self) -> Result<(), String> {
        if self.flying.is_empty() {
            return Ok(());
        }
        let index = self.random.random_range(0..self.flying.len());
        self.apply(index)
    }

    fn apply(&mut self, index: usize) -> Result<(), String> {
        let flying = &mut self.flying[index];
        if flying.is_applied || self.refused.contains(&flying.call.key) {
            return Ok(());
        }
        flying.is_applied = true;
        let call = flying.call.clone();
        self.effect(&call)
    }

    /// A destination that honours idempotency keys and knows no fence of its own.
    fn effect(&mut self, call: &Call<i64>) -> Result<(), String> {
        let (key, revision) = (call.key.clone(), call.offer.revision);
        if let Some((there, _)) = self.applied.get(&key)
            && *there > revision
        {
            return Err(format!("I2: regression of {key}: {revision} after {there}"));
        }
        let effects = self.effects.entry((key.clone(), revision)).or_default();
        let is_new = effects.insert(call.idempotency_key("mes"));
        if is_new && effects.len() > 1 && call.command.is_none() && !call.is_absent {
            return Err(format!("I3: second effect of {key} {revision}"));
        }
        self.applied.insert(key, (revision, call.offer.operation == Operation::Upsert));
        Ok(())
    }

    fn answer_one(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.flying.len());
        let flying = self.flying.remove(index);
        let answer = if self.refused.contains(&flying.call.key) && !flying.is_applied {
            let answer = Answer::permanent(Problem {
                class: LetterClass::Refused,
                code: "HTTP_422".to_owned(),
                field: None,
                observed: None,
                message: "no".to_owned(),
            });
            // Half of the keys are refused because something is missing.
            let hold = Duration::from_secs(300);
            let absence = |record| Absence { record, hold, is_there: false };
            Answer { absence: missing(&flying.call.key).map(absence), ..answer }
        } else if flying.is_applied && (self.is_healed || !self.random.random_bool(self.loses_answers)) {
            Answer::bare(AnswerClass::Accepted)
        } else {
            // A gateway's 504 hides whether the plant applied it.
            let gateway = Answer { code: Some("504".to_owned()), ..Answer::bare(AnswerClass::Destination) };
            match self.random.random_range(0..4) {
                0 if flying.is_applied => gateway,
                0 => Answer::bare(AnswerClass::Destination),
                1 => Answer::bare(AnswerClass::Throttled),
                _ => Answer::bare(AnswerClass::Retryable),
            }
        };
        let (counts, random) = (self.random.random_bool(0.7), self.random.random());
        let now = self.now();
        self.slot.answered(&flying.call.key, &hash(&flying.call), answer, Verdict::plain(counts), random, now);
    }

    fn acknowledge_one(&mut self) {
        let Some((job, write)) = self.sent.pop_front() else { return };
        if let Write::Receipt(receipt) = &write {
            self.slot.receipt_written(receipt);
        }
        self.land(write);
        let now = self.now();
        self.slot.acknowledged(job, now);
    }

    /// The write is on its topic.
    fn land(&mut self, write: Write) {
        match write {
            Write::Letter(id) => {
                self.letters.insert(id);
            }
            Write::Receipt(receipt) => self.receipts.push(*receipt),
            Write::Entry(key, entry) => self.ledger.push(Durable::Entry(key, entry)),
            Write::Lease(lease) => self.ledger.push(Durable::Lease(lease)),
        }
    }

    fn fetch_one(&mut self) {
        let Some((key, place)) = self.fetches.pop_front() else { return };
        let Place::Golden(offset) = place else { panic!("no command asks for exact bytes") };
        let found = self.golden.iter().find(|logged| logged.offset == offset);
        // Compaction may remove a record that a newer one of its key follows.
        let is_newest = self.latest(&key).is_some_and(|latest| latest.offset == offset);
        let offer = found.and_then(offer);
        let is_compacted = !is_newest && self.random.random_bool(0.5);
        let now = self.now();
        self.slot.fetched(&key, offer.filter(|_| !is_compacted), now);
    }

    pub(super) fn commit(&mut self) {
        for (tracker, committed) in self.trackers.iter().zip(&mut self.committed) {
            if let Some(next) = tracker.committable(None) {
                *committed = (*committed).max(next.get());
            }
        }
    }

    fn carry_out(&mut self) {
        let actions: Vec<_> = self.slot.actions().collect();
        for action in actions {
            match action {
                Action::WriteLetter(job, letter) => self.sent.push_back((job, Write::Letter(letter.id))),
                Action::WriteLedger(job, key, entry) => self.sent.push_back((job, Write::Entry(key, Some(entry)))),
                Action::EraseLedger(job, key) => self.sent.push_back((job, Write::Entry(key, None))),
                Action::WriteReceipt(job, receipt) => self.sent.push_back((job, Write::Receipt(receipt))),
                Action::WriteLease(job, lease) => self.sent.push_back((job, Write::Lease(lease))),
                Action::Fetch(key, place) => self.fetches.push_back((key, place)),
                Action::Done(ticket) => {
                    let topic = usize::from(&*ticket.topic == TOPICS[1]);
                    assert!(self.trackers[topic].done(ticket.offset), "{ticket:?} was never received");
                }
                Action::Count(..) => {}
            }
        }
    }

    /// kill -9: what the producer held is lost from some point on, calls on their way arrive or not, the slot starts again.
    fn crash(&mut self) -> Result<(), String> {
        self.commit();
        let kept = self.random.random_range(0..=self.sent.len());
        for (_, write) in std::mem::take(&mut self.sent).into_iter().take(kept) {
            self.land(write);
        }
        for flying in std::mem::take(&mut self.flying) {
            if !flying.is_applied && !self.refused.contains(&flying.call.key) && self.random.random_bool(0.5) {
                self.effect(&flying.call)?;
            }
        }
        self.fetches.clear();
        self.compact();
        self.start();
        Ok(())
    }

    /// A clean stop, or the slot goes to another member: what is on its way ends, its answer lost or not.
    fn hand_over(&mut self) -> Result<(), String> {
        self.slot.drain();
        self.loses_answers = 0.5;
        let called: Vec<Topical> = self.flying.iter().map(|flying| flying.call.key.clone()).collect();
        while let Some(index) = self.flying.len().checked_sub(1) {
            if self.random.random_bool(0.7) {
                self.apply(index)?;
            }
            self.answer_one();
        }
        self.carry_out();
        while !self.sent.is_empty() {
            self.acknowledge_one();
            self.carry_out();
        }
        if !self.slot.is_quiet() {
            return Err("a slot without calls and writes on their way is not quiet".to_owned());
        }
        self.commit();
        self.ledger.push(Durable::Lease(Box::new(self.slot.lease(true))));
        self.loses_answers = 0.2;
        self.fetches.clear();
        for key in called {
            for _ in 0..self.random.random_range(0..3) {
                self.append_of(key.clone());
            }
        }
        self.compact();
        self.start();
        Ok(())
    }

    /// The sink was away for long, or not: golden grows, and up to some offset it keeps only the newest revision of each key.
    fn compact(&mut self) {
        if self.random.random_bool(0.7) {
            return;
        }
        for _ in 0..self.random.random_range(0..12) {
            self.append();
        }
        let end = self.random.random_range(0..=self.golden.len());
        let cleaned = self.golden.drain(..end);
        let newest: BTreeMap<Topical, Logged> = cleaned.map(|logged| (logged.key.clone(), logged)).collect();
        let mut kept: Vec<Logged> = newest.into_values().collect();
        kept.sort_by_key(|logged| logged.offset);
        self.golden.splice(..0, kept);
    }

    fn start(&mut self) {
        let newest = self.ledger.iter().rev().find_map(|durable| match durable {
            Durable::Lease(lease) => Some(lease.clone()),
            Durable::Entry(..) => None,
        });
        self.slot = fresh(newest.as_deref(), self.bug);
        for (offset, durable) in self.ledger.iter().enumerate() {
            match durable.clone() {
                Durable::Lease(lease) => self.slot.restore_lease(i64::try_from(offset).unwrap(), *lease),
                Durable::Entry(key, entry) => self.slot.restore(key, entry.map(|entry| *entry)),
            }
        }
        let epoch = i64::try_from(self.ledger.len()).unwrap();
        self.ledger.push(Durable::Lease(Box::new(self.slot.lease(false))));
        let now = self.now();
        self.slot.begin(epoch, now);
        self.read = [
            self.golden.partition_point(|logged| logged.offset < self.committed[0]),
            self.commands.partition_point(|(offset, ..)| *offset < self.committed[1]),
        ];
        self.golden_end = self.golden.len();
        if self.read[0] >= self.golden_end {
            self.slot.caught_up(now);
        }
        self.trackers = [CommitTracker::new(1000), CommitTracker::new(1000)];
        self.carry_out();
    }

    /// Everything works again, nothing new comes: the slot must come to rest.
    pub(super) fn heal(&mut self, check: impl Fn(&Self) -> Result<(), String>) -> Result<(), String> {
        self.is_healed = true;
        let offset = self.commands.last().map_or(0, |(offset, ..)| *offset) + 1;
        self.commands.push((offset, None, command(offset, Act::Resume, None)));
        for round in 0..20_000 {
            let mut is_moving = self.read_next(1);
            is_moving |= self.read_next(0);
            self.take()?;
            for index in 0..self.flying.len() {
                self.apply(index)?;
            }
            self.answer_one();
            self.fetch_one();
            self.carry_out();
            self.acknowledge_one();
            self.carry_out();
            check(self)?;
            if is_moving || !self.flying.is_empty() || !self.sent.is_empty() || !self.fetches.is_empty() || self.slot.has_ready()
            {
                continue;
            }
            let Some(due) = self.slot.next_due() else {
                return if self.slot.is_quiet() { Ok(()) } else { Err(format!("stuck after {round} rounds")) };
            };
            self.now = self.now.max(due.millis() + 1);
            self.slot.tick(self.now());
            self.carry_out();
        }
        Err("does not come to rest".to_owned())
    }

    pub(super) fn latest(&self, key: &Topical) -> Option<&Logged> {
        self.golden.iter().rev().find(|logged| logged.key == *key)
    }

    /// What the ledger topic says about a key.
    pub(super) fn entry(&self, key: &Topical) -> Option<LedgerEntry> {
        let entry = self.ledger.iter().rev().find_map(|durable| match durable {
            Durable::Entry(of, entry) if of == key => Some(entry.clone()),
            Durable::Entry(..) | Durable::Lease(_) => None,
        });
        entry.flatten().map(|entry| *entry)
    }
}

/// What a key that is refused waits for, where it waits.
fn missing(key: &Topical) -> Option<Topical> {
    let number = key.key.as_str().as_bytes().get(1).filter(|digit| *digit % 2 == 0)?;
    Topical::parse(&format!("reference/uom/U{number}")).ok()
}

pub(super) fn fresh(newest: Option<&Lease>, bug: Option<Bug>) -> SlotState<i64> {
    at_slot(Slot(3), newest, bug)
}

pub(super) fn at_slot(slot: Slot, newest: Option<&Lease>, bug: Option<Bug>) -> SlotState<i64> {
    let setup = Setup {
        destination: "mes".to_owned(),
        connector: "test".to_owned(),
        slot,
        letter_id: |destination, domain, partition, offset| LetterId(format!("{destination}/{domain}/{partition}@{offset}")),
        budget: Budget { attempts: 4, ..Budget::STANDARD },
        acceptance: Duration::from_secs(60),
    };
    let mut slot = SlotState::new(setup, "owner".to_owned(), newest);
    slot.bug = bug;
    slot
}

fn offer(logged: &Logged) -> Option<Offer<i64>> {
    let version = logged.record?;
    let is_closed = version.is_closed && version.operation == Operation::Upsert;
    Some(Offer {
        revision: version.revision,
        change_id: version.change_id,
        golden_offset: logged.offset,
        occurred_at: Timestamp::from_millis(0),
        operation: version.operation,
        is_deleted: version.operation == Operation::Remove,
        closed: is_closed.then(|| Box::new(Closed { reason: Reason::Approval, detail: "draft".to_owned(), until: None })),
        payload: logged.offset,
    })
}

pub(super) fn removal(offset: i64) -> Offer<i64> {
    Offer {
        revision: 0,
        change_id: ChangeId::default(),
        golden_offset: offset,
        occurred_at: Timestamp::default(),
        operation: Operation::Remove,
        is_deleted: true,
        closed: None,
        payload: offset,
    }
}

/// Two revisions in a row may have the same payload, so the second needs no call; and what was there before comes back: A, B, A, A.
pub(super) fn content(revision: i64) -> i64 {
    i64::from(revision % 3 == 2)
}

fn hash(call: &Call<i64>) -> String {
    content(call.offer.revision).to_string()
}

pub(super) fn command(offset: i64, act: Act, key: Option<Topical>) -> Command {
    Command {
        command_id: format!("c-{offset}"),
        act,
        stage: Stage::Deliver,
        domain: key.as_ref().map(|key| key.domain),
        key: key.map(|key| key.key),
        actor: "local/test".to_owned(),
        reason: None,
        until: None,
        at: Timestamp::default(),
        plan: None,
        letter: None,
        source_key: None,
        revision: None,
        source: None,
        source_epoch: None,
        source_sequence: None,
        exact_offset: None,
        filter: None,
    }
}
