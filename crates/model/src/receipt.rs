//! A destination's answer about one revision (delivery.md 2, 6.4).

use serde::{Deserialize, Serialize};

use crate::{ChangeId, Domain, RecordKey, Timestamp, shared::symbols};

symbols! {
    /// What the destination said.
    ReceiptOutcome { Accepted, Unchanged, Superseded, Refused }
}

symbols! {
    /// Why the revision was offered.
    Cause { Normal, Replay, Resend, Resync, Snapshot }
}

/// A record of `receipt.<destination>`, keyed `domain/key`. One hash chain per (destination, slot).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub destination: String,
    pub domain: Domain,
    pub key: RecordKey,
    pub change_id: ChangeId,
    pub revision: i64,
    pub outcome: ReceiptOutcome,
    /// `deactivated` where a destination cannot delete, and the like.
    #[serde(default)]
    pub note: Option<String>,
    pub attempt: i32,
    pub connector: String,
    /// The destination's own reference (Location, staging row id).
    #[serde(default)]
    pub reference: Option<String>,
    /// The record's number there, where the destination gives one.
    #[serde(default)]
    pub external_id: Option<String>,
    /// Protocol code such as `201`.
    #[serde(default)]
    pub code: Option<String>,
    /// Scrubbed, at most 1 KiB.
    #[serde(default)]
    pub text: Option<String>,
    /// When the source committed the change: propagation counts from here.
    pub occurred_at: Timestamp,
    pub offered_at: Timestamp,
    pub answered_at: Timestamp,
    pub cause: Cause,
    /// The dead letter that this answer closes or opens.
    #[serde(default)]
    pub letter: Option<String>,
    pub seq: i64,
    /// SHA-256, base-16.
    pub previous_hash: String,
    pub hash: String,
}
