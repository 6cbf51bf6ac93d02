//! What is known about a change and about a golden record, beside the data (domain.md 4.2).

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{Date, Finding, Timestamp};

/// A UUID that is text in every encoding. Time-ordered (UUIDv7) where Millrace creates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ChangeId(pub Uuid);

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ChangeId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for ChangeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChangeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What the source did. An upsert is full state, never a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operation {
    Upsert,
    Delete,
    /// Initial load or resync.
    Snapshot,
    /// A symbol that this build does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Where the owner's release workflow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ApprovalState {
    Draft,
    Pending,
    Approved,
    Rejected,
    Retired,
    #[default]
    #[serde(other)]
    Unknown,
}

/// The owner's release of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Approval {
    pub state: ApprovalState,
    #[serde(default)]
    pub by: Option<String>,
    #[serde(default)]
    pub at: Option<Timestamp>,
    #[serde(default)]
    pub request: Option<String>,
}

/// Orders the changes of one source for one record key: epoch first, then sequence (domain.md 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Fence {
    pub epoch: i64,
    pub sequence: i64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

/// Meta of a proposed change, written by a publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeMeta {
    pub change_id: ChangeId,
    /// System name in the landscape.
    pub source: String,
    /// Entity and id in the source's own words.
    pub source_entity: String,
    pub source_key: String,
    /// Opaque, the source's own (ETag, stamp).
    #[serde(default)]
    pub source_version: String,
    pub source_epoch: i64,
    pub source_sequence: i64,
    pub operation: Operation,
    pub occurred_at: Timestamp,
    pub captured_at: Timestamp,
    #[serde(default)]
    pub author: Option<String>,
    #[serde(default)]
    pub approval: Option<Approval>,
    pub correlation_id: ChangeId,
    /// Direct cause: a change id or a dead-letter id.
    #[serde(default)]
    pub causation_id: Option<String>,
    /// Systems the change has passed through: the loop guard.
    #[serde(default)]
    pub origin: Vec<String>,
}

impl ChangeMeta {
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { epoch: self.source_epoch, sequence: self.source_sequence }
    }
}

/// A system confirmed the record, perhaps under its own number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    pub at: Timestamp,
    #[serde(default)]
    pub external_id: Option<String>,
}

/// Meta of an accepted record, written by the validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenMeta {
    /// Golden revision: only grows, also over deletes.
    pub revision: i64,
    /// The change (or the receipt) that caused it.
    pub change_id: ChangeId,
    pub operation: Operation,
    pub policy_version: String,
    /// Owner of the main field group.
    pub owner: String,
    pub occurred_at: Timestamp,
    pub accepted_at: Timestamp,
    pub correlation_id: ChangeId,
    #[serde(default)]
    pub causation_id: Option<String>,
    #[serde(default)]
    pub approval: Option<Approval>,
    #[serde(default)]
    pub valid_from: Option<Date>,
    /// Exclusive; null is open.
    #[serde(default)]
    pub valid_to: Option<Date>,
    /// Source → last accepted (epoch, sequence).
    #[serde(default)]
    pub fence: BTreeMap<String, Fence>,
    #[serde(default)]
    pub confirmations: BTreeMap<String, Confirmation>,
    /// Warnings that travelled along.
    #[serde(default)]
    pub findings: Vec<Finding>,
    #[serde(default)]
    pub origin: Vec<String>,
}
