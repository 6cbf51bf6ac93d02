//! Per destination: the last revision offered and accepted of every key, and who owns a slot (delivery.md 2).

use serde::{Deserialize, Serialize};

use crate::{ChangeId, Receipt, Timestamp, shared::symbols};

/// A record of `ledger.<destination>`: keyed `domain/key` it holds an entry, keyed `lease` a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Ledger {
    #[serde(default)]
    pub entry: Option<LedgerEntry>,
    #[serde(default)]
    pub lease: Option<Lease>,
}

/// The key of the lease record in every ledger partition. A key without `/` is reserved: a domain/key has one.
pub const LEASE_KEY: &str = "lease";

symbols! {
    /// Where a key stands at a destination; see [`LedgerEntry`].
    LedgerState { Clear, Delivered, Waiting, Parked, Blocked, Deleted }
}

/// Everything durable about one key at one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct LedgerEntry {
    #[serde(default)]
    pub offered: Option<Offered>,
    #[serde(default)]
    pub accepted: Option<Accepted>,
    #[serde(default)]
    pub state: LedgerState,
    /// Waiting: the gate. Parked, blocked: refused, blocked. Otherwise unknown.
    #[serde(default)]
    pub reason: crate::Reason,
    /// What it waits for in words: a date, a record, who blocked it and why.
    #[serde(default)]
    pub detail: Option<String>,
    #[serde(default)]
    pub since: Option<Timestamp>,
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Parked: class, code and letter of the refusal.
    #[serde(default)]
    pub class: Option<crate::LetterClass>,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub attempts: i32,
    #[serde(default)]
    pub letter: Option<String>,
    /// Parked because the destination holds a revision above golden's newest: the one that it named, in its own count.
    #[serde(default)]
    pub revision_there: Option<i64>,
    /// A call after the last acceptance may have had its effect: nothing is known of what the destination holds, and nothing is
    /// left out as unchanged or as not there.
    #[serde(default)]
    pub in_doubt: bool,
    /// Added to the golden revision in what this destination is told of the key, because it holds revisions of a former life.
    #[serde(default)]
    pub lift: i64,
    /// The receipt last written or about to be written for this key: after a crash it is sent again, identical.
    #[serde(default)]
    pub receipt: Option<Receipt>,
    /// Kafka offset of the writer's own lease record: a late write of a former owner is recognised by it.
    #[serde(default)]
    pub lease_epoch: i64,
}

/// The newest golden revision that was taken up for this key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    pub revision: i64,
    pub change_id: ChangeId,
    /// Where its payload lies: golden topic of the domain, same slot.
    pub golden_offset: i64,
}

/// What the destination said it applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub revision: i64,
    pub change_id: ChangeId,
    /// SHA-256 of the mapped payload, base-16: an unchanged payload needs no call.
    pub payload_hash: String,
    pub at: Timestamp,
    #[serde(default)]
    pub external_id: Option<String>,
}

/// Who owns the slot, and the head of its receipt chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Lease {
    pub owner: String,
    /// Offset of the first lease record of this ownership, absent in that record itself: every entry that the owner writes carries
    /// it, so that an entry of a former owner behind this lease is recognised as late.
    #[serde(default)]
    pub epoch: Option<i64>,
    /// False while owned; true after an orderly hand-over.
    pub clean: bool,
    pub receipt_seq: i64,
    #[serde(default)]
    pub receipt_hash: String,
    #[serde(default)]
    pub caught_up_at: Option<Timestamp>,
    /// Entries of this epoch and below are in doubt: their owner did not hand over, and may have called what nobody reads again.
    #[serde(default)]
    pub doubt_epoch: Option<i64>,
    /// An operator's pause outlives a restart here.
    #[serde(default)]
    pub paused: Option<Paused>,
}

/// An operator's pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    pub by: String,
    pub reason: String,
    #[serde(default)]
    pub until: Option<Timestamp>,
}
