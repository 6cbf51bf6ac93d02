//! Resident memory of every service, idle and at the peak of a load from the source's file to the plant; and what one golden key
//! weighs in the validator.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    machine,
    records::item_id,
    report::{Report, say},
    world::{PATIENCE, World},
};

/// How long a service that is ready is left alone before it counts as idle.
const QUIET: Duration = Duration::from_secs(3);
const SERVICES: [&str; 5] = ["publisher-erp", "validator", "sink-plant", "replayer", "tracker"];

#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Records of the load
    #[arg(long, default_value_t = 20_000)]
    records: usize,
    /// Golden keys between a small and a large validator
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
}

pub(crate) async fn run(report: &mut Report, Options { records, keys }: Options) -> Result<()> {
    say(&format!("\nmemory: a load of {records} records, then {keys} golden keys"));
    load(report, records).await?;
    let small = 10_000;
    let (little, _) = restored(report.seed, small).await?;
    let (much, bytes) = restored(report.seed, small + keys).await?;
    #[expect(clippy::cast_precision_loss, reason = "a number of keys")]
    let each = (much - little) * 1024.0 * 1024.0 / keys as f64;
    report.row("validator, resident bytes a golden key", format!("{each:.0} B"), "given");
    report.row("  of which key and encoded record", format!("{bytes:.0} B"), "");
    Ok(())
}

async fn load(report: &mut Report, records: usize) -> Result<()> {
    let mut world = World::start(report.seed).await?;
    tokio::task::block_in_place(|| world.stack.start_fleet())?;
    tokio::time::sleep(QUIET).await;
    let mut idle = Vec::new();
    for service in SERVICES {
        let pid = world.pid(service)?;
        idle.push((service, pid, machine::resident(pid)?.0));
    }
    let folder = PathBuf::from(world.stack.systems.source_endpoint("erp")?);
    drop_file(&folder, "items-1.csv", &items(records))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counts = world.stack.systems.plant("plant")?.counts();
        // The units, too.
        if counts.records >= records as u64 + 3 {
            let problems = [("regressions", counts.regressions), ("second effects", counts.second_effects)];
            let problems = problems.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}"));
            report.judge("memory", problems.collect());
            break;
        }
        if Instant::now() > deadline {
            bail!("{} of {records} records arrived within {} s", counts.records, PATIENCE.as_secs());
        }
        world.stack.fleet.check_alive()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (service, pid, before) in idle {
        let (_, peak) = machine::resident(pid)?;
        report.row(format!("{service}, resident idle"), format!("{before:.1} MiB"), "< 40 MiB");
        report.row(format!("{service}, resident at the peak of the load"), format!("{peak:.1} MiB"), "< 100 MiB");
    }
    Ok(())
}

/// Resident memory of a validator that has restored so many keys, and what they weigh encoded.
async fn restored(seed: u64, keys: usize) -> Result<(f64, f64)> {
    let mut world = World::start(seed).await?;
    let records = &world.records;
    let mut bytes = 0;
    let golden = (0..keys).map(|number| {
        let golden = records.golden(records.item(number, 1)?, 1)?;
        bytes += golden.key.len() + golden.value.as_ref().map_or(0, Vec::len);
        Ok(golden)
    });
    records.send_all(golden).await?;
    world.stack.fleet.validator("validator")?;
    world.ready()?;
    tokio::time::sleep(QUIET).await;
    let (resident, _) = machine::resident(world.pid("validator")?)?;
    #[expect(clippy::cast_precision_loss, reason = "a size")]
    let each = bytes as f64 / keys as f64;
    Ok((resident, each))
}

/// A file as the source writes it.
fn items(records: usize) -> String {
    let mut text = String::from("item_id;revision;description;base_uom;net_weight;pack_uom;pack_size\n");
    for number in 0..records {
        let id = item_id(number);
        text.push_str(&format!("{id};A;housing {number}, cast;C62;{}.5;CT;{}\n", 1 + number % 90, 2 + number % 11));
    }
    text
}

fn drop_file(folder: &std::path::Path, name: &str, text: &str) -> Result<()> {
    let temporary = folder.join(format!(".{name}.tmp"));
    std::fs::write(&temporary, text).with_context(|| format!("writing {}", temporary.display()))?;
    std::fs::rename(&temporary, folder.join(name)).with_context(|| format!("renaming {name} into place"))?;
    Ok(())
}
