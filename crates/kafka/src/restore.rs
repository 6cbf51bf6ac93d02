use crate::{Client, Error, Record};

/// All committed records of a topic (or of some of its partitions) up to its uncommitted end (C26), in the order of each partition.
/// An empty topic answers at once.
pub async fn read_all(client: &Client, group: &str, topic: &str, partitions: Option<Vec<i32>>) -> Result<Vec<Record>, Error> {
    let _ = (client, group, topic, partitions);
    todo!()
}
