use std::time::Duration;

use model::Slot;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{Client, Error, Record};

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
    pub topic: std::sync::Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub epoch: u64,
}

/// The outside of a running reader; cheap to clone.
#[derive(Clone)]
pub struct ReaderHandle {}

impl ReaderHandle {
    /// This record's outcome is durable. Never blocks; of an older epoch it changes nothing.
    pub fn done(&self, coordinate: Coordinate) {
        let _ = coordinate;
        todo!()
    }

    /// The membership proof (delivery.md 6.3): false while the reader did not run for longer than a third of the session and no
    /// synchronous commit has proved since that this process still is the member it believes to be.
    #[must_use]
    pub fn may_call(&self) -> bool {
        todo!()
    }
}

impl Reader {
    /// Starts the reader's thread. On `stop` it revokes everything (with the same drain), commits and leaves.
    pub fn spawn(config: ReaderConfig, stop: CancellationToken) -> Result<(ReaderHandle, mpsc::UnboundedReceiver<Event>), Error> {
        let _ = (config, stop);
        todo!()
    }
}
