//! A plant that is down, slow, or says no.

use anyhow::Result;
use devstack::Mode;
use millrace_e2e::until;

use crate::world::{PATIENCE, World};

const MEBIBYTE: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plant_that_is_down_writes_no_letter_holds_nobody_and_drains_to_the_newest() -> Result<()> {
    let mut world = World::start(|_| {}).await?;
    world.write_items(0..2_000)?;
    let golden = world.golden_complete(PATIENCE).await?;
    world.plant_complete("mes-pune", &golden, PATIENCE).await?;

    world.stack.systems.plant("mes-pune")?.set_mode(Mode::Down)?;
    for _ in 0..3 {
        world.write_items(0..2_000)?;
    }
    let golden = world.golden_complete(PATIENCE).await?;
    world.plant_complete("mes-ulm", &golden, PATIENCE).await?;
    assert_eq!(world.look.letters("mes-pune").await?, [], "an outage is nobody's dead letter");
    let resident = world.stack.fleet.resident_memory("sink-mes-pune")?;
    println!("sink-mes-pune resident during the outage: {} MiB", resident / MEBIBYTE);
    assert!(resident < 100 * MEBIBYTE, "{resident} bytes");

    let before = world.stack.systems.plant("mes-pune")?.counts().applied;
    world.stack.systems.plant("mes-pune")?.set_mode(Mode::Up)?;
    world.plant_complete("mes-pune", &golden, PATIENCE).await?;
    let drained = world.stack.systems.plant("mes-pune")?.counts().applied - before;
    println!("6,000 revisions waited, {drained} calls drained them");
    assert!((2_000..4_000).contains(&drained), "latest wins: {drained} effects for 2,000 keys");
    world.assert_promises().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_throttling_and_silence_of_a_plant_lose_nothing() -> Result<()> {
    let mut world = World::start(|_| {}).await?;
    for mode in [Mode::Error, Mode::Throttle, Mode::Slow, Mode::Hang] {
        world.stack.systems.plant("mes-pune")?.set_mode(mode)?;
        world.write_items(0..100)?;
        let golden = world.golden_complete(PATIENCE).await?;
        world.plant_complete("mes-ulm", &golden, PATIENCE).await?;
        until("the plant to be called", PATIENCE, || async {
            let calls = world.stack.systems.plant("mes-pune").map_err(|error| error.to_string())?.counts().calls;
            if calls > 0 { Ok(()) } else { Err("no call yet".to_owned()) }
        })
        .await?;
        world.stack.systems.plant("mes-pune")?.set_mode(Mode::Up)?;
        world.plant_complete("mes-pune", &golden, PATIENCE).await?;
    }
    world.assert_promises().await
}
