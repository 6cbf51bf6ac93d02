//! kill -9, anywhere, at any moment.

use std::time::Duration;

use anyhow::Result;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::world::World;

const SERVICES: [&str; 6] = ["validator", "sink-mes-ulm", "sink-mes-pune", "publisher-erp", "publisher-crm", "replayer"];
const KILLS_EACH: usize = 10;
const ITEMS: usize = 12_000;
const UPDATES: usize = 8_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_of_any_service_under_load_loses_nothing_and_repeats_no_effect() -> Result<()> {
    let seed: u64 =
        std::env::var("MILLRACE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("seed {seed} (MILLRACE_SEED={seed} repeats the choices)");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::start(|_| {}).await?;

    let mut victims: Vec<&str> = SERVICES.iter().flat_map(|service| [*service; KILLS_EACH]).collect();
    victims.shuffle(&mut random);
    let (first, per_kill) = (ITEMS / victims.len(), UPDATES / victims.len() + 1);
    for (turn, victim) in victims.iter().enumerate() {
        world.write_items(turn * first..(turn + 1) * first)?;
        let known = (turn + 1) * first;
        let updates: std::collections::BTreeSet<_> = (0..per_kill).map(|_| random.random_range(0..known)).collect();
        world.write_items(updates)?;
        let customers: String = (0..10).map(|n| format!("K-{:04};customer {n} of turn {turn};\n", turn * 10 + n)).collect();
        world.drop("customers", &format!("id;name;parent\n{customers}"))?;
        // The moment of the kill is what the test varies; nothing waits for this time to be enough.
        tokio::time::sleep(Duration::from_millis(random.random_range(50..900))).await;
        tokio::task::block_in_place(|| -> Result<()> {
            world.stack.fleet.kill(victim)?;
            world.stack.fleet.start_again(victim)
        })?;
    }
    println!("{} kills, {} items", victims.len(), world.items_written());
    tokio::task::block_in_place(|| world.stack.fleet.wait_ready(crate::world::PATIENCE))?;
    world.assert_promises().await
}
