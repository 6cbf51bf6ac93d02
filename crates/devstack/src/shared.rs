//! The broker and registry that the tests of one process share. Tests do not meet on it: each has its own topic prefix.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    base::{Addresses, Base},
    dev::{self, Dev},
    fetch,
    progress::Progress,
};

/// Brokers that tests use instead of starting some.
pub const BROKERS: &str = "MILLRACE_TEST_BROKERS";
/// Registry that tests use instead of starting one.
pub const REGISTRY: &str = "MILLRACE_TEST_REGISTRY";

/// Started by this process for its tests. Never dropped: a static is not. Its guardian ends it with the process.
static OWN: Mutex<Option<Base>> = Mutex::new(None);

/// The broker and registry of this test run: those that the environment names, else a running `make dev`, else one of each
/// started now for all tests of this process.
///
/// # Errors
/// When nothing runs and nothing can be started.
pub fn addresses() -> Result<Addresses> {
    if let (Ok(brokers), Ok(registry)) = (std::env::var(BROKERS), std::env::var(REGISTRY)) {
        return Ok(Addresses { brokers, registry });
    }
    let target = dev::target()?;
    if let Some(running) = development(&target) {
        return Ok(running);
    }
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if own.is_none() {
        *own = Some(start(&target, Progress::Quiet).context("starting a broker and a registry for the tests")?);
    }
    Ok(own.as_ref().context("the base that was just started")?.addresses())
}

/// Starts a broker and a registry for tests.
///
/// # Errors
/// When one of them does not start.
pub fn start(target: &Path, progress: Progress) -> Result<Base> {
    Base::throwaway(&target.join("devstack"), progress, Vec::new())
}

fn development(target: &Path) -> Option<Addresses> {
    let dev: Dev = serde_json::from_str(&std::fs::read_to_string(Dev::path(target)).ok()?).ok()?;
    let port = dev.registry.strip_prefix("http://127.0.0.1:")?.split('/').next()?.parse().ok()?;
    let answers = fetch::get(port, "/apis/ccompat/v7/subjects", Duration::from_secs(5)).is_ok_and(|(status, _)| status == 200);
    let broker = std::net::TcpStream::connect(&dev.brokers).is_ok();
    (answers && broker).then_some(Addresses { brokers: dev.brokers, registry: dev.registry })
}
