//! One slot while it is owned here: restores it, feeds its state machine, carries out what that says. All decisions are in
//! `delivery`; this file moves bytes.
//!
//! Invariant: nothing of a slot is shared with another but the destination's limits; a completion of an older ownership ends in a
//! closed channel.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use avro::{DecodeError, TopicKind};
use delivery::{Action, Answer, Call, Counted, Grant, Job, Permit, Place, SlotState, Ticket, Turn};
use kafka::{Coordinate, Record};
use model::{Act, Command, DeadLetter, Domain, Ledger, Outgoing, Receipt, Slot, Stage, Timestamp, Topical, command::ALL_KEY};
use rand::RngExt;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    deliver::{self, Prepared, Request},
    journal::{Journal, Write},
    letter,
    record::{self, Reading, Taken},
    restore,
    shared::{Shared, now},
    status::Board,
};

/// After this long without a golden record, and with little in hand, the slot has caught up.
const QUIET: Duration = Duration::from_secs(3);
const RENEW: Duration = Duration::from_secs(60);
/// How soon a withdrawn membership proof is looked at again.
const PROOF: Duration = Duration::from_millis(50);

/// What reaches a slot.
pub(crate) enum Input {
    Record(Record),
    Answered(Box<Answered>),
    /// The membership proof was missing: no byte was sent.
    NotCalled(Topical),
    Acknowledged(Job, Option<Box<Receipt>>),
    Fetched(Topical, Option<Box<Record>>),
    /// A schema that golden records or commands waited for is known, or known to be unusable.
    Taught(Backlog),
    /// The slot goes: finish what is running.
    Drain,
}

pub(crate) struct Answered {
    key: Topical,
    hash: String,
    answer: Answer,
    counts: bool,
    at: Timestamp,
}

/// Which records wait for a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backlog {
    Golden,
    Command,
}

/// The task of one slot.
pub(crate) struct SlotActor {
    shared: Arc<Shared>,
    board: Arc<Board>,
    slot: Slot,
    epoch: u64,
    /// The slot is somebody else's: nothing may be written any more.
    gone: service::CancellationToken,
    inbox: mpsc::UnboundedReceiver<Input>,
    sender: mpsc::UnboundedSender<Input>,
    state: SlotState<Arc<Taken>>,
    journal: Journal,
    /// Tasks that end with the slot; calls are not among them, they end by themselves and hand their permit back.
    tasks: JoinSet<()>,
    backlogs: BTreeMap<Backlog, VecDeque<Record>>,
    /// Backlogs that wait for a schema.
    taught: BTreeMap<Backlog, bool>,
    calls_from: Timestamp,
    last_golden: Timestamp,
    renewed: Timestamp,
    is_caught_up: bool,
    is_draining: bool,
    /// Waits for a place at the destination.
    is_full: bool,
    wake_at: Option<Timestamp>,
    /// What the gauge and the board were told last.
    parked: BTreeMap<Domain, i64>,
    posted: Option<Option<model::ledger::Paused>>,
}

/// What a slot starts with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) board: Arc<Board>,
    pub(crate) ledgers: Arc<restore::Ledgers>,
    pub(crate) slot: Slot,
    /// Of the assignment.
    pub(crate) epoch: u64,
    pub(crate) sender: mpsc::UnboundedSender<Input>,
    pub(crate) inbox: mpsc::UnboundedReceiver<Input>,
    pub(crate) gone: service::CancellationToken,
}

