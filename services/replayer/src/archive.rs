//! Single records read back from where they lie: letters for their bytes, golden records for judging.

use kafka::{Fetcher, Record};
use tokio::runtime::Handle;

/// A record that could not be read back right now.
#[derive(Debug, thiserror::Error)]
#[error("reading {topic} {partition}@{offset}: {detail}")]
pub(crate) struct Unreachable {
    topic: String,
    partition: i32,
    offset: i64,
    detail: String,
}

/// The log, or what a test says lies in it.
pub(crate) enum Archive {
    Log {
        fetcher: Fetcher,
        runtime: Handle,
    },
    #[cfg(test)]
    Memory(std::collections::HashMap<(String, i32, i64), Record>),
}

impl Archive {
    /// None: compaction or retention removed it.
    pub(crate) fn fetch(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<Record>, Unreachable> {
        match self {
            Archive::Log { fetcher, runtime } => runtime
                .block_on(fetcher.fetch(topic, partition, offset))
                .map_err(|error| Unreachable { topic: topic.to_owned(), partition, offset, detail: error.to_string() }),
            #[cfg(test)]
            Archive::Memory(records) => Ok(records.get(&(topic.to_owned(), partition, offset)).cloned()),
        }
    }
}
