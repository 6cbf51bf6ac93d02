//! Ctrl-C and SIGTERM, seen by every waiting loop of a start.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether somebody wants this process to end.
#[must_use]
pub fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Ends a waiting loop when this process is to end.
///
/// # Errors
/// When it is.
pub fn check() -> Result<()> {
    if is_requested() {
        bail!("interrupted");
    }
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM and tells everybody.
///
/// # Errors
/// When the signals cannot be listened to.
pub async fn wait() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    REQUESTED.store(true, Ordering::Relaxed);
    Ok(())
}
