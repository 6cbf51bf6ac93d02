//! Dead letters as they travel: the letter itself and its state (delivery.md 8). Contract and planning: crate `deadletter`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Domain, Finding, RecordKey, Timestamp, shared::symbols};

symbols! {
    /// Where in the flow it failed.
    Stage { Capture, Validate, Deliver }
}

impl Stage {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Capture => "capture",
            Stage::Validate => "validate",
            Stage::Deliver => "deliver",
            Stage::Unknown => "unknown",
        }
    }
}

symbols! {
    /// Closed list of causes (experience.md 2): a broken rule, a needed record missing past its deadline, a mapping, an
    /// unreadable record, a destination's no, spent attempts while the destination served others, our own fault.
    LetterClass { Data, Reference, Mapping, Schema, Refused, Exhausted, Internal }
}

impl LetterClass {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LetterClass::Data => "data",
            LetterClass::Reference => "reference",
            LetterClass::Mapping => "mapping",
            LetterClass::Schema => "schema",
            LetterClass::Refused => "refused",
            LetterClass::Exhausted => "exhausted",
            LetterClass::Internal => "internal",
            LetterClass::Unknown => "unknown",
        }
    }
}

symbols! {
    /// Life of a dead letter.
    LetterState { Open, Replaying, Resolved, Superseded, Discarded, Expired }
}

impl LetterState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LetterState::Open => "open",
            LetterState::Replaying => "replaying",
            LetterState::Resolved => "resolved",
            LetterState::Superseded => "superseded",
            LetterState::Discarded => "discarded",
            LetterState::Expired => "expired",
            LetterState::Unknown => "unknown",
        }
    }
}

/// Where it failed + coordinate of the record that failed: `mes-ulm/item/3@1851`; of a source `erp/item/<hash>`. Deterministic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LetterId(pub String);

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A record of `dlq.<stage>`: everything a person needs to decide and the replayer needs to replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub id: LetterId,
    pub stage: Stage,
    /// `validator`, a source or a destination.
    pub system: String,
    /// None where not even the domain's record could be read.
    #[serde(default)]
    pub domain: Option<Domain>,
    #[serde(default)]
    pub key: Option<RecordKey>,
    /// Deliver: the golden revision that was refused.
    #[serde(default)]
    pub revision: Option<i64>,
    #[serde(default)]
    pub change_id: Option<String>,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub source_key: Option<String>,
    #[serde(default)]
    pub source_epoch: Option<i64>,
    #[serde(default)]
    pub source_sequence: Option<i64>,
    /// Coordinate of the record that failed; a source's letter has none.
    #[serde(default)]
    pub topic: Option<String>,
    #[serde(default)]
    pub partition: Option<i32>,
    #[serde(default)]
    pub offset: Option<i64>,
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
    #[serde(default)]
    pub schema_id: Option<i32>,
    pub class: LetterClass,
    /// Stable, with a page `docs/errors/<CODE>.md`; a broken rule's letter carries the rule id.
    pub code: String,
    /// RFC 6901 pointer, or the column of a row.
    #[serde(default)]
    pub field: Option<String>,
    /// The value that was refused, scrubbed.
    #[serde(default)]
    pub observed: Option<String>,
    /// In words, at most 1 KiB, scrubbed.
    pub message: String,
    /// Who can fix it: the office or owner that the landscape names.
    #[serde(default)]
    pub owner: Option<String>,
    #[serde(default)]
    pub findings: Vec<Finding>,
    pub attempts: i32,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    /// Service and version that wrote the letter.
    pub service: String,
    pub policy_version: String,
    #[serde(default)]
    pub replaces: Option<LetterId>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The failed record's bytes: framed Avro, or a source's raw row (cut at 512 KiB and said so in `truncated`).
    #[serde(with = "crate::held::bytes")]
    pub payload: Vec<u8>,
    #[serde(default)]
    pub truncated: bool,
    /// The payload sent to the destination, where there was one (cut at 8 KiB).
    #[serde(default)]
    pub sent: Option<String>,
}

/// A record of `deadletter`, keyed by letter id: where the letter stands and where it lies. Written by the replayer only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterStatus {
    pub id: LetterId,
    pub state: LetterState,
    pub stage: Stage,
    pub system: String,
    #[serde(default)]
    pub domain: Option<Domain>,
    #[serde(default)]
    pub key: Option<RecordKey>,
    #[serde(default)]
    pub revision: Option<i64>,
    #[serde(default)]
    pub change_id: Option<String>,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub source_key: Option<String>,
    #[serde(default)]
    pub source_epoch: Option<i64>,
    #[serde(default)]
    pub source_sequence: Option<i64>,
    pub class: LetterClass,
    pub code: String,
    #[serde(default)]
    pub field: Option<String>,
    pub message: String,
    #[serde(default)]
    pub owner: Option<String>,
    /// Where the letter lies: topic, partition, offset in `dlq.<stage>`.
    pub letter_topic: String,
    pub letter_partition: i32,
    pub letter_offset: i64,
    pub opened_at: Timestamp,
    pub changed_at: Timestamp,
    /// Who or what moved it to this state.
    pub by: String,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub plan: Option<String>,
    /// How often it was replayed.
    pub hops: i32,
    /// What closed it: a revision, another letter, a person.
    #[serde(default)]
    pub closed_by: Option<String>,
}
