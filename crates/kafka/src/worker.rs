//! The exactly-once loop: the words of it (what a processor promises, how a worker is set up). The loop itself is `exactly.rs`.
//!
//! Invariant: what a processor answers and the offsets it answered for become visible together or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Outcome, Outgoing, Slot, Timestamp, Transient};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::exactly::Worker;
use crate::{Client, Error, Fatal, Record};

/// What turns records into outcomes. Called on one thread, the worker's own; it may block there on the runtime
/// (`tokio::runtime::Handle::current().block_on(...)`).
///
/// The state behind it is per slot and holds committed data only; what a running batch changes lies in an overlay that
/// [`committed`](Self::committed) folds in and [`aborted`](Self::aborted) drops.
pub trait Processor: Send {
    /// A slot came: clear its state; its state topics follow through `restore`, then `restored`. Also after a transaction whose
    /// outcome is unknown.
    fn assigned(&mut self, slot: Slot);
    /// One record of a state topic, in the order of its partition.
    fn restore(&mut self, slot: Slot, record: Record);
    /// The state of this slot is complete, up to the uncommitted end: records of it follow.
    fn restored(&mut self, slot: Slot);
    /// The slot belongs to somebody else from now on.
    fn revoked(&mut self, slot: Slot);
    /// Before a transaction is opened: get whatever the batch needs from outside (schemas). Slots that are answered wait, with their
    /// records and paused partitions, and are asked about again with back-off; the others go on.
    fn prepare(&mut self, batch: &[Record]) -> BTreeMap<Slot, Transient>;
    /// One outcome per record, in their order. The letter of a [`Outcome::Reject`] has to be in its `also`, encoded.
    /// [`Outcome::Pause`] keeps the records of its slot until its time.
    fn process(&mut self, batch: &[Record], now: Timestamp) -> Result<Vec<Outcome>, Fatal>;
    /// What is due without a record: released holds, deadlines, ticks. Called on every turn of the loop, before `process`, with at
    /// least one slot restored; the outputs of restored slots only, under the slot whose offsets they go with (P26).
    fn wake(&mut self, now: Timestamp) -> Result<Vec<(Slot, Vec<Outgoing>)>, Fatal>;
    /// What `wake` and `process` answered since the last call is durable.
    fn committed(&mut self);
    /// It is not, and never will be: both are asked again.
    fn aborted(&mut self);
    /// After `aborted`: this answer to `cause`, or of `wake`, is larger than any broker takes ([`Outgoing::LARGEST`]). Answer with
    /// something smaller when asked again; whoever bounds what it makes never hears of it.
    fn unwritable(&mut self, outgoing: &Outgoing, cause: Option<&Record>);
}

/// One worker: one thread, one consumer, one transactional producer, any number of slots.
#[derive(Clone)]
pub struct WorkerConfig {
    pub client: Client,
    /// `mdm.validator`.
    pub group: String,
    /// Static member id, unique in the group: `<pod>-<worker>`.
    pub instance: String,
    /// Stable over restarts: a restart fences and aborts what its predecessor left open.
    pub transactional_id: String,
    /// Label of the metrics: `validator`, `replayer`.
    pub component: &'static str,
    /// Topics read through the group.
    pub inputs: Vec<String>,
    /// Topics from which the state of a slot is restored, full names.
    pub state: Vec<String>,
    /// True: all inputs have one partition count, and a slot is worked on only where every input of it is assigned here. False
    /// (a group of one member, inputs of different counts): no slot starts before every slot's state is restored.
    pub whole: bool,
    pub session_timeout: Duration,
    pub batch: Batch,
    /// Called on every turn and while the worker waits for the brokers: it is not stuck.
    pub alive: Option<Alive>,
}

/// A sign of life.
pub type Alive = Arc<dyn Fn() + Send + Sync>;

impl WorkerConfig {
    /// The settings of kafka.md 4, for the fields that rarely differ.
    #[must_use]
    pub fn new(client: Client, group: &str, instance: &str, transactional_id: &str, component: &'static str) -> Self {
        Self {
            client,
            group: group.to_owned(),
            instance: instance.to_owned(),
            transactional_id: transactional_id.to_owned(),
            component,
            inputs: Vec::new(),
            state: Vec::new(),
            whole: true,
            session_timeout: Duration::from_secs(45),
            batch: Batch::default(),
            alive: None,
        }
    }

    pub(crate) fn alive(&self) {
        self.alive.iter().for_each(|alive| alive());
    }
}

/// When a batch closes: at the first of these.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    pub records: usize,
    pub bytes: usize,
    /// Since its first record.
    pub wait: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self { records: 1000, bytes: 1 << 20, wait: Duration::from_millis(10) }
    }
}

/// What a worker did before it was drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    pub records: u64,
    pub transactions: u64,
    pub aborted: u64,
    pub recycled: u64,
    /// Commits called while a message still counted as outstanding: each costs 100 ms (kafka.md 7), so this stays 0.
    pub hurried: u64,
}

/// Runs the exactly-once loop until `stop`, then drains: finishes the open transaction, commits, leaves. Several workers of one
/// process run side by side, each with its own instance, transactional id and processor.
pub async fn run(config: WorkerConfig, processor: impl Processor + 'static, stop: CancellationToken) -> Result<Drained, Error> {
    // A dropped future ends the thread, too.
    let stop = stop.child_token();
    let _guard = stop.clone().drop_guard();
    let runtime = Handle::current();
    let (sender, ended) = oneshot::channel();
    let name = config.instance.clone();
    let work = move || {
        let _entered = runtime.enter();
        // Nobody waits any more where the future was dropped.
        drop(sender.send(work(&config, processor, &stop, &runtime)));
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(|source| Error::Settings { what: "starting a worker's thread".to_owned(), source: source.into() })?;
    ended.await.map_err(|_| Error::Stopped { what: "worker thread" })?
}

/// A member that is fenced joins again once a minute: a coordinator that was restarted while members joined takes them for
/// strangers of the same name. Of two real instances the one that was there first is fenced a second time, and ends.
const AGAIN: Duration = Duration::from_secs(60);
/// How soon a worker that the brokers did not let begin tries again.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

fn work(
    config: &WorkerConfig,
    mut processor: impl Processor,
    stop: &CancellationToken,
    runtime: &Handle,
) -> Result<Drained, Error> {
    let mut drained = Drained::default();
    let mut fenced: Option<Instant> = None;
    loop {
        let worker = Worker::new(config, &mut processor, stop.clone(), runtime.clone());
        match worker.and_then(|worker| worker.work(&mut drained)) {
            Ok(()) | Err(Error::Stopped { .. }) => return Ok(drained),
            Err(Error::Fenced { id }) if id == config.group && fenced.is_none_or(|last| last.elapsed() > AGAIN) => {
                tracing::warn!(group = config.group, instance = config.instance, "fenced; joining again");
                fenced = Some(Instant::now());
            }
            // The brokers' fault, or a right that is missing: everything is made anew once they answer, from what they know.
            Err(error) if error.is_transient() => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(group = config.group, instance = config.instance, error, "beginning again");
                config.alive();
                if !crate::lookup::wait(runtime, stop, BEGIN_AGAIN) {
                    return Ok(drained);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
