//! Waiting for a condition, never for a time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Returns what `condition` finds; it answers `Err(what is still missing)` until then.
///
/// # Errors
/// When the limit passed, with what was still missing.
pub async fn until<T, F>(what: &str, limit: Duration, mut condition: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(missing) if start.elapsed() > limit => bail!("waited {} s for {what}: {missing}", limit.as_secs()),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}
