//! Rule violations.

use serde::{Deserialize, Serialize};

use crate::{ChangeId, Domain, RecordKey, Timestamp};

/// What a finding does to the change that caused it (architecture.md 4). Ordered by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// Counted.
    Info,
    /// Published with the finding attached.
    Warn,
    /// Waits in `held` until a steward decides.
    Quarantine,
    /// Never golden: dead letter.
    Block,
    /// A symbol that this build does not know: the heaviest, so that nothing passes by misreading.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Severity {
    /// As the landscape writes it and metrics label it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Unknown => "unknown",
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Quarantine => "quarantine",
            Severity::Block => "block",
        }
    }
}

/// One rule violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `ITM-02`.
    pub rule_id: String,
    pub severity: Severity,
    /// RFC 6901 pointer into data; empty for the whole record.
    #[serde(default)]
    pub path: String,
    pub message: String,
    #[serde(default)]
    pub observed: Option<String>,
    #[serde(default)]
    pub reference_version: Option<String>,
}

/// What became of the change that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FindingOutcome {
    Golden,
    Held,
    Refused,
    Stale,
    #[default]
    #[serde(other)]
    Unknown,
}

/// A record of topic `finding`: all findings of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingReport {
    pub domain: Domain,
    pub key: RecordKey,
    pub change_id: ChangeId,
    pub source: String,
    pub source_epoch: i64,
    pub source_sequence: i64,
    pub outcome: FindingOutcome,
    pub policy_version: String,
    pub at: Timestamp,
    pub findings: Vec<Finding>,
}
