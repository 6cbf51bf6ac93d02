//! A plant on loopback with moods: it does what it was asked and loses the answer, says no with 200, forbids some keys, asks for
//! patience. It does not mend: what it is sent last is what it holds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::put,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::shop::lock;

/// A bug that this plant makes visible, for the test of the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pretends {
    /// Says yes to this key and keeps what it had: as if nothing had been sent.
    Keeps(&'static str),
    /// Says yes to this key and does not have it: as if a delete had been sent.
    Loses(&'static str),
}

#[derive(Debug)]
struct Shelf {
    random: StdRng,
    is_moody: bool,
    pretends: Option<Pretends>,
    /// `domain/key` → what it holds.
    records: BTreeMap<String, Value>,
    highest: BTreeMap<String, i64>,
    regressions: Vec<String>,
}

/// The plant; it ends with the test.
pub(super) struct Plant {
    shelf: Arc<Mutex<Shelf>>,
    url: String,
    serving: JoinHandle<()>,
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Plant {
    pub(super) async fn start(seed: u64, pretends: Option<Pretends>) -> Result<Self> {
        let shelf = Shelf {
            random: StdRng::seed_from_u64(seed),
            is_moody: false,
            pretends,
            records: BTreeMap::new(),
            highest: BTreeMap::new(),
            regressions: Vec::new(),
        };
        let shelf = Arc::new(Mutex::new(shelf));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/{domain}/{*key}", put(write).delete(delete))
            .layer(DefaultBodyLimit::max(8 * 1024 * 1024))
            .with_state(Arc::clone(&shelf));
        let serving = tokio::spawn(async move { _ = axum::serve(listener, router).await });
        Ok(Self { shelf, url, serving })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn set_moody(&self, is_moody: bool) {
        lock(&self.shelf).is_moody = is_moody;
    }

    /// `domain/key` → the text that it holds.
    pub(super) fn holds(&self) -> BTreeMap<String, String> {
        let shelf = lock(&self.shelf);
        shelf.records.iter().map(|(key, body)| (key.clone(), body["text"].as_str().unwrap_or_default().to_owned())).collect()
    }

    /// Calls that offered a lower revision after a higher one had its effect.
    pub(super) fn regressions(&self) -> Vec<String> {
        lock(&self.shelf).regressions.clone()
    }
}

async fn write(
    State(shelf): State<Arc<Mutex<Shelf>>>,
    Path((domain, key)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    call(&mut lock(&shelf), &format!("{domain}/{key}"), &headers, Some(body))
}

async fn delete(
    State(shelf): State<Arc<Mutex<Shelf>>>,
    Path((domain, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    call(&mut lock(&shelf), &format!("{domain}/{key}"), &headers, None)
}

fn call(shelf: &mut Shelf, key: &str, headers: &HeaderMap, body: Option<Value>) -> Response {
    let revision: i64 = headers.get("millrace-revision").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default();
    let (dice, forbids) = (shelf.random.random_range(0..100), shelf.is_moody && key.ends_with("3/A"));
    let mood = if shelf.is_moody { dice } else { 100 };
    match mood {
        _ if forbids => return StatusCode::FORBIDDEN.into_response(),
        0..3 => return Json(json!({"ok": false, "message": "not today"})).into_response(),
        3..8 => return StatusCode::GATEWAY_TIMEOUT.into_response(),
        8..12 => return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
        12..14 => return (StatusCode::OK, [("content-type", "text/html")], "<html>sign in</html>").into_response(),
        _ => {}
    }
    let highest = shelf.highest.entry(key.to_owned()).or_insert(revision);
    if revision < *highest {
        let told = format!("{key}: revision {revision} after {highest}");
        shelf.regressions.push(told);
    } else {
        *highest = revision;
    }
    match shelf.pretends {
        Some(Pretends::Keeps(kept)) if key == kept && shelf.records.contains_key(key) => {}
        Some(Pretends::Loses(lost)) if key == lost => _ = shelf.records.remove(key),
        Some(_) | None => match body {
            Some(body) => _ = shelf.records.insert(key.to_owned(), body),
            None => _ = shelf.records.remove(key),
        },
    }
    // Done, and nobody is told.
    if mood < 26 { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { Json(json!({"ok": true})).into_response() }
}
