use crate::{Client, Error, Record};

/// Reads single records by their coordinates (replay of the exact bytes, provenance of a letter). Cheap to clone; one at a time.
#[derive(Clone)]
pub struct Fetcher {}

impl Fetcher {
    /// `group` is named for its rights, never joined.
    pub fn new(client: &Client, group: &str) -> Result<Self, Error> {
        let _ = (client, group);
        todo!()
    }

    /// The committed record with exactly this offset. None: compacted away, past retention, a marker, aborted, or not there yet.
    pub async fn fetch(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<Record>, Error> {
        let _ = (topic, partition, offset);
        todo!()
    }
}
