//! A plant that does nothing but take its time and write down every call: when it came, when it was answered, what it carried.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::HeaderMap,
    routing::{get, put},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::machine::wall_micros;

/// One call; times since the endpoint started.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) key: String,
    pub(crate) revision: i64,
    pub(crate) arrived: Duration,
    pub(crate) answered: Duration,
    /// Microseconds since 1970, to be compared with the broker's clock.
    pub(crate) wall: i64,
}

/// A listener with a thread of its own.
pub(crate) struct Endpoint {
    shared: Arc<Shared>,
    port: u16,
    _close: oneshot::Sender<()>,
}

struct Shared {
    latency: Duration,
    start: Instant,
    calls: Mutex<Vec<Call>>,
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    /// # Errors
    /// When no port can be had.
    pub(crate) fn start(latency: Duration) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("listening for calls")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { latency, start: Instant::now(), calls: Mutex::default() });
        let router =
            Router::new().route("/", get(ping)).route("/{domain}/{*key}", put(call).delete(call)).with_state(Arc::clone(&shared));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (close, closed) = oneshot::channel::<()>();
        let serve = async move {
            let serving = async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await };
            tokio::select! {
                _ = closed => {}
                _ = serving => {}
            }
        };
        let name = "endpoint".to_owned();
        std::thread::Builder::new().name(name).spawn(move || runtime.block_on(serve)).context("starting the endpoint")?;
        Ok(Self { shared, port, _close: close })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.calls().len()
    }

    /// Every answered call, in the order of arrival.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut calls = self.shared.calls().clone();
        calls.sort_by_key(|call| call.arrived);
        calls
    }
}

async fn ping() -> Json<Value> {
    Json(json!({"plant": "bench"}))
}

async fn call(State(shared): State<Arc<Shared>>, Path((_, key)): Path<(String, String)>, headers: HeaderMap) -> Json<Value> {
    let (arrived, wall) = (shared.start.elapsed(), wall_micros());
    let revision = headers.get("millrace-revision").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default();
    if !shared.latency.is_zero() {
        tokio::time::sleep(shared.latency).await;
    }
    shared.calls().push(Call { key, revision, arrived, answered: shared.start.elapsed(), wall });
    Json(json!({"revision": revision}))
}

/// Two calls of one key at a time, a revision that does not rise, a key that did not get its last one.
pub(crate) fn violations(calls: &[Call], last: &HashMap<String, i64>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen: HashMap<&str, (i64, Duration)> = HashMap::new();
    for call in calls {
        if let Some((revision, answered)) = seen.insert(&call.key, (call.revision, call.answered)) {
            if revision >= call.revision {
                problems.push(format!("{}: revision {} came after {revision}", call.key, call.revision));
            }
            if answered > call.arrived {
                problems.push(format!("{}: revision {} came while {revision} was being answered", call.key, call.revision));
            }
        }
    }
    for (key, last) in last {
        let got = seen.get(key.as_str()).map(|(revision, _)| *revision);
        if got != Some(*last) {
            problems.push(format!("{key}: the last revision is {last}, the endpoint has {got:?}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(key: &str, revision: i64, arrived: u64, answered: u64) -> Call {
        let (arrived, answered) = (Duration::from_millis(arrived), Duration::from_millis(answered));
        Call { key: key.to_owned(), revision, arrived, answered, wall: 0 }
    }

    #[test]
    fn overlap_regression_and_loss_are_violations() {
        let last = HashMap::from([("a".to_owned(), 2)]);
        assert!(violations(&[call("a", 1, 0, 5), call("a", 2, 5, 9)], &last).is_empty());
        assert_eq!(violations(&[call("a", 1, 0, 5), call("a", 2, 4, 9)], &last).len(), 1);
        assert_eq!(violations(&[call("a", 2, 0, 5), call("a", 2, 5, 9)], &last).len(), 1);
        assert_eq!(violations(&[call("a", 1, 0, 5)], &last).len(), 1);
    }
}