/// Takes the slot over and serves it until it is drained, or gone.
pub(crate) async fn serve(start: Start) {
    let Start { shared, board, ledgers, slot, epoch, sender, inbox, gone } = start;
    let part = format!("slot {slot}");
    shared.health.not_ready(&part, "restoring its ledger");
    let restored = tokio::select! {
        restored = restore::restore(&shared, &ledgers, slot, &part) => restored,
        // Nothing was taken up yet: the next owner finds the lease as it was.
        () = gone.cancelled() => return shared.health.ready(&part),
    };
    drop(ledgers);
    let started = now();
    let (journal, acknowledgements) = Journal::new(Arc::clone(&shared), part, sender.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(acknowledgements);
    let mut actor = SlotActor {
        gone,
        calls_from: if restored.was_unclean { started.plus(shared.request_timeout) } else { started },
        state: restored.state,
        backlogs: BTreeMap::new(),
        taught: BTreeMap::new(),
        last_golden: started,
        renewed: started,
        is_caught_up: false,
        is_draining: false,
        is_full: false,
        wake_at: None,
        parked: BTreeMap::new(),
        posted: None,
        shared,
        board,
        slot,
        epoch,
        inbox,
        sender,
        journal,
        tasks,
    };
    actor.wake_dropped_gates();
    actor.run().await;
    actor.leave();
}

impl SlotActor {
    async fn run(&mut self) {
        loop {
            if !self.shared.handle.may_call() {
                // Perhaps the slot has another owner by now. Answers and acknowledgements wait: what they lead to are writes.
                tokio::select! {
                    () = self.gone.cancelled() => return,
                    () = tokio::time::sleep(PROOF) => continue,
                }
            }
            self.carry_out().await;
            self.pump().await;
            self.post();
            if self.is_draining && self.state.is_quiet() {
                return self.write_clean_lease().await;
            }
            let due = self.next_wake();
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                () = self.gone.cancelled() => return,
                input = self.inbox.recv() => match input {
                    Some(input) => self.take_in(input),
                    None => return,
                },
                () = sleep_until(due) => {}
                () = shared.free.notified(), if self.is_full => {}
            }
            // Whatever else is there: fewer turns through everything below.
            for _ in 0..256 {
                let Ok(input) = self.inbox.try_recv() else { break };
                self.take_in(input);
            }
            self.state.tick(now());
            self.look_at_clock();
        }
    }

    fn take_in(&mut self, input: Input) {
        let now = now();
        match input {
            Input::Record(record) => self.take_up(record),
            Input::Answered(answered) => {
                let Answered { key, hash, answer, counts, at } = *answered;
                let code = answer.problem.as_ref().map(|problem| problem.code.clone());
                tracing::debug!(destination = self.shared.name(), %key, class = answer.class.name(), code, "answered");
                self.state.answered(&key, &hash, answer, counts, rand::rng().random(), at);
            }
            Input::NotCalled(key) => self.state.put_back(&key, now),
            Input::Acknowledged(job, receipt) => {
                if let Some(receipt) = receipt {
                    self.state.receipt_written(&receipt);
                    telemetry::STAGE_SECONDS
                        .with_label_values(&[receipt.domain.name(), "accept"])
                        .observe(now.since(receipt.answered_at).as_secs_f64());
                }
                self.state.acknowledged(job, now);
            }
            Input::Fetched(key, found) => {
                let offer = found.and_then(|record| match record::read(&self.shared, key.domain, *record) {
                    Reading::Offer(found, offer) if found == key => Some(*offer),
                    Reading::Offer(..) | Reading::Tombstone(..) | Reading::Unreadable(..) | Reading::NeedSchema(..) => None,
                });
                self.state.fetched(&key, offer, now);
            }
            Input::Taught(backlog) => {
                self.taught.remove(&backlog);
                for record in self.backlogs.remove(&backlog).unwrap_or_default() {
                    self.take_up(record);
                }
            }
            Input::Drain => {
                self.is_draining = true;
                self.state.drain();
            }
        }
    }

    /// A record of the group's topics; behind one that waits for its schema it waits, too.
    fn take_up(&mut self, record: Record) {
        let kind = self.shared.topics.kind(&record.topic);
        let backlog = if matches!(kind, Some(TopicKind::Golden(_))) { Backlog::Golden } else { Backlog::Command };
        if self.taught.contains_key(&backlog) {
            return self.backlogs.entry(backlog).or_default().push_back(record);
        }
        match kind {
            Some(TopicKind::Golden(domain)) => self.take_golden(domain, record),
            _ => self.take_command(record),
        }
    }

    fn take_golden(&mut self, domain: Domain, record: Record) {
        let now = now();
        self.last_golden = now;
        let ticket = Ticket { topic: Arc::clone(&record.topic), offset: record.offset };
        match record::read(&self.shared, domain, record) {
            Reading::Offer(key, offer) => self.state.offer(key, *offer, ticket, now),
            Reading::Tombstone(key, offer) => self.state.tombstone(key, *offer, ticket, now),
            Reading::Unreadable(key, domain, taken, problem) => self.state.reject(key, domain, taken, problem, ticket, now),
            Reading::NeedSchema(id, record) => self.wait_for_schema(Backlog::Golden, id, *record),
        }
    }

    fn take_command(&mut self, record: Record) {
        let ticket = Ticket { topic: Arc::clone(&record.topic), offset: record.offset };
        let decoded = record.value.as_deref().map(|value| self.shared.reader.decode::<Command>(value));
        let command = match decoded {
            Some(Ok(command)) => command,
            Some(Err(DecodeError::NeedSchema(id))) => return self.wait_for_schema(Backlog::Command, id, record),
            Some(Err(DecodeError::Unreadable { code, message })) => return self.ignore(&record, ticket, code, &message),
            None => return self.ignore(&record, ticket, "RECORD_EMPTY", "a command without a value"),
        };
        if command.stage == Stage::Capture {
            return self.state.skip(ticket);
        }
        let key = record.key_text().unwrap_or_default();
        if key == ALL_KEY {
            tracing::info!(destination = self.shared.name(), slot = %self.slot, act = ?command.act, actor = command.actor, "command");
            if command.act == Act::Resync {
                tracing::warn!(destination = self.shared.name(), slot = %self.slot, "resync is not built in yet");
            }
            return self.state.command_all(command, ticket, now());
        }
        match Topical::parse(key) {
            Ok(key) => self.state.command(key, command, ticket, now()),
            Err(error) => self.ignore(&record, ticket, "RECORD_KEY", &error.to_string()),
        }
    }

    /// A command that nobody can read is no record of a destination: it is named in the log and passed over.
    fn ignore(&mut self, record: &Record, ticket: Ticket, code: &str, message: &str) {
        let (topic, offset) = (&*record.topic, record.offset);
        tracing::error!(destination = self.shared.name(), topic, slot = %self.slot, offset, code, error = message, "command ignored");
        self.state.skip(ticket);
    }

    fn wait_for_schema(&mut self, backlog: Backlog, id: i32, record: Record) {
        self.taught.insert(backlog, true);
        self.backlogs.entry(backlog).or_default().push_front(record);
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        self.tasks.spawn(async move {
            teach(&shared, id).await;
            drop(sender.send(Input::Taught(backlog)));
        });
    }

    /// Starts as many calls as may start.
    async fn pump(&mut self) {
        let was_full = std::mem::take(&mut self.is_full);
        self.wake_at = None;
        while self.state.has_ready() {
            let now = now();
            if now < self.calls_from {
                self.wake_at = Some(self.calls_from);
                break;
            }
            if !self.shared.handle.may_call() {
                self.wake_at = Some(now.plus(PROOF));
                break;
            }
            let grant = self.shared.traffic().ask(now);
            let permit = match grant {
                Grant::Go(permit) => permit,
                Grant::Wait(until) => {
                    self.wake_at = Some(until);
                    break;
                }
                Grant::Full => {
                    self.is_full = true;
                    break;
                }
            };
            let Some(call) = self.state.take(now) else {
                self.shared.traffic().unused(permit);
                break;
            };
            self.call(&call, permit, now);
            self.carry_out().await;
        }
        if was_full && !self.is_full {
            // The place this slot was woken for may be for another one.
            self.shared.free.notify_one();
        }
    }

    fn call(&mut self, call: &Call<Arc<Taken>>, permit: Permit, now: Timestamp) {
        let waited = now.since(call.queued_at).as_secs_f64();
        telemetry::STAGE_SECONDS.with_label_values(&[call.key.domain.name(), "wait"]).observe(waited);
        match deliver::prepare(&self.shared, call) {
            Prepared::Send(request) => {
                tokio::spawn(deliver(Arc::clone(&self.shared), self.sender.clone(), request, permit));
            }
            Prepared::Unchanged(hash) => {
                self.shared.traffic().unused(permit);
                self.state.unchanged(&call.key, &hash, now);
            }
            Prepared::Answered(mut answer) => {
                self.shared.traffic().unused(permit);
                if call.offer.payload.has_left_scope && answer.note.is_none() {
                    answer.note = Some("left the scope".to_owned());
                }
                self.state.answered(&call.key, "", answer, true, 0.0, now);
            }
        }
    }

    async fn carry_out(&mut self) {
        loop {
            let actions: Vec<_> = self.state.actions().collect();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(action).await;
            }
        }
    }

    async fn act(&mut self, action: Action<Arc<Taken>>) {
        match action {
            Action::WriteLetter(job, letter) => {
                let letter = letter::compose(&self.shared, &letter);
                let domain = letter.domain.map_or("", Domain::name);
                let labels = ["deliver", self.shared.name(), domain, letter.class.name(), letter.code.as_str()];
                telemetry::DEAD_LETTERS_WRITTEN.with_label_values(&labels).inc();
                tracing::info!(destination = self.shared.name(), letter = %letter.id, code = letter.code, "dead letter");
                let key = match (letter.domain, &letter.key) {
                    (Some(domain), Some(key)) => format!("{domain}/{key}"),
                    _ => letter.id.0.clone(),
                };
                let headers = deadletter::headers(&letter);
                let value = self.encode(&letter);
                self.write(job, &self.shared.names.dlq, key, value, headers, None, true).await;
            }
            Action::WriteLedger(job, key, entry) => {
                let value = self.encode(&Ledger { entry: Some(*entry), lease: None });
                self.write(job, &self.shared.names.ledger, key.to_string(), value, Vec::new(), None, false).await;
            }
            Action::EraseLedger(job, key) => {
                self.write(job, &self.shared.names.ledger, key.to_string(), None, Vec::new(), None, false).await;
            }
            Action::WriteReceipt(job, receipt) => {
                let value = self.encode(&*receipt);
                let key = Topical::new(receipt.domain, receipt.key.clone()).to_string();
                self.write(job, &self.shared.names.receipt, key, value, Vec::new(), Some(receipt), false).await;
            }
            Action::WriteLease(job, lease) => {
                let value = self.encode(&Ledger { entry: None, lease: Some(*lease) });
                let key = model::ledger::LEASE_KEY.to_owned();
                self.write(job, &self.shared.names.ledger, key, value, Vec::new(), None, false).await;
            }
            Action::Fetch(key, place) => {
                let (shared, sender, slot) = (Arc::clone(&self.shared), self.sender.clone(), self.slot);
                self.tasks.spawn(async move {
                    let found = fetch(&shared, slot, &key, place).await;
                    drop(sender.send(Input::Fetched(key, found.map(Box::new))));
                });
            }
            Action::Done(ticket) => self.shared.handle.done(Coordinate {
                topic: ticket.topic,
                partition: self.slot.0,
                offset: ticket.offset,
                epoch: self.epoch,
            }),
            Action::Count(domain, counted) => count(self.shared.name(), domain, counted),
        }
    }

    /// Encoding our own record fails only if a schema is missing here: a fault of the build, which must not pass unnoticed.
    fn encode<T: avro::Wire>(&self, record: &T) -> Option<Vec<u8>> {
        Some(self.shared.writer.encode(record).expect("every schema that a sink writes was looked up at start"))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one record")]
    async fn write(
        &self,
        job: Job,
        topic: &str,
        key: String,
        value: Option<Vec<u8>>,
        headers: Vec<(String, Vec<u8>)>,
        receipt: Option<Box<Receipt>>,
        is_letter: bool,
    ) {
        let outgoing = Outgoing { topic: topic.to_owned(), slot: self.slot, key, value, headers };
        self.journal.write(Write { job, outgoing, receipt, is_letter }).await;
    }

    /// The gate that a key waited for is no longer asked for: it is looked at again.
    fn wake_dropped_gates(&mut self) {
        let is_asked = |domain: Domain, reason| {
            let delivery = self.shared.delivery(domain);
            delivery.is_some_and(|delivery| crate::shared::gates(delivery).iter().any(|gate| gate.reason() == reason))
        };
        let woken: Vec<Topical> =
            self.state.waiting().filter(|(key, reason)| !is_asked(key.domain, *reason)).map(|(key, _)| key.clone()).collect();
        for key in woken {
            self.state.wake(&key);
        }
    }

    fn look_at_clock(&mut self) {
        let now = now();
        if !self.is_caught_up && now.since(self.last_golden) > QUIET && self.state.sizes().0 < 100 && self.taught.is_empty() {
            self.is_caught_up = true;
            self.state.caught_up(now);
        }
        if now.since(self.renewed) > RENEW && !self.is_draining {
            self.renewed = now;
            if self.is_caught_up {
                self.state.caught_up(now);
            }
            self.state.renew_lease(now);
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn next_wake(&self) -> Instant {
        let now = now();
        let due = [self.state.next_due(), self.wake_at].into_iter().flatten().min();
        let wait = due.map_or(Duration::from_secs(1), |due| due.since(now).min(Duration::from_secs(1)));
        Instant::now() + wait.max(Duration::from_millis(1))
    }

    /// Tells the others how it stands, where that changed.
    fn post(&mut self) {
        if self.posted.as_ref().is_none_or(|posted| posted.as_ref() != self.state.paused()) {
            self.board.post(self.slot, self.state.paused());
            self.posted = Some(self.state.paused().cloned());
        }
        if self.parked != *self.state.parked() {
            let parked = self.state.parked().clone();
            self.gauge(&parked);
            self.parked = parked;
        }
    }

    fn gauge(&self, parked: &BTreeMap<Domain, i64>) {
        for domain in self.shared.destination.domains.keys() {
            let change = parked.get(domain).unwrap_or(&0) - self.parked.get(domain).unwrap_or(&0);
            telemetry::PARKED_KEYS.with_label_values(&[self.shared.name(), domain.name()]).add(change);
        }
    }

    async fn write_clean_lease(&mut self) {
        let lease = Ledger { entry: None, lease: Some(self.state.lease(true)) };
        let Some(value) = self.encode(&lease) else { return };
        let outgoing = restore::lease_record(&self.shared.names.ledger, self.slot, value);
        match timeout(self.shared.drain, self.shared.producer.send(&outgoing)).await {
            Ok(Ok(_)) => {}
            // The next owner waits one request timeout, as after a crash.
            Ok(Err(error)) => {
                tracing::warn!(destination = self.shared.name(), slot = %self.slot, %error, "writing the clean lease")
            }
            Err(_) => tracing::warn!(destination = self.shared.name(), slot = %self.slot, "no time left for the clean lease"),
        }
    }

    fn leave(self) {
        self.gauge(&BTreeMap::new());
        self.board.leave(self.slot);
        if self.is_full {
            self.shared.free.notify_one();
        }
        let mut tasks = self.tasks;
        tasks.abort_all();
    }
}

/// One call; its permit comes back whatever happens to the slot.
async fn deliver(shared: Arc<Shared>, slot: mpsc::UnboundedSender<Input>, request: Request, permit: Permit) {
    let started = now();
    let answer = deliver::send(&shared, &request).await;
    let at = now();
    let Some(answer) = answer else {
        shared.traffic().unused(permit);
        shared.free.notify_one();
        drop(slot.send(Input::NotCalled(request.key)));
        return;
    };
    let domain = request.key.domain.name();
    telemetry::STAGE_SECONDS.with_label_values(&[domain, "deliver"]).observe(at.since(started).as_secs_f64());
    let (counts, turn) = shared.traffic().finished(permit, answer.class, answer.retry_after, at);
    let text = answer.problem.as_ref().map(|problem| problem.message.clone());
    drop(slot.send(Input::Answered(Box::new(Answered { key: request.key, hash: request.hash, answer, counts, at }))));
    shared.free.notify_one();
    match turn {
        Turn::None => {}
        Turn::WentDown => tracing::warn!(destination = shared.name(), error = text, "the destination is down, records wait"),
        Turn::CameBack => {
            tracing::info!(destination = shared.name(), "the destination is back");
            shared.free.notify_waiters();
        }
    }
}

/// Asks until the registry answers; the answer may be that there is no such schema.
async fn teach(shared: &Shared, id: i32) {
    while let Err(error) = shared.registry.teach(&shared.reader, id).await {
        tracing::warn!(destination = shared.name(), schema = id, %error, "waiting for a schema");
        shared.health.not_ready("registry", error.to_string());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    shared.health.ready("registry");
}

/// Reads a payload again, with its schema.
async fn fetch(shared: &Shared, slot: Slot, key: &Topical, place: Place) -> Option<Record> {
    let (topic, offset) = match place {
        Place::Golden(offset) => (shared.topics.golden(key.domain), offset),
        Place::Letter(offset) => (shared.names.dlq.clone(), offset),
    };
    let found = loop {
        match shared.fetcher.fetch(&topic, slot.0, offset).await {
            Ok(found) => break found,
            Err(error) => {
                tracing::warn!(destination = shared.name(), topic, %slot, offset, %error, "reading a record again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }?;
    learn(shared, &found).await;
    let Place::Letter(_) = place else { return Some(found) };
    let letter = shared.reader.decode::<DeadLetter>(found.value.as_deref()?).ok().filter(|letter| !letter.truncated)?;
    let record = Record {
        topic: letter.topic?.into(),
        partition: letter.partition?,
        offset: letter.offset?,
        timestamp: letter.timestamp?,
        key: Some(key.key.as_str().as_bytes().to_vec()),
        value: Some(letter.payload),
        headers: Vec::new(),
    };
    learn(shared, &record).await;
    Some(record)
}

async fn learn(shared: &Shared, record: &Record) {
    let id = record.value.as_deref().and_then(|value| avro::schema_id(value).ok());
    if let Some(id) = id.filter(|id| !shared.reader.knows(*id)) {
        teach(shared, id).await;
    }
}

fn count(destination: &str, domain: Domain, counted: Counted) {
    let outcome = match counted {
        Counted::Accepted | Counted::Unchanged => "ok",
        Counted::Stale => "stale",
        Counted::Skipped => "skipped",
        Counted::Held => "held",
        Counted::Superseded => "superseded",
        Counted::DeadLettered => "dead_lettered",
        Counted::Conflict => {
            tracing::warn!(destination, domain = domain.name(), "an accepted revision came again from another change");
            return telemetry::REVISION_CONFLICTS.with_label_values(&[destination, domain.name()]).inc();
        }
        Counted::LateEntry => {
            return tracing::warn!(destination, domain = domain.name(), "ignored a ledger entry of a former owner");
        }
    };
    telemetry::RECORDS.with_label_values(&[domain.name(), "deliver", destination, outcome]).inc();
}
