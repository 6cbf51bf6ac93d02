//! A landscape of its own for each measurement: topics under a fresh prefix, real processes, and the counting of what came out.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use devstack::{Stack, StackOptions};
use kafka::{Client, FollowConfig, Followed, Follower, Record, Start};
use tokio_util::sync::CancellationToken;

use crate::records::Records;

/// How long a process may take to be ready, or a topic to be complete.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Topics, processes and a producer.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) records: Records,
}

impl World {
    /// Topics and schemas, with the units golden; no process runs.
    ///
    /// # Errors
    /// When something does not start.
    pub(crate) async fn start(seed: u64) -> Result<Self> {
        let landscape = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("landscape");
        let stack = Stack::start(StackOptions::new(landscape)).await?;
        let records = Records::open(&stack, seed).await?;
        records.units().await?;
        Ok(Self { stack, records })
    }

    /// Waits until every started process is ready.
    ///
    /// # Errors
    /// When one ends or is not ready in time.
    pub(crate) fn ready(&mut self) -> Result<()> {
        tokio::task::block_in_place(|| self.stack.fleet.wait_ready(PATIENCE))
    }

    /// Process id of a service.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn pid(&mut self, name: &str) -> Result<i32> {
        let process = self.stack.fleet.running().find(|process| process.name == name);
        Ok(process.with_context(|| format!("finding the process {name}"))?.pid())
    }
}

/// The first `count` committed records of a topic, as soon as they are there.
///
/// # Errors
/// When they do not come in time.
pub(crate) async fn first_records(client: &Client, topic: &str, count: usize) -> Result<Vec<Record>> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let topics = vec![(topic.to_owned(), Start::Beginning)];
    let mut followed = Follower::spawn(FollowConfig { client: client.clone(), group: "bench".to_owned(), topics }, stop)?;
    let mut records = Vec::with_capacity(count);
    let reading = async {
        while records.len() < count {
            match followed.recv().await {
                Some(Followed::Record(record)) => records.push(record),
                Some(Followed::CaughtUp) => {}
                None => bail!("the follower of {topic} ended"),
            }
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(read) => read?,
        Err(_) => bail!("{topic} has {} of {count} records after {} s", records.len(), PATIENCE.as_secs()),
    }
    Ok(records)
}

/// What is wrong with an output that must hold each input once, in the order of its partition.
pub(crate) fn differences(input: &[Record], output: &[Record], same: impl Fn(&Record, &Record) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    if input.len() != output.len() {
        problems.push(format!("{} records went in, {} came out", input.len(), output.len()));
    }
    let mut expected: HashMap<i32, std::collections::VecDeque<&Record>> = HashMap::new();
    for record in input {
        expected.entry(record.partition).or_default().push_back(record);
    }
    for record in output {
        let wanted = expected.get_mut(&record.partition).and_then(std::collections::VecDeque::pop_front);
        if !wanted.is_some_and(|wanted| wanted.key == record.key && same(wanted, record)) {
            problems.push(format!("{} {}@{} is not what belongs there", record.topic, record.partition, record.offset));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64, key: &str) -> Record {
        let timestamp = model::Timestamp::default();
        Record { topic: "t".into(), partition, offset, timestamp, key: Some(key.into()), value: None, headers: Vec::new() }
    }

    #[test]
    fn a_lost_a_repeated_and_a_swapped_record_make_a_run_void() {
        let input = [record(0, 0, "a"), record(0, 1, "b"), record(1, 0, "c")];
        let judge = |output: &[Record]| differences(&input, output, |_, _| true).len();
        assert_eq!(judge(&[record(1, 4, "c"), record(0, 4, "a"), record(0, 5, "b")]), 0);
        assert_eq!(judge(&[record(0, 4, "a"), record(0, 5, "b")]), 1);
        assert_eq!(judge(&[record(0, 4, "b"), record(0, 5, "a"), record(1, 4, "c")]), 2);
        assert_eq!(judge(&[record(0, 4, "a"), record(0, 5, "a"), record(0, 6, "b"), record(1, 4, "c")]), 3);
    }
}
