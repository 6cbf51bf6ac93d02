//! A group reader whose records finish later and out of order (the sink's).
//!
//! Invariant: no offset is committed at or above a record whose outcome is not durable; the commit tracker of `delivery` decides.
//! Invariant: a completion carries the epoch of its assignment, and one of an older epoch changes nothing (C3).
//! Invariant: the reader always polls; back-pressure pauses partitions (C14).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::time::{Duration, Instant, SystemTime};

use model::Slot;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::Offset;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::{Role, settings};
use crate::context::Damper;
use crate::group::{Cure, Group, Member, Rebalanced, lock, slots, subscribe};
use crate::lookup::{list, positions};
use crate::owned::Owned;
use crate::record::Copier;
use crate::{Cause, Client, Error, Record};

const POLL: Duration = Duration::from_millis(50);
const COMMIT_EVERY: Duration = Duration::from_secs(1);
const COMMIT_AFTER: usize = 5000;
/// A member that is fenced joins again once a minute: a coordinator that was restarted while members joined takes them for
/// strangers of the same name. Of two real instances the one that was there first is fenced a second time, and ends.
const AGAIN: Duration = Duration::from_secs(60);
const LEAVE: Duration = Duration::from_secs(15);
/// How soon a reader that the brokers did not let begin joins again.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// A group reader whose records finish later and out of order (the sink's).
pub struct Reader;

/// What it reads, and how much it may hold.
#[derive(Clone)]
pub struct ReaderConfig {
    pub client: Client,
    pub group: String,
    /// Static member id: the pod.
    pub instance: String,
    /// All with one partition count; a slot is handed out only where every one of them is assigned here.
    pub topics: Vec<String>,
    /// Those of `topics` that bounds do not pause (commands).
    pub never_paused: Vec<String>,
    pub session_timeout: Duration,
    pub bounds: Bounds,
}

/// What may be unfinished before partitions pause; they resume at half of it.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Per partition.
    pub records: usize,
    /// Of the whole reader.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { records: 10_000, bytes: 16 << 20 }
    }
}

/// What the reader tells. Epochs only grow; a completion of an older epoch changes nothing.
#[derive(Debug)]
pub enum Event {
    /// Records of these slots follow.
    Assigned {
        slots: Vec<Slot>,
        epoch: u64,
    },
    /// Start nothing new for these slots, finish what is running, then send `drained` (or drop it): the reader commits and lets go
    /// then, at the latest after min(10 s, session / 3).
    Revoked {
        slots: Vec<Slot>,
        epoch: u64,
        drained: oneshot::Sender<()>,
    },
    Record {
        slot: Slot,
        epoch: u64,
        record: Record,
    },
    /// The last event: `Ok` after `stop`, `Err` where it cannot go on (fenced: exit 75).
    Ended(Result<(), Error>),
}

/// A finished record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinate {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub epoch: u64,
}

/// The outside of a running reader; cheap to clone.
#[derive(Clone)]
pub struct ReaderHandle {
    done: std_mpsc::Sender<Coordinate>,
    proof: Arc<Proof>,
}

impl ReaderHandle {
    /// This record's outcome is durable. Never blocks; of an older epoch it changes nothing.
    pub fn done(&self, coordinate: Coordinate) {
        // A reader that ended does not care, and its successor reads the record again.
        drop(self.done.send(coordinate));
    }

    /// The membership proof (delivery.md 6.3): false while the reader did not run for longer than a third of the session and no
    /// synchronous commit has proved since that this process still is the member it believes to be.
    #[must_use]
    pub fn may_call(&self) -> bool {
        self.proof.holds()
    }
}

/// When the reader ran last, and whether its membership is beyond doubt since.
struct Proof {
    limit: Duration,
    stands: AtomicBool,
    /// Both clocks: the monotonic one may stand still while a machine is suspended.
    turned: Mutex<(Instant, SystemTime)>,
}

impl Proof {
    fn new(session_timeout: Duration) -> Self {
        Self {
            limit: session_timeout / 3,
            stands: AtomicBool::new(true),
            turned: Mutex::new((Instant::now(), SystemTime::now())),
        }
    }

    fn gap(&self) -> Duration {
        let (monotonic, wall) = *lock(&self.turned);
        monotonic.elapsed().max(wall.elapsed().unwrap_or_default())
    }

    fn holds(&self) -> bool {
        self.stands.load(Ordering::Acquire) && self.gap() <= self.limit
    }

    /// Called on every turn of the reader. `prove` asks the broker.
    fn turn(&self, prove: impl FnOnce() -> bool) {
        if !self.holds() {
            // Withdrawn before the clocks move on: in between, nobody may see a fresh turn with a stale proof.
            self.stands.store(false, Ordering::Release);
        }
        *lock(&self.turned) = (Instant::now(), SystemTime::now());
        if !self.stands.load(Ordering::Acquire) && prove() {
            self.stands.store(true, Ordering::Release);
        }
    }
}

