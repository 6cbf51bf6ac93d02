//! From the append to `change` until the plant's first byte, through validator and sink, open loop: a record is written when its
//! time has come, whatever became of those before.
//!
//! The append is the broker's own stamp of the change (milliseconds, cut), the first byte is when the endpoint has the headers.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kafka::Record;
use model::Domain;

use crate::{
    endpoint::{Endpoint, violations},
    records::SOURCE,
    report::{Report, percentile, say},
    world::{PATIENCE, World, first_records},
};

#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Records a second
    #[arg(long, default_value_t = 100)]
    pub(crate) rate: u32,
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u32,
    /// Records before those that count: connections open, schemas known
    #[arg(long, default_value_t = 300)]
    pub(crate) warm: usize,
    /// A second destination takes everything, too, and is down from half time on: what does the first one notice?
    #[arg(long)]
    pub(crate) outage: bool,
}

pub(crate) async fn run(report: &mut Report, Options { rate, seconds, warm, outage }: Options) -> Result<()> {
    say(&format!("\npropagation: {rate} records a second, {seconds} s"));
    let mut world = World::start(report.seed).await?;
    let endpoint = Endpoint::start(Duration::ZERO)?;
    world.stack.fleet.validator("validator")?;
    world.stack.fleet.sink("plant", &endpoint.url())?;
    let mut other = if outage { Some(Endpoint::start(Duration::ZERO)?) } else { None };
    if let Some(other) = &other {
        world.stack.fleet.sink("other", &other.url())?;
    }
    world.ready()?;

    let count = usize::try_from(rate * seconds).context("counting records")?;
    let changes: Result<Vec<_>> =
        (0..warm + count).map(|number| world.records.change(world.records.item(number, 1)?, 1)).collect();
    let changes = changes?;
    let start = Instant::now();
    let mut deliveries = Vec::with_capacity(changes.len());
    let mut late = 0;
    for (change, turn) in changes.iter().zip(0_u32..) {
        if deliveries.len() == warm + count / 2 {
            drop(other.take());
        }
        let due = start + Duration::from_secs(turn.into()) / rate;
        tokio::time::sleep_until(due.into()).await;
        late += usize::from(due.elapsed() > Duration::from_millis(20));
        deliveries.push(world.records.enqueue(change).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    wait(&endpoint, &mut world, changes.len()).await?;

    let calls = endpoint.calls();
    let last = changes.iter().map(|change| (change.key.clone(), 1)).collect();
    report.judge("propagation", violations(&calls, &last));
    let arrived: HashMap<&str, i64> = calls.iter().map(|call| (call.key.as_str(), call.wall)).collect();
    let appended = stamps(&world, &world.stack.topics.change(SOURCE, Domain::Item), changes.len()).await?;
    let accepted = stamps(&world, &world.stack.topics.golden(Domain::Item), changes.len()).await?;
    let (mut total, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes.iter().skip(warm) {
        let key = change.key.as_str();
        let stamp = |stamps: &HashMap<String, i64>| stamps.get(key).copied().with_context(|| format!("finding {key}"));
        let (appended, accepted) = (stamp(&appended)?, stamp(&accepted)?);
        let arrived = *arrived.get(key).with_context(|| format!("finding the call of {key}"))?;
        total.push(millis(arrived - appended));
        first.push(millis(accepted - appended));
        second.push(millis(arrived - accepted));
    }
    let figure = |figures: &[f64], percent: f64| format!("{:.1} ms", percentile(figures, percent));
    report.row("propagation, append to first byte, p50", figure(&total, 50.0), "< 30 ms");
    report.row("propagation, append to first byte, p99", figure(&total, 99.0), "< 100 ms");
    report.row("  longest", figure(&total, 100.0), "");
    report.row("  append of the change to append of golden, p50", figure(&first, 50.0), "");
    report.row("  append of the change to append of golden, p99", figure(&first, 99.0), "");
    report.row("  append of golden to first byte, p50", figure(&second, 50.0), "");
    report.row("  append of golden to first byte, p99", figure(&second, 99.0), "");
    if outage {
        let (before, during) = total.split_at(total.len() / 2);
        let ratio = percentile(during, 99.0) / percentile(before, 99.0);
        report.row("  p99 while another destination is down / before", format!("{ratio:.2}"), "≤ 1.5");
        report.row("  p99 before", figure(before, 99.0), "");
        report.row("  p99 during", figure(during, 99.0), "");
    }
    report.row("  records written more than 20 ms after their time", late.to_string(), "");
    Ok(())
}

async fn wait(endpoint: &Endpoint, world: &mut World, count: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let arrived = endpoint.calls().iter().filter(|call| call.key.starts_with("B-")).count();
        if arrived >= count {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{arrived} of {count} records arrived within {} s", PATIENCE.as_secs());
        }
        world.stack.fleet.check_alive()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Key → when the broker appended it.
async fn stamps(world: &World, topic: &str, count: usize) -> Result<HashMap<String, i64>> {
    let records = first_records(&world.stack.client("bench-stamps"), topic, count).await?;
    let stamp = |record: &Record| Some((record.key_text()?.to_owned(), record.timestamp.micros()));
    Ok(records.iter().filter_map(stamp).collect())
}

fn millis(micros: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a time far below a year")]
    let micros = micros as f64;
    micros / 1e3
}
