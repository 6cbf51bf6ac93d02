//! A publisher's memory (domain.md 1.1).

use serde::{Deserialize, Serialize};

use crate::RecordKey;

/// A record of `cursor.<source>`: keyed by stream it is the stream's position, keyed `stream/source key` what was last sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Cursor {
    /// Opaque to all but the connector: (name, SHA-256, row) of a file, the since-stamp of a poll.
    #[serde(default)]
    pub position: Option<String>,
    #[serde(default)]
    pub sent: Option<Sent>,
    /// The highest epoch the source was captured under.
    #[serde(default)]
    pub epoch: i64,
}

/// What was last sent of one source key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub version: String,
    /// SHA-256 of the mapped record, base-16.
    pub content_hash: String,
    pub epoch: i64,
    pub sequence: i64,
    /// None while no row of this key could be mapped.
    #[serde(default)]
    pub record_key: Option<RecordKey>,
    #[serde(default)]
    pub deleted: bool,
    /// The open dead letter of this key: the next good row closes it by naming it as its cause.
    #[serde(default)]
    pub letter: Option<String>,
}
