//! What a sink says about itself, once a minute and on change.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, shared::symbols};

symbols! {
    /// Whether the destination takes records.
    DestinationState { Ok, Paused, Unavailable, Resyncing }
}

impl DestinationState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DestinationState::Ok => "ok",
            DestinationState::Paused => "paused",
            DestinationState::Unavailable => "unavailable",
            DestinationState::Resyncing => "resyncing",
            DestinationState::Unknown => "unknown",
        }
    }
}

/// A record of topic `destination`, keyed by destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationStatus {
    pub destination: String,
    pub domains: Vec<String>,
    pub state: DestinationState,
    pub since: Timestamp,
    #[serde(default)]
    pub reason: Option<String>,
    /// Unavailable, or ok and asking to be left alone: the code of its last answer, and when it is asked again.
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub next_at: Option<Timestamp>,
    /// Paused: who and until when.
    #[serde(default)]
    pub by: Option<String>,
    #[serde(default)]
    pub until: Option<Timestamp>,
    pub policy_version: String,
    pub at: Timestamp,
}
