//! A bulk replay as an object (delivery.md 8).

use serde::{Deserialize, Serialize};

use crate::{Timestamp, shared::symbols};

/// Which letters. Every set field must match; the empty filter is refused unless `all` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PlanFilter {
    #[serde(default)]
    pub ids: Vec<String>,
    /// A destination, a source or `validator`.
    #[serde(default)]
    pub system: Option<String>,
    #[serde(default)]
    pub domain: Option<String>,
    #[serde(default)]
    pub key: Option<String>,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub class: Option<String>,
    /// Letters opened at or after.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Every open letter, said on purpose.
    #[serde(default)]
    pub all: bool,
    /// Send the stored bytes instead of the newest golden state.
    #[serde(default)]
    pub exact: bool,
    /// Also letters that were replayed five times or more.
    #[serde(default)]
    pub again: bool,
    /// Also to a destination that is paused or unavailable: it waits there.
    #[serde(default)]
    pub queue: bool,
    /// The discarded letters instead of the open ones.
    #[serde(default)]
    pub discarded: bool,
    /// At most this many letters; 0 means the default of 1,000.
    #[serde(default)]
    pub limit: i32,
    /// Letters a second and destination; 0 means the default of 10.
    #[serde(default)]
    pub rate: i32,
}

symbols! {
    /// Life of a plan.
    PlanState { Planned, Running, Done, Cancelled }
}

/// A record of `plan`, keyed by plan id. A plan holds no list: it covers the letters open when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub id: String,
    pub filter: PlanFilter,
    pub state: PlanState,
    pub actor: String,
    #[serde(default)]
    pub reason: Option<String>,
    pub made_at: Timestamp,
    /// 30 minutes after it was made.
    pub valid_until: Timestamp,
    pub policy_version: String,
    /// What the letters come to when judged at planning time.
    pub would_apply: i32,
    pub superseded: i32,
    pub still_failing: i32,
    pub unreadable: i32,
    /// Replayed five times or more: need `again`.
    pub exhausted: i32,
    /// Progress of the run: letters sent, and what became of them.
    pub sent: i32,
    pub accepted: i32,
    pub refused: i32,
    /// Destinations in the plan that were paused or unavailable when it was made.
    #[serde(default)]
    pub not_ready: Vec<String>,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Why the plan was refused or ended early.
    #[serde(default)]
    pub error: Option<String>,
}
