//! The broker restarted, the registry stopped: everything waits and goes on by itself.

use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::world::{PATIENCE, World};

fn names_the_registry(waiting: &[(String, String)]) -> bool {
    waiting.iter().any(|(name, why)| name == "validator" && why.contains("registry"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_broker_and_a_stopped_registry_make_no_letters() -> Result<()> {
    let mut world = World::start(|options| options.own_base = Some(Vec::new())).await?;
    world.write_items(0..1_000)?;
    let base = world.stack.base.as_mut().context("a base of its own")?;
    // Frozen, so that calls hang; a validator that starts meanwhile has no schema and waits.
    base.supervisor.signal("registry", Signal::SIGSTOP)?;
    tokio::task::block_in_place(|| world.stack.fleet.kill("validator"))?;
    world.stack.fleet.start_again("validator")?;
    let deadline = Instant::now() + PATIENCE;
    while !names_the_registry(&tokio::task::block_in_place(|| world.stack.fleet.not_ready())) {
        assert!(Instant::now() < deadline, "a validator without a registry says so");
    }
    world.write_items(0..1_000)?;

    let base = world.stack.base.as_mut().context("a base of its own")?;
    // kill -9, with everything in flight.
    tokio::task::block_in_place(|| -> Result<()> {
        base.broker.kill(&mut base.supervisor)?;
        base.broker.restart(&mut base.supervisor)
    })?;
    world.write_items(0..1_000)?;
    world.stack.base.as_mut().context("a base of its own")?.supervisor.signal("registry", Signal::SIGCONT)?;
    world.write_items(0..1_000)?;
    tokio::task::block_in_place(|| world.stack.fleet.check_alive())?;
    world.assert_promises().await
}
