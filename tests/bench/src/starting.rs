//! From the start of a process until `/readyz` turns green: landscape read, topics compared, registry seen, memory restored, slots
//! taken. Each service is started alone, several times, on topics that hold a few records.

use std::time::Instant;

use anyhow::Result;

use crate::{
    report::{Report, median, say},
    world::World,
};

#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Starts of each service
    #[arg(long, default_value_t = 5)]
    times: usize,
}

pub(crate) async fn run(report: &mut Report, Options { times }: Options) -> Result<()> {
    say(&format!("\nstarting: each service {times} times, alone"));
    let mut world = World::start(report.seed).await?;
    let endpoint = world.stack.systems.source_endpoint("erp")?;
    let plant = world.stack.systems.plant("plant")?.url();
    let store = world.stack.folder().join("tracker.sqlite");
    for name in ["publisher-erp", "validator", "sink-plant", "replayer", "tracker"] {
        let mut seconds = Vec::new();
        for time in 0..times {
            let begun = Instant::now();
            let fleet = &mut world.stack.fleet;
            match (name, time) {
                // Started again exactly as before: with the tracker's store and the same static membership.
                (_, 1..) => fleet.start_again(name)?,
                ("publisher-erp", _) => fleet.publisher("erp", &endpoint)?,
                ("validator", _) => fleet.validator(name)?,
                ("sink-plant", _) => fleet.sink("plant", &plant)?,
                ("replayer", _) => fleet.replayer()?,
                _ => fleet.tracker(&store)?,
            }
            world.ready()?;
            seconds.push(begun.elapsed().as_secs_f64());
            tokio::task::block_in_place(|| world.stack.fleet.stop(name))?;
        }
        let most = seconds.iter().copied().fold(0.0, f64::max);
        report.row(format!("{name}, start to ready"), format!("{:.2} s, at most {most:.2} s", median(&seconds)), "given");
    }
    Ok(())
}
