//! Loopback ports that nothing else uses.
//!
//! They are taken below the range from which the system hands out ports for outgoing connections. A port of that range that is
//! closed for a while, as a simulated plant's is while it is down, may be taken by any client; even by the client that
//! tries to connect to it, which then talks to itself.

use std::{
    collections::HashSet,
    net::TcpListener,
    sync::{LazyLock, Mutex, PoisonError},
};

use anyhow::{Result, bail};
use rand::RngExt;

const RANGE: std::ops::Range<u16> = 20_000..32_000;

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A free port. Never the same twice in one process, so that two services that start together do not meet.
///
/// # Errors
/// When hundreds of ports in a row are in use.
pub fn free() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..500 {
        let port = rand::rng().random_range(RANGE);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("finding a free loopback port between {} and {}: none of 500 tried was free", RANGE.start, RANGE.end)
}
