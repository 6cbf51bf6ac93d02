//! What may happen to a record. Matched without `_`; nothing is acknowledged before its outcome is durable.

use crate::{DeadLetter, Reason, Slot, Timestamp};

/// One outcome per record. `Err` beside it is reserved for "this process cannot go on".
#[must_use]
#[derive(Debug)]
pub enum Outcome {
    /// Acknowledged once Kafka, or the destination, confirmed it.
    Forward(Vec<Outgoing>),
    /// Counted, acknowledged.
    Skip(SkipReason),
    /// Waits for something named; the records that make the waiting durable go first.
    Hold(Reason, Vec<Outgoing>),
    /// Dead letter durable first, then acknowledged; other keys flow.
    Reject(Box<Rejection>),
    /// The other side is down: order kept, no attempt counted, no dead letter.
    Pause { until: Timestamp, cause: Transient },
}

/// Why a record needs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    Duplicate,
    Stale,
    OutOfScope,
    Echo,
    Superseded,
}

/// A record that a person must look at, with what travels beside its letter (findings, held state).
#[derive(Debug)]
pub struct Rejection {
    pub letter: DeadLetter,
    pub also: Vec<Outgoing>,
}

/// Trouble of the infrastructure, never of the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {detail}")]
pub struct Transient {
    /// `registry`, `kafka`, `destination`.
    pub what: &'static str,
    pub detail: String,
}

/// One record to write. The partition is explicit: no client ever chooses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Full topic name, prefix included.
    pub topic: String,
    pub slot: Slot,
    pub key: String,
    /// None is a tombstone, said on purpose.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Outgoing {
    /// No record is larger than this, by [`Outgoing::size`]. The client library takes so much (`message.max.bytes`, which `kafka` sets
    /// from here), brokers take 1,048,588 bytes a batch (`max.message.bytes`, in the list of topics and looked at by every start): what
    /// lies between is for the batch's own header, and for content that compression makes longer.
    pub const LARGEST: usize = 1_000_000;
    /// Framing of a record, and of each header, as the client library counts it.
    const FRAME: usize = 36;
    const HEADER_FRAME: usize = 10;

    /// What it takes on the wire, at most.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| Self::HEADER_FRAME + name.len() + value.len()).sum();
        Self::FRAME + self.key.len() + self.value.as_ref().map_or(0, Vec::len) + headers
    }

    /// Whether it can be written at all.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.size() <= Self::LARGEST
    }
}
