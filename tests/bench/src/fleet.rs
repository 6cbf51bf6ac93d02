//! A fleet with many destinations, all of it at once: what each idle sink weighs, and how long Prometheus takes to scrape it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use devstack::{
    Stack, StackOptions,
    prometheus::{Prometheus, Target},
    provision::copy_folder,
};

use crate::{
    machine,
    report::{Report, median, say},
    world::PATIENCE,
};

/// Sinks that start at a time.
const BATCH: usize = 5;
/// How long the fleet is left alone, and then scraped, once a second.
const QUIET: Duration = Duration::from_secs(10);
const MEBIBYTES: f64 = 1024.0 * 1024.0;

#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Destinations, each with a sink
    #[arg(long, default_value_t = 50)]
    destinations: usize,
}

pub(crate) async fn run(report: &mut Report, Options { destinations }: Options) -> Result<()> {
    say(&format!("\nfleet: {destinations} destinations"));
    let folder = tempfile::tempdir()?;
    let names = landscape(folder.path(), destinations)?;
    let mut stack = Stack::start(StackOptions::new(folder.path())).await?;
    let processes = tokio::task::block_in_place(|| start(&mut stack, &names))?;
    tokio::time::sleep(QUIET).await;
    weigh(report, &mut stack, &names)?;
    let targets: Result<Vec<Target>> = processes
        .iter()
        .map(|process| {
            let job = process.split('-').next().unwrap_or_default().to_owned();
            Ok(Target { job, address: stack.fleet.ops(process)?.trim_start_matches("http://").to_owned() })
        })
        .collect();
    let prometheus = tokio::task::block_in_place(|| Prometheus::start(&targets?, &[]))?;
    tokio::time::sleep(QUIET).await;
    tokio::task::block_in_place(|| scraped(report, &prometheus, processes.len()))
}

/// The landscape of the benches with as many plants as wanted, of one slot.
fn landscape(folder: &Path, destinations: usize) -> Result<Vec<String>> {
    copy_folder(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("landscape"), folder)?;
    let plants = folder.join("destinations");
    let plant = fs::read_to_string(plants.join("plant.yaml")).context("reading the plant of the benches")?;
    fs::remove_dir_all(&plants)?;
    fs::create_dir(&plants)?;
    let names: Vec<String> = (1..=destinations).map(|number| format!("plant-{number:02}")).collect();
    for name in &names {
        fs::write(plants.join(format!("{name}.yaml")), &plant)?;
    }
    Ok(names)
}

/// All of it, a few sinks at a time.
fn start(stack: &mut Stack, names: &[String]) -> Result<Vec<String>> {
    let store = stack.folder().join("tracker.sqlite");
    stack.fleet.tracker(&store)?;
    stack.fleet.replayer()?;
    stack.fleet.validator("validator")?;
    stack.fleet.publisher("erp", &stack.systems.source_endpoint("erp")?)?;
    let mut processes: Vec<String> = ["tracker", "replayer", "validator", "publisher-erp"].map(str::to_owned).into();
    for batch in names.chunks(BATCH) {
        for name in batch {
            stack.fleet.sink(name, &stack.systems.plant(name)?.url())?;
            processes.push(format!("sink-{name}"));
        }
        stack.fleet.wait_ready(PATIENCE)?;
    }
    Ok(processes)
}

fn weigh(report: &mut Report, stack: &mut Stack, names: &[String]) -> Result<()> {
    let mut sinks = Vec::new();
    for name in names {
        sinks.push(mebibytes(stack.fleet.resident_memory(&format!("sink-{name}"))?));
    }
    let most = sinks.iter().copied().fold(0.0, f64::max);
    report.row(
        format!("{} sinks, resident idle: median, most", sinks.len()),
        format!("{:.1}, {most:.1} MiB", median(&sinks)),
        "< 40 MiB",
    );
    for service in ["tracker", "replayer", "validator"] {
        let pid = stack.fleet.running().find(|process| process.name == service).context("a running service")?.pid();
        report.row(format!("{service}, resident idle"), format!("{:.1} MiB", machine::resident(pid)?.0), "");
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size of memory")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTES
}

/// What Prometheus says of its own scrapes, the worst of the last seconds.
fn scraped(report: &mut Report, prometheus: &Prometheus, processes: usize) -> Result<()> {
    let one = |expr: &str| -> Result<f64> {
        let answer = prometheus.ask(expr)?;
        answer.first().map(|sample| sample.value).with_context(|| format!("no answer to {expr}"))
    };
    let up = one("sum(up)")?;
    #[expect(clippy::cast_precision_loss, reason = "a number of processes")]
    if (up - processes as f64).abs() > 0.5 {
        bail!("{up} of {processes} processes answer Prometheus");
    }
    report.row("series of the fleet, idle", format!("{:.0}", one("sum(scrape_samples_scraped)")?), "");
    report.row("  of which the tracker", format!("{:.0}", one("sum(scrape_samples_scraped{job=\"tracker\"})")?), "");
    report.row("  of which one sink", format!("{:.0}", one("max(scrape_samples_scraped{job=\"sink\"})")?), "");
    let longest = one("max(max_over_time(scrape_duration_seconds[10s]))")? * 1000.0;
    report.row("longest scrape of one process", format!("{longest:.1} ms"), "< 1 s");
    let all = one("sum(avg_over_time(scrape_duration_seconds[10s]))")? * 1000.0;
    report.row("scrapes of all processes, one after the other", format!("{all:.0} ms"), "< 1 s");
    Ok(())
}