impl Reader {
    /// Starts the reader's thread. On `stop` it revokes everything (with the same drain), commits and leaves.
    pub fn spawn(config: ReaderConfig, stop: CancellationToken) -> Result<(ReaderHandle, mpsc::UnboundedReceiver<Event>), Error> {
        let (done, completions) = std_mpsc::channel();
        let (sender, events) = mpsc::unbounded_channel();
        let proof = Arc::new(Proof::new(config.session_timeout));
        let owned = Arc::new(Mutex::new(Owned::new(completions, config.bounds)));
        let consumer = member(&config, &stop, &owned, &sender)?;
        consumer.context().torn(0);
        let handle = ReaderHandle { done, proof: Arc::clone(&proof) };
        let name = config.instance.clone();
        let read = Read {
            config,
            stop,
            consumer,
            owned,
            sender,
            proof,
            copier: Copier::default(),
            cure: Cure::default(),
            committed: Instant::now(),
            fenced: None,
            trouble: Damper::default(),
        };
        std::thread::Builder::new()
            .name(name)
            .spawn(move || read.run())
            .map_err(|source| Error::Settings { what: "starting a reader's thread".to_owned(), source: source.into() })?;
        Ok((handle, events))
    }
}

fn member(
    config: &ReaderConfig,
    stop: &CancellationToken,
    owned: &Arc<Mutex<Owned>>,
    sender: &mpsc::UnboundedSender<Event>,
) -> Result<Member, Error> {
    let before_revoke = {
        let (owned, sender) = (Arc::clone(owned), sender.clone());
        let patience = patience(config);
        move |consumer: &Member| before_revoke(consumer, &mut lock(&owned), &sender, patience)
    };
    let role = Role::Member {
        group: &config.group,
        instance: &config.instance,
        session_timeout: config.session_timeout,
        // The ledger's fence makes reading again safe.
        reset: "earliest",
        queued_kib: 2048,
    };
    settings(&config.client, &role)?
        .create_with_context(Group::new(&config.client, &config.group, &config.topics, stop.clone(), before_revoke))
        .map_err(|source| Error::Settings {
            what: format!("creating a member of `{}`", config.group),
            source: Cause::new(source).into(),
        })
}

/// How long a hand-over may take (C6).
fn patience(config: &ReaderConfig) -> Duration {
    Duration::from_secs(10).min(config.session_timeout / 3)
}

/// Runs inside the rebalance callback, on the reader's thread: the sink finishes what is running, then the offsets are committed.
fn before_revoke(consumer: &Member, owned: &mut Owned, sender: &mpsc::UnboundedSender<Event>, patience: Duration) {
    let (drained, mut finished) = oneshot::channel();
    let slots: Vec<Slot> = owned.slots.iter().copied().collect();
    let deadline = Instant::now() + patience;
    if !slots.is_empty() && sender.send(Event::Revoked { slots, epoch: owned.epoch, drained }).is_ok() {
        while Instant::now() < deadline && matches!(finished.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            owned.complete_waiting(Duration::from_millis(5));
        }
    }
    owned.complete();
    if !consumer.assignment_lost() {
        let offsets = owned.standing(&positions(consumer));
        consumer.context().commit_now(consumer, &offsets);
    }
    owned.clear();
}

struct Read {
    config: ReaderConfig,
    stop: CancellationToken,
    consumer: Member,
    owned: Arc<Mutex<Owned>>,
    sender: mpsc::UnboundedSender<Event>,
    proof: Arc<Proof>,
    copier: Copier,
    cure: Cure,
    committed: Instant,
    fenced: Option<Instant>,
    trouble: Damper,
}

