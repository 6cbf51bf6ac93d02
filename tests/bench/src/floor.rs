//! The floor under the validator: the same loop, the same batches, the same records, and nothing done with them.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use kafka::{Client, Fatal, Processor, Record, WorkerConfig};
use model::{Outcome, Outgoing, Slot, Timestamp, Transient};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::report::say;

#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[arg(long)]
    brokers: String,
    /// Group, and the beginning of the transactional ids
    #[arg(long)]
    group: String,
    #[arg(long)]
    input: String,
    #[arg(long)]
    output: String,
    #[arg(long)]
    workers: usize,
}

/// Forwards each record as it is.
struct PassThrough {
    output: String,
}

impl Processor for PassThrough {
    fn assigned(&mut self, _: Slot) {}
    fn restore(&mut self, _: Slot, _: Record) {}
    fn restored(&mut self, _: Slot) {}
    fn revoked(&mut self, _: Slot) {}

    fn prepare(&mut self, _: &[Record]) -> BTreeMap<Slot, Transient> {
        BTreeMap::new()
    }

    fn process(&mut self, batch: &[Record], _: Timestamp) -> Result<Vec<Outcome>, Fatal> {
        let forward = |record: &Record| {
            let headers = record.headers.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
            let key = record.key_text().unwrap_or_default().to_owned();
            Outcome::Forward(vec![Outgoing {
                topic: self.output.clone(),
                slot: record.slot(),
                key,
                value: record.value.clone(),
                headers,
            }])
        };
        Ok(batch.iter().map(forward).collect())
    }

    fn wake(&mut self, _: Timestamp) -> Result<Vec<(Slot, Vec<Outgoing>)>, Fatal> {
        Ok(Vec::new())
    }

    fn committed(&mut self) {}
    fn aborted(&mut self) {}
    fn unwritable(&mut self, _: &Outgoing, _: Option<&Record>) {}
}

/// Until SIGTERM; then says what it did.
pub(crate) async fn run(options: Options) -> Result<()> {
    let options = Arc::new(options);
    let stop = CancellationToken::new();
    let mut workers = JoinSet::new();
    for worker in 0..options.workers {
        let name = format!("{}-{worker}", options.group);
        let client = Client::new(options.brokers.clone(), name.clone());
        let mut config = WorkerConfig::new(client, &options.group, &name, &name, "floor");
        config.inputs = vec![options.input.clone()];
        workers.spawn(kafka::run(config, PassThrough { output: options.output.clone() }, stop.clone()));
    }
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        _ = terminated.recv() => stop.cancel(),
        Some(ended) = workers.join_next() => {
            ended??;
            anyhow::bail!("a worker ended by itself");
        }
    }
    while let Some(ended) = workers.join_next().await {
        let drained = ended??;
        say(&format!("a worker drained records={} transactions={}", drained.records, drained.transactions));
    }
    Ok(())
}
