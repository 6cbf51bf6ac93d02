//! Where a stream is read on: opaque to everybody else, in the cursor topic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Of a drop folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilePosition {
    /// File name → SHA-256 (of the file and its side tables) that was taken to its end.
    #[serde(default)]
    pub(crate) taken: BTreeMap<String, String>,
    /// The file that is being taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reading: Option<Reading>,
}

/// How far one file was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) name: String,
    pub(crate) sha256: String,
    /// The last row that is durable.
    pub(crate) row: u64,
}

/// Of a source that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PollPosition {
    /// The highest stamp of a complete poll.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<model::Timestamp>,
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
