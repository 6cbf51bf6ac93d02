//! What a publisher says about its source, once a minute and on change.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, shared::symbols};

symbols! {
    /// Whether the source can be read.
    SourceState { Ok, Unavailable }
}

impl SourceState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SourceState::Ok => "ok",
            SourceState::Unavailable => "unavailable",
            SourceState::Unknown => "unknown",
        }
    }
}

/// A record of topic `source`, keyed by source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    pub source: String,
    /// Unknown: it has not been read yet.
    pub state: SourceState,
    pub since: Timestamp,
    /// Unavailable: why, and when it is asked again.
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub next_at: Option<Timestamp>,
    /// When it was last read to its end.
    #[serde(default)]
    pub read_at: Option<Timestamp>,
    #[serde(default)]
    pub streams: Vec<StreamStatus>,
    pub policy_version: String,
    pub at: Timestamp,
}

/// One stream of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStatus {
    #[serde(default)]
    pub stream: String,
    #[serde(default)]
    pub domain: String,
    /// The newest stamp that was read: a polled source is asked for what came after.
    #[serde(default)]
    pub cursor: Option<Timestamp>,
}
