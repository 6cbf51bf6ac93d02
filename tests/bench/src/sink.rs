//! How much of the physically possible the lanes of a sink reach: throughput in the steady middle against the law
//! `concurrent calls / latency`, the latency measured in the endpoint.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, bail};

use crate::{
    endpoint::{Call, Endpoint, violations},
    machine,
    records::item_id,
    report::{Report, say},
    world::{PATIENCE, World},
};

/// Calls at a time, as `landscape/destinations/plant.yaml` says.
const CONCURRENCY: f64 = 100.0;
const LOOK: Duration = Duration::from_millis(50);

#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Distinct keys, each with one revision
    #[arg(long, default_value_t = 10_000)]
    keys: usize,
    /// Milliseconds that the endpoint takes for each call
    #[arg(long, default_value_t = 50)]
    latency: u64,
}

pub(crate) async fn run(report: &mut Report, Options { keys, latency }: Options) -> Result<()> {
    say(&format!("\nsink: {keys} keys, {latency} ms, {CONCURRENCY} calls at a time"));
    let mut world = World::start(report.seed).await?;
    let records = &world.records;
    records.send_all((0..keys).map(|number| records.golden(records.item(number, 1)?, 1))).await?;
    let endpoint = Endpoint::start(Duration::from_millis(latency))?;
    world.stack.fleet.sink("plant", &endpoint.url())?;
    let pid = world.pid("sink-plant")?;
    let deadline = std::time::Instant::now() + PATIENCE;
    // One call more or less a unit of the landscape.
    let is_item = |call: &Call| call.key.starts_with("B-");
    let mut spent = [0.0; 2];
    while endpoint.count() < keys {
        let count = endpoint.count();
        if count < keys / 10 {
            spent[0] = machine::cpu_seconds(pid)?;
        }
        if count < keys * 9 / 10 {
            spent[1] = machine::cpu_seconds(pid)?;
        }
        if std::time::Instant::now() > deadline {
            bail!("{count} of {keys} calls came within {} s", PATIENCE.as_secs());
        }
        world.stack.fleet.check_alive()?;
        tokio::time::sleep(LOOK).await;
    }
    // The units may be among those counted.
    while endpoint.calls().iter().filter(|call| is_item(call)).count() < keys && std::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    tokio::task::block_in_place(|| world.stack.fleet.stop("sink-plant"))?;

    let calls: Vec<Call> = endpoint.calls().into_iter().filter(is_item).collect();
    let last: HashMap<String, i64> = (0..keys).map(|number| (format!("{}/A", item_id(number)), 1)).collect();
    report.judge("sink", violations(&calls, &last));
    let steady = Steady::of(&calls);
    let law = CONCURRENCY / steady.latency;
    report.row("sink, throughput / law (calls at a time / latency)", format!("{:.1} %", steady.rate / law * 100.0), "≥ 90 %");
    report.row("  sink, deliveries a second", format!("{:.0}", steady.rate), "");
    report.row("  law", format!("{law:.0}"), "");
    report.row("  latency measured in the endpoint", format!("{:.1} ms", steady.latency * 1e3), "");
    #[expect(clippy::cast_precision_loss, reason = "a number of calls")]
    let middle = keys as f64 * 0.8;
    report.row("  CPU of a delivery", format!("{:.0} µs", (spent[1] - spent[0]) / middle * 1e6), "");
    Ok(())
}

/// From the tenth to the ninetieth of a hundred answers.
struct Steady {
    rate: f64,
    latency: f64,
}

impl Steady {
    #[expect(clippy::cast_precision_loss, reason = "a number of calls")]
    fn of(calls: &[Call]) -> Self {
        let mut answered: Vec<&Call> = calls.iter().collect();
        answered.sort_by_key(|call| call.answered);
        let middle = &answered[answered.len() / 10..answered.len() * 9 / 10];
        let (Some(first), Some(last)) = (middle.first(), middle.last()) else {
            return Self { rate: f64::NAN, latency: f64::NAN };
        };
        let span = last.answered.saturating_sub(first.answered).as_secs_f64();
        let latency: f64 = middle.iter().map(|call| call.answered.saturating_sub(call.arrived).as_secs_f64()).sum();
        Self { rate: (middle.len() - 1) as f64 / span, latency: latency / middle.len() as f64 }
    }
}
