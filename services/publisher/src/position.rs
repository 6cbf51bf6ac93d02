//! Where a stream is read on: opaque to everybody else, in the cursor topic.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Of a drop folder's stream. What was taken of it to the end has an entry per file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilesPosition {
    /// As 0.1 wrote it, before the entries: file name → fingerprint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) taken: BTreeMap<String, String>,
    /// The file that is being taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reading: Option<Reading>,
    /// Somebody asked for what the folder still holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) again: bool,
}

/// How far one file was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) name: String,
    /// The file's fingerprint.
    pub(crate) sha256: String,
    /// The last row that is durable.
    pub(crate) row: u64,
    /// Rows up to there that wait for the end of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deferred: Vec<u64>,
}

/// A file that was taken to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Of its bytes; empty where only the fingerprint is known.
    #[serde(default)]
    pub(crate) sha256: String,
    /// Of its bytes and of all that it was read with.
    pub(crate) fingerprint: String,
    /// When, in microseconds: of two files that name one key the one taken later has the word.
    #[serde(default)]
    pub(crate) at: i64,
    /// Where it was put; whoever writes to it there has not finished it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) away: Option<Away>,
    /// Under an epoch that was left: it is read again.
    #[serde(skip)]
    pub(crate) is_behind: bool,
}

/// A file in `done/`, as it was left there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Away {
    pub(crate) place: String,
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: Option<i64>,
}

/// Of a source that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PollPosition {
    /// The highest stamp of a complete poll, but no later than its start by our clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
}

impl PollPosition {
    /// One that lies ahead of our clock would wait for the future: none, and everything is read.
    pub(crate) fn believed(&self, now: Timestamp) -> Option<Timestamp> {
        self.since.filter(|since| *since <= now)
    }

    /// After a complete poll: one row that is dated ahead moves nobody into the future.
    pub(crate) fn reached(highest: Option<Timestamp>, begun: Timestamp) -> Self {
        Self { since: highest.map(|highest| highest.min(begun)) }
    }
}

/// Of the commands: partition → next offset.
pub(crate) type CommandPosition = BTreeMap<i32, i64>;

/// What cannot be read is a position of another build or connector: from the beginning, which sends nothing twice.
pub(crate) fn read<T: DeserializeOwned + Default>(text: Option<&str>) -> T {
    let Some(text) = text else { return T::default() };
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(%error, position = text, "the position is not readable; the source is read from its beginning");
        T::default()
    })
}

pub(crate) fn write<T: Serialize>(position: &T) -> String {
    serde_json::to_string(position).expect("positions are maps with text keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_never_lies_ahead_of_our_clock() {
        let at = Timestamp::from_micros;
        for (highest, begun, reached) in [(None, 50, None), (Some(40), 50, Some(40)), (Some(9_000), 50, Some(50))] {
            assert_eq!(PollPosition::reached(highest.map(at), at(begun)).since, reached.map(at));
        }
        let position = PollPosition { since: Some(at(50)) };
        assert_eq!(position.believed(at(50)), Some(at(50)));
        assert_eq!(position.believed(at(49)), None, "written by an older build, or before the clock was set right");
    }
}
