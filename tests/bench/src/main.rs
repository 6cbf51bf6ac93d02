//! The benches: ratios in one run, on a real Kafka, with the real processes. Nothing is asserted about time; a run that lost,
//! repeated or reordered something is void and ends with 1, whatever its figures.

mod endpoint;
mod fleet;
mod floor;
mod machine;
mod memory;
mod propagation;
mod records;
mod report;
mod sink;
mod starting;
mod validator;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::report::Report;

#[derive(Parser)]
#[command(name = "millrace-bench", about = "Speed and memory of Millrace, in ratios of one run")]
struct Arguments {
    /// Decides the content of the records
    #[arg(long, global = true, default_value_t = 20_261_125)]
    seed: u64,
    #[command(subcommand)]
    bench: Option<Bench>,
}

#[derive(Subcommand, Clone)]
enum Bench {
    /// CPU per record of the validator against passing the same records through one transaction loop
    Validator(validator::Options),
    /// Throughput of the sink against the law: concurrent calls / latency
    Sink(sink::Options),
    /// From append to `change` until the plant's first byte, open loop
    Propagation(propagation::Options),
    /// Resident memory idle and at the peak of a load, and bytes per golden key
    Memory(memory::Options),
    /// Fifty destinations at once: memory of each idle sink, series, scrapes
    Fleet(fleet::Options),
    /// From a process's start until it is ready
    Starting(starting::Options),
    /// All of them
    All,
    #[command(hide = true)]
    Floor(floor::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::failed(&error.into()),
    };
    match runtime.block_on(bench(arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => report::failed(&error),
    }
}

/// False: void.
async fn bench(Arguments { seed, bench }: Arguments) -> Result<bool> {
    if let Some(Bench::Floor(options)) = bench {
        floor::run(options).await?;
        return Ok(true);
    }
    let mut report = Report::open(seed);
    match bench.unwrap_or(Bench::All) {
        Bench::Validator(options) => validator::run(&mut report, options).await?,
        Bench::Sink(options) => sink::run(&mut report, options).await?,
        Bench::Propagation(options) => propagation::run(&mut report, options).await?,
        Bench::Memory(options) => memory::run(&mut report, options).await?,
        Bench::Fleet(options) => fleet::run(&mut report, options).await?,
        Bench::Starting(options) => starting::run(&mut report, options).await?,
        Bench::All => {
            validator::run(&mut report, defaults()).await?;
            sink::run(&mut report, defaults()).await?;
            propagation::run(&mut report, propagation::Options { outage: false, ..defaults() }).await?;
            propagation::run(&mut report, propagation::Options { outage: true, ..defaults() }).await?;
            memory::run(&mut report, defaults()).await?;
            fleet::run(&mut report, defaults()).await?;
            starting::run(&mut report, defaults()).await?;
        }
        Bench::Floor(_) => {}
    }
    Ok(report.close())
}

/// The options of a bench as its command line gives them when nothing is said.
fn defaults<O: clap::Args>() -> O {
    let command = O::augment_args(clap::Command::new("defaults"));
    let matches = command.get_matches_from(["defaults"]);
    O::from_arg_matches(&matches).expect("every option of a bench has a default")
}
