//! Two validators and two instances of a sink share the slots; one dies or stands still.

use anyhow::Result;

use crate::world::{PATIENCE, World, total};

async fn shared() -> Result<World> {
    let mut world = World::start(|_| {}).await?;
    let ulm = world.stack.systems.plant("mes-ulm")?.url();
    tokio::task::block_in_place(|| -> Result<()> {
        world.stack.fleet.validator("validator-b")?;
        world.stack.fleet.sink_named("sink-mes-ulm-b", "mes-ulm", &ulm)?;
        world.stack.fleet.wait_ready(PATIENCE)
    })?;
    Ok(world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_each_share_the_slots_and_one_takes_over_when_the_other_is_killed() -> Result<()> {
    let mut world = shared().await?;
    world.write_items(0..1_500)?;
    let golden = world.golden_complete(PATIENCE).await?;
    world.plant_complete("mes-ulm", &golden, PATIENCE).await?;
    for name in ["validator", "validator-b"] {
        let done = total(&world.stack.fleet.metrics(name)?, "millrace_records_total", "stage=\"validate\"");
        println!("{name} decided {done}");
        assert!(done > 0.0, "{name} had no share");
    }
    for name in ["sink-mes-ulm", "sink-mes-ulm-b"] {
        let calls = total(&world.stack.fleet.metrics(name)?, "millrace_destination_requests_total", "");
        println!("{name} made {calls} calls");
        assert!(calls > 0.0, "{name} had no share");
    }

    tokio::task::block_in_place(|| -> Result<()> {
        world.stack.fleet.kill("validator-b")?;
        world.stack.fleet.kill("sink-mes-ulm-b")
    })?;
    world.write_items(0..1_500)?;
    world.assert_promises().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stood_still_beyond_its_session_brings_nothing_back() -> Result<()> {
    let mut world = shared().await?;
    world.write_items(0..1_000)?;
    world.write_items(0..1_000)?;
    world.stack.fleet.freeze("validator-b")?;
    world.stack.fleet.freeze("sink-mes-ulm-b")?;
    world.write_items(0..1_000)?;
    // The others take over only after the session timeout: golden is complete when they did.
    let golden = world.golden_complete(PATIENCE).await?;
    world.plant_complete("mes-ulm", &golden, PATIENCE).await?;
    world.stack.fleet.thaw("validator-b")?;
    world.stack.fleet.thaw("sink-mes-ulm-b")?;
    world.write_items(0..1_000)?;
    let golden = world.golden_complete(PATIENCE).await?;
    world.plant_complete("mes-ulm", &golden, PATIENCE).await?;
    world.assert_promises().await?;
    // The frozen ones either rejoined or ended with 75; nothing else. Asked last, when they had the whole run to show it.
    for name in ["validator-b", "sink-mes-ulm-b"] {
        if let Some(status) = world.stack.fleet.ended(name)? {
            assert_eq!(status.code(), Some(75), "{name}: {}", world.stack.fleet.log(name)?);
        }
    }
    Ok(())
}
