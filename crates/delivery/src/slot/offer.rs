//! What goes into the state machine of a slot and what comes out of it.

use std::{sync::Arc, time::Duration};

use model::{Cause, ChangeId, Domain, Lease, LedgerEntry, LetterId, Receipt, Slot, Timestamp, Topical};

use crate::{Budget, Closed, Problem, Suspicion, idempotency_key};

/// What a slot's state machine is told once.
#[derive(Clone, Debug)]
pub struct Setup {
    pub destination: String,
    /// `http`, as receipts name it.
    pub connector: String,
    pub slot: Slot,
    /// The form of a dead letter's id belongs to the dead-letter contract: (destination, domain, partition, offset).
    pub letter_id: fn(&str, Domain, i32, i64) -> LetterId,
    pub budget: Budget,
    /// How long a delivered record may stay unacknowledged before it is asked for again.
    pub acceptance: Duration,
}

/// Where a record lies that is acknowledged when its outcome is durable; partition and epoch are the slot's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    pub topic: Arc<str>,
    pub offset: i64,
}

/// What the destination shall do with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Upsert,
    /// Deleted in golden, or no longer in this destination's scope.
    Remove,
}

/// One golden revision of one key, as this destination sees it.
#[derive(Clone, Debug)]
pub struct Offer<P> {
    pub revision: i64,
    pub change_id: ChangeId,
    pub golden_offset: i64,
    pub occurred_at: Timestamp,
    pub operation: Operation,
    /// A removal because golden says that the record is deleted, not only out of this destination's scope.
    pub is_deleted: bool,
    /// The first gate that is shut for this revision.
    pub closed: Option<Box<Closed>>,
    /// The record itself, which this crate only carries.
    pub payload: P,
}

/// One call to make. Nothing else of this key happens until it is answered.
#[derive(Clone, Debug)]
pub struct Call<P> {
    pub key: Topical,
    pub offer: Offer<P>,
    /// 1 for the first.
    pub attempt: i32,
    pub cause: Cause,
    /// The command that asks for a second call of an accepted revision.
    pub command: Option<String>,
    /// Golden forgot the key (its tombstone passed) before the delete was accepted.
    pub is_absent: bool,
    pub queued_at: Timestamp,
    /// Added to the golden revision in what the destination is told.
    pub lift: i64,
    /// What is remembered of the record's failures.
    pub suspicion: Option<Suspicion>,
    pub(crate) accepted_hash: Option<String>,
}

impl<P> Call<P> {
    /// True where the destination already holds exactly these bytes: accepted without a call.
    #[must_use]
    pub fn is_unchanged(&self, payload_hash: &str) -> bool {
        self.accepted_hash.as_deref() == Some(payload_hash)
    }

    /// The revision as the destination is told it.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.offer.revision.saturating_add(self.lift)
    }

    /// The same for every repeat of this call.
    #[must_use]
    pub fn idempotency_key(&self, destination: &str) -> String {
        let mark = if self.is_absent { Some("absent") } else { self.command.as_deref() };
        idempotency_key(destination, &self.key, self.revision(), mark)
    }
}

/// A chain of durable steps. Its next step is asked for by [`super::SlotState::acknowledged`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job(pub(crate) u64);

/// What the sink has to do. Writes go to the producer in the order of the actions.
#[derive(Clone, Debug)]
pub enum Action<P> {
    WriteLetter(Job, Box<Letter<P>>),
    WriteLedger(Job, Topical, Box<LedgerEntry>),
    /// The tombstone of a key's entry.
    EraseLedger(Job, Topical),
    WriteReceipt(Job, Box<Receipt>),
    WriteLease(Job, Box<Lease>),
    /// Read a payload again; the answer is [`super::SlotState::fetched`].
    Fetch(Topical, Place),
    Done(Ticket),
    Count(Domain, Counted),
}

/// Where a payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The golden topic of the key's domain, in this slot.
    Golden(i64),
    /// The bytes inside a dead letter of this destination, in this slot.
    Letter(i64),
}

/// A dead letter in the making.
#[derive(Clone, Debug)]
pub struct Letter<P> {
    pub id: LetterId,
    pub key: Option<Topical>,
    pub revision: Option<i64>,
    pub change_id: Option<ChangeId>,
    pub problem: Problem,
    pub attempts: i32,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    pub replaces: Option<LetterId>,
    pub payload: P,
}

/// What became of a record, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    Accepted,
    /// Accepted without a call.
    Unchanged,
    Stale,
    /// Not in scope here and never was.
    Skipped,
    Held,
    Superseded,
    DeadLettered,
    /// An accepted revision arrived again from another change.
    Conflict,
    /// An entry of a former owner behind the lease of a newer one.
    LateEntry,
}
