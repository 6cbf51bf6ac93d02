//! What a person or the replayer asks of a stage (delivery.md 2).

use serde::{Deserialize, Serialize};

use crate::{Domain, LetterId, PlanFilter, RecordKey, Stage, Timestamp, shared::symbols};

/// Key of a command that concerns a whole destination: one copy in every partition.
pub const ALL_KEY: &str = "all";

symbols! {
    /// The closed list of acts. To a destination: replay, resend, discard, block, unblock and, for all of it, pause, resume,
    /// resync. To the validator: waive, reject, tombstone. To a source: capture. To the replayer: plan, run, cancel,
    /// discard_letters.
    Act { Replay, Resend, Discard, Block, Unblock, Pause, Resume, Resync, Waive, Reject, Tombstone, Capture, Plan, Run, Cancel, DiscardLetters }
}

/// A record of `command.<stage>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub command_id: String,
    pub act: Act,
    /// Deliver or capture, where a system is both.
    #[serde(default)]
    pub stage: Stage,
    #[serde(default)]
    pub domain: Option<Domain>,
    #[serde(default)]
    pub key: Option<RecordKey>,
    /// The person or service that asks; `local/<name>` without authentication.
    pub actor: String,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub until: Option<Timestamp>,
    pub at: Timestamp,
    #[serde(default)]
    pub plan: Option<String>,
    #[serde(default)]
    pub letter: Option<LetterId>,
    /// Source key to capture again.
    #[serde(default)]
    pub source_key: Option<String>,
    /// Tombstone, waive: the revision or sequence that the act is about.
    #[serde(default)]
    pub revision: Option<i64>,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub source_epoch: Option<i64>,
    #[serde(default)]
    pub source_sequence: Option<i64>,
    /// Replay of the exact bytes: where they lie (`dlq` coordinate).
    #[serde(default)]
    pub exact_offset: Option<i64>,
    /// Plan and discard_letters: which letters.
    #[serde(default)]
    pub filter: Option<PlanFilter>,
}
