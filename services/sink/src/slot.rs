//! One slot while it is owned here: restores it, feeds its state machine, carries out what that says. All decisions are in
//! `delivery`; this file moves bytes.
//!
//! Invariant: nothing of a slot is shared with another but the destination's limits; a completion of an older ownership ends in a
//! closed channel.

mod calls;
mod intake;
mod traces;
mod writes;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use delivery::{Answer, Job, SlotState, Verdict};
use kafka::Record;
use model::{Domain, Ledger, Reason, Receipt, Slot, Timestamp, Topical};
use rand::RngExt;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    journal::Journal,
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
    /// The destination accepted a record that keys of this slot wait for.
    Arrived(Topical),
    /// A schema that golden records or commands waited for is known, or known to be unusable.
    Taught(Backlog),
    /// The slot goes: finish what is running.
    Drain,
}

pub(crate) struct Answered {
    key: Topical,
    hash: String,
    answer: Answer,
    verdict: Verdict,
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
    chains: traces::Chains,
    /// Tasks that end with the slot; calls are not among them, they end by themselves and hand their permit back.
    tasks: JoinSet<()>,
    backlogs: BTreeMap<Backlog, VecDeque<Record>>,
    /// Backlogs that wait for a schema.
    taught: BTreeMap<Backlog, bool>,
    /// Schemas that are asked for ahead.
    asked: HashSet<i32>,
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
    let (journal, acknowledgements) = Journal::new(Arc::clone(&shared), part.clone(), sender.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(acknowledgements);
    let mut actor = SlotActor {
        gone,
        calls_from: if restored.was_unclean { started.plus(shared.request_timeout) } else { started },
        state: restored.state,
        backlogs: BTreeMap::new(),
        taught: BTreeMap::new(),
        asked: HashSet::new(),
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
        chains: traces::Chains::default(),
        tasks,
    };
    actor.wake_dropped_gates();
    if actor.ask_for_awaited(&part).await {
        actor.run().await;
    }
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
                let Answered { key, hash, mut answer, verdict, at } = *answered;
                if let Some(absence) = &mut answer.absence {
                    absence.is_there = self.shared.there.ask(&absence.record, &self.sender);
                }
                let code = answer.problem.as_ref().map(|problem| problem.code.clone());
                tracing::debug!(destination = self.shared.name(), %key, class = answer.class.name(), code, "answered");
                self.state.answered(&key, &hash, answer, verdict, rand::rng().random(), at);
            }
            Input::Arrived(record) => self.state.arrived(&record, now),
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

    /// The gate that a key waited for is no longer asked for: it is looked at again.
    fn wake_dropped_gates(&mut self) {
        let is_asked = |domain: Domain, reason| {
            let delivery = self.shared.delivery(domain);
            delivery.is_some_and(|delivery| match reason {
                Reason::Dependency => !delivery.absent.is_empty(),
                _ => crate::shared::gates(delivery).iter().any(|gate| gate.reason() == reason),
            })
        };
        let woken: Vec<Topical> =
            self.state.waiting().filter(|(key, reason)| !is_asked(key.domain, *reason)).map(|(key, _)| key.clone()).collect();
        for key in woken {
            self.state.wake(&key);
        }
    }

    /// Asks for the records that keys wait for; false where the slot went meanwhile. A wait that is over by now is looked at only after
    /// all is known that was accepted, or it would become a letter for what is there.
    async fn ask_for_awaited(&mut self, part: &str) -> bool {
        let awaited: Vec<Topical> = self.state.awaited().cloned().collect();
        if awaited.is_empty() || !self.shared.there.is_needed() {
            return true;
        }
        self.shared.health.not_ready(part, "reading what the destination accepted");
        tokio::select! {
            () = self.shared.there.caught_up() => {}
            () = self.gone.cancelled() => {
                self.shared.health.ready(part);
                return false;
            }
        }
        self.shared.health.ready(part);
        for record in awaited {
            if self.shared.there.ask(&record, &self.sender) {
                self.state.arrived(&record, now());
            }
        }
        true
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
