//! Waiting for a condition, never for a time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::Result;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Returns what `condition` finds; it answers `Err(what is still missing)` until then.
///
/// # Errors
/// None of its own; a `Result` reads well behind `?`.
///
/// # Panics
/// When the limit passed, with what was still missing: a panic, so that the stack keeps the logs of its processes.
#[expect(clippy::panic, reason = "a test that waited in vain has failed")]
pub async fn until<T, F>(what: &str, limit: Duration, mut condition: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(missing) if start.elapsed() > limit => panic!("waited {} s for {what}: {missing}", limit.as_secs()),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}
