//! Who did what and why (delivery.md 14.6). One hash chain per writing instance.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A record of `audit`, keyed by actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The instance that wrote it: `tracker/<pod>`, `replayer`.
    pub writer: String,
    pub seq: i64,
    pub previous_hash: String,
    pub hash: String,
    pub actor: String,
    #[serde(default)]
    pub roles: Vec<String>,
    /// `dlq.replay`, `destination.pause`, ...
    pub act: String,
    /// What it was done to: a letter, a plan, `destination/mes-ulm`.
    pub object: String,
    #[serde(default)]
    pub reason: Option<String>,
    /// Command or plan id.
    #[serde(default)]
    pub reference: Option<String>,
    pub at: Timestamp,
}
