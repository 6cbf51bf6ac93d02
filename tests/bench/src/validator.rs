//! What a validated change costs over moving its bytes: CPU of the whole validator process against a process that passes the same
//! records through the same loop.
//!
//! The difference of two sizes, so that start-up cancels; floor, validator, floor in one world, so that a drifting machine cancels
//! and the two floors are the A/A control.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use avro::topic_specs;
use devstack::{Supervisor, supervise::Launch};
use kafka::Record;
use model::Domain;

use crate::{
    machine,
    records::SOURCE,
    report::{Report, median, say},
    world::{PATIENCE, World, differences, first_records},
};

/// Threads of both, as the validator has them when nothing is said.
const WORKERS: usize = 4;

#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Changes between the small and the large size
    #[arg(long, default_value_t = 50_000)]
    records: usize,
    /// Changes of the small size
    #[arg(long, default_value_t = 10_000)]
    small: usize,
    /// Distinct keys; 0: each change its own
    #[arg(long, default_value_t = 0)]
    keys: usize,
    /// Pairs of sizes
    #[arg(long, default_value_t = 2)]
    pairs: usize,
}

/// What one process did in one world.
#[derive(Clone, Copy, Debug)]
struct Run {
    cpu: f64,
    /// Records a transaction.
    batch: f64,
}

/// Floor, validator, floor.
type Runs = [Run; 3];

pub(crate) async fn run(report: &mut Report, options: Options) -> Result<()> {
    let Options { records, small, keys, pairs } = options;
    say(&format!("\nvalidator: {records} changes over {small}, {pairs} pairs"));
    let mut pairs_of_costs = Vec::new();
    for pair in 0..pairs {
        let little = world(report, small, keys).await?;
        let much = world(report, small + records, keys).await?;
        #[expect(clippy::cast_precision_loss, reason = "a number of records")]
        let cost = |arm: usize| (much[arm].cpu - little[arm].cpu) / records as f64 * 1e6;
        let costs = [cost(0), cost(1), cost(2)];
        let batches = much.map(|run| run.batch);
        say(&format!(
            "  pair {pair}: floor {:.1} and {:.1} µs, validator {:.1} µs a record; records a transaction {:.0}, {:.0} and {:.0}",
            costs[0], costs[2], costs[1], batches[0], batches[2], batches[1]
        ));
        pairs_of_costs.push(costs);
    }
    let over = |figure: fn(&[f64; 3]) -> f64| median(&pairs_of_costs.iter().map(figure).collect::<Vec<_>>());
    let ratio = over(|costs| costs[1] / f64::midpoint(costs[0], costs[2]));
    let control = over(|costs| costs[2] / costs[0]);
    report.row("validator, CPU of a change / pass-through (median)", format!("{ratio:.2}"), "≤ 3, goal 1.7");
    report.row("  validator, CPU a change", format!("{:.1} µs", over(|costs| costs[1])), "");
    report.row("  pass-through, CPU a record", format!("{:.1} µs", over(|costs| f64::midpoint(costs[0], costs[2]))), "");
    report.row("  A/A, pass-through / pass-through", format!("{control:.2}"), "");
    Ok(())
}

async fn world(report: &mut Report, count: usize, keys: usize) -> Result<Runs> {
    let mut world = World::start(report.seed).await?;
    let distinct = if keys == 0 { count } else { keys };
    let changes = (0..count).map(|number| {
        let version = i64::try_from(number / distinct).context("counting versions")? + 1;
        world.records.change(world.records.item(number % distinct, version)?, version)
    });
    world.records.send_all(changes).await?;
    let input =
        first_records(&world.stack.client("bench-input"), &world.stack.topics.change(SOURCE, Domain::Item), count).await?;

    let first = floor(report, &world, &input, "floor-a").await?;
    let validator = validator(report, &mut world, &input).await?;
    let second = floor(report, &world, &input, "floor-b").await?;
    Ok([first, validator, second])
}

async fn validator(report: &mut Report, world: &mut World, input: &[Record]) -> Result<Run> {
    world.stack.fleet.validator("validator")?;
    let pid = world.pid("validator")?;
    let golden = world.stack.topics.golden(Domain::Item);
    let output = first_records(&world.stack.client("bench-output"), &golden, input.len()).await?;
    let cpu = machine::cpu_seconds(pid)?;
    tokio::task::block_in_place(|| world.stack.fleet.stop("validator"))?;
    let batch = batch(&world.stack.fleet.log("validator")?, input.len());
    // A revision is the how-manieth change of its key it is, which is what the source counted, too.
    report.judge(
        "golden",
        differences(input, &output, |change, golden| golden.header("ce_sequence") == change.header("ce_sequence")),
    );
    Ok(Run { cpu, batch })
}

async fn floor(report: &mut Report, world: &World, input: &[Record], name: &str) -> Result<Run> {
    let topics = &world.stack.topics;
    let slots = world.stack.landscape.kafka.slots;
    let (change, output) = (topics.change(SOURCE, Domain::Item), format!("{}{name}", topics.prefix()));
    let mut specs = topic_specs(topics, slots, 1, &[Domain::Item], &BTreeMap::new(), &[]);
    specs.retain(|spec| spec.name == topics.golden(Domain::Item));
    specs.iter_mut().for_each(|spec| spec.name.clone_from(&output));
    let client = world.stack.client("bench-floor");
    kafka::topics::apply(&client, &kafka::topics::plan(&client, &specs).await?).await?;

    let mut supervisor = Supervisor::throwaway(&devstack::dev::target()?.join("devstack"))?;
    let own = std::env::current_exe().context("finding this program")?;
    let workers = WORKERS.to_string();
    let brokers = &world.stack.addresses.brokers;
    let arguments =
        ["floor", "--brokers", brokers, "--group", &output, "--input", &change, "--output", &output, "--workers", &workers];
    let launch =
        Launch { name: name.to_owned(), program: own, arguments: arguments.map(str::to_owned).to_vec(), environment: Vec::new() };
    let pid = supervisor.spawn(launch)?.pid();
    let records = first_records(&client, &output, input.len()).await?;
    let cpu = machine::cpu_seconds(pid)?;
    tokio::task::block_in_place(|| supervisor.end(name, PATIENCE))?;
    let log = std::fs::read_to_string(&supervisor.process(name)?.log).context("reading the log of the floor")?;
    report.judge("pass-through", differences(input, &records, |one, other| one.value == other.value));
    Ok(Run { cpu, batch: batch(&log, input.len()) })
}

/// Records a transaction, from what the workers say when they are drained.
fn batch(log: &str, records: usize) -> f64 {
    let transactions = |line: &str| {
        let (_, rest) = line.split_once("transactions")?;
        let digits: String = rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse::<f64>().ok()
    };
    let drained = log.lines().filter(|line| line.contains("a worker drained"));
    #[expect(clippy::cast_precision_loss, reason = "a number of records")]
    let batch = records as f64 / drained.filter_map(transactions).sum::<f64>();
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_read_from_both_log_formats() {
        let log = "INFO a worker drained records=30 transactions=2\n{\"message\":\"a worker drained\",\"records\":10,\"transactions\":2}\n";
        assert!((batch(log, 40) - 10.0).abs() < 1e-9);
    }
}