impl Read {
    fn run(mut self) {
        let mut ended = subscribe(&self.consumer, &self.config.topics);
        while ended.is_ok() && !self.stop.is_cancelled() && !self.sender.is_closed() {
            ended = match self.turn() {
                Err(Error::Fenced { .. }) if self.fenced.is_none_or(|last| last.elapsed() > AGAIN) => {
                    tracing::warn!(group = self.config.group, instance = self.config.instance, "fenced; joining again");
                    self.fenced = Some(Instant::now());
                    self.join_again()
                }
                // The brokers' fault, or a right that is missing: everything is let go, and joined for anew.
                Err(error) if error.is_transient() => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(group = self.config.group, instance = self.config.instance, error, "joining again");
                    std::thread::sleep(BEGIN_AGAIN);
                    self.join_again()
                }
                turned => turned,
            };
        }
        // Asking for committed offsets was interrupted by `stop`.
        if matches!(ended, Err(Error::Stopped { .. })) {
            ended = Ok(());
        }
        if ended.is_ok() {
            self.leave();
        }
        // Nobody listens where the receiver was dropped.
        drop(self.sender.send(Event::Ended(ended)));
    }

    /// The old membership is over: what it handed out is let go, without waiting for a broker that would refuse its commit.
    fn join_again(&mut self) -> Result<(), Error> {
        before_revoke(&self.consumer, &mut lock(&self.owned), &self.sender, patience(&self.config));
        self.consumer = member(&self.config, &self.stop, &self.owned, &self.sender)?;
        subscribe(&self.consumer, &self.config.topics)
    }

    fn turn(&mut self) -> Result<(), Error> {
        self.proof.turn(|| prove(&self.consumer, &lock(&self.owned)));
        lock(&self.owned).complete();
        let mut wait = POLL;
        // Bounded, so that completions and commits have their turn while records pour in.
        for _ in 0..500 {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let record = self.copier.copy(&message);
                    drop(message);
                    self.take(record);
                }
                Some(Err(error)) => self.consumer.context().poll_error(error)?,
                None => break,
            }
            wait = Duration::ZERO;
        }
        self.rebalanced()?;
        let assigned = lock(&self.owned).assigned();
        self.cure.apply(&self.consumer, &self.config.topics, &assigned)?;
        self.keep_bounds();
        self.commit();
        Ok(())
    }

    fn take(&mut self, record: Record) {
        let taken = lock(&self.owned).receive(&record);
        if let Some(epoch) = taken {
            self.consumer.context().take_up(&record.topic, record.timestamp);
            // A closed channel ends the loop.
            drop(self.sender.send(Event::Record { slot: record.slot(), epoch, record }));
        }
    }

    fn rebalanced(&mut self) -> Result<(), Error> {
        loop {
            // Taken out first, so that the queue is not locked while a hook looks into it.
            let Some(event) = self.consumer.context().event() else { return Ok(()) };
            match event {
                Rebalanced::Revoked => {}
                Rebalanced::Failed(error) => return Err(error),
                Rebalanced::Assigned(starts) => {
                    let found = slots(starts.keys(), &self.config.topics, true);
                    tracing::info!(group = self.config.group, slots = found.whole.len(), torn = found.torn.len(), "assigned");
                    self.consumer.context().torn(found.torn.len());
                    let (ready, epoch, slots) = {
                        let mut owned = lock(&self.owned);
                        owned.assign(starts, found.whole);
                        let slots: Vec<Slot> = owned.slots.iter().copied().collect();
                        (owned.ready(), owned.epoch, slots)
                    };
                    if slots.is_empty() {
                        continue;
                    }
                    drop(self.sender.send(Event::Assigned { slots, epoch }));
                    let ready = list(ready.iter().map(|(topic, partition)| (topic, *partition, Offset::Invalid)));
                    self.consumer.resume(&ready).map_err(|source| Error::unreachable("resuming partitions", source))?;
                }
            }
        }
    }

    /// Pauses what is full, resumes what has room again; each once (C15).
    fn keep_bounds(&mut self) {
        let never: BTreeSet<&str> = self.config.never_paused.iter().map(String::as_str).collect();
        let (pause, resume) = lock(&self.owned).bounds(&never);
        for (partitions, is_pause) in [(pause, true), (resume, false)] {
            if partitions.is_empty() {
                continue;
            }
            let partitions = list(partitions.iter().map(|(topic, partition)| (topic, *partition, Offset::Invalid)));
            let done = if is_pause { self.consumer.pause(&partitions) } else { self.consumer.resume(&partitions) };
            if let Err(error) = done
                && let Some(left_out) = self.trouble.speak()
            {
                tracing::warn!(%error, left_out, "pausing or resuming partitions");
            }
        }
    }

    fn commit(&mut self) {
        let mut owned = lock(&self.owned);
        if self.committed.elapsed() < COMMIT_EVERY && owned.completed < COMMIT_AFTER {
            return;
        }
        self.committed = Instant::now();
        owned.completed = 0;
        let offsets = owned.to_commit(&positions(&self.consumer));
        if offsets.is_empty() {
            return;
        }
        owned.committed(&offsets);
        let offsets = list(offsets.iter().map(|((topic, partition), next)| (topic, *partition, Offset::Offset(*next))));
        if let Err(error) = self.consumer.commit(&offsets, CommitMode::Async) {
            self.consumer.context().commit_failed(&error);
        }
    }

    /// Intake is over: everything is revoked, with its drain and its commit.
    fn leave(&mut self) {
        let is_member = !lock(&self.owned).assigned().is_empty();
        self.consumer.unsubscribe();
        let deadline = Instant::now() + LEAVE;
        while is_member && Instant::now() < deadline {
            // Whatever else it says comes too late to matter.
            drop(self.consumer.poll(POLL));
            if let Some(Rebalanced::Revoked | Rebalanced::Failed(_)) = self.consumer.context().event() {
                break;
            }
        }
    }
}

/// A commit carries member id and generation: only the living member gets it through. Without partitions there is nothing to call.
fn prove(consumer: &Member, owned: &Owned) -> bool {
    consumer.context().commit_now(consumer, &owned.standing(&positions(consumer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_gap_nobody_may_call_before_the_broker_has_confirmed_the_membership() {
        let proof = Proof::new(Duration::from_secs(45));
        assert!(proof.holds());
        proof.turn(|| unreachable!("nothing to prove while it runs"));
        lock(&proof.turned).1 = SystemTime::now() - Duration::from_secs(16);
        assert!(!proof.holds(), "a stalled reader");
        proof.turn(|| false);
        assert!(!proof.holds(), "the broker did not confirm");
        proof.turn(|| true);
        assert!(proof.holds());
    }
}
