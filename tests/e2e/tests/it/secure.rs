//! The fleet with TLS, one identity per process and exactly the grants of the list of topics: everything still works, and nothing else.

use anyhow::Result;
use devstack::{Secure, Way};

use crate::world::{PATIENCE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_certificates_alone_records_arrive() -> Result<()> {
    let mut world = World::start(|options| options.secure = Some(Secure { way: Way::Certificate, ..Secure::default() })).await?;
    world.write_items(0..20)?;
    let golden = world.golden_complete(PATIENCE).await?;
    for plant in crate::world::PLANTS {
        world.plant_complete(plant, &golden, PATIENCE).await?;
    }
    world.assert_promises().await
}
