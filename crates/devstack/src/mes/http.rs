//! The plant's two HTTP interfaces.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Call, Deed, Mode, Offer, Shared};

const SLOW: Duration = Duration::from_secs(2);
const LARGEST_BODY: usize = 16 * 1024 * 1024;

pub(crate) fn endpoint(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(ping))
        .route("/{domain}/{*key}", put(write).delete(delete))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
}

pub(crate) fn control(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/mode", post(set_mode).get(get_mode))
        .route("/refuse", post(refuse))
        .route("/accept", post(accept))
        .route("/records", get(records))
        .route("/calls", get(calls))
        .route("/counts", get(counts))
        .with_state(shared)
}

/// A probe may ask here without offering a record.
async fn ping(State(shared): State<Arc<Shared>>) -> Response {
    match unwell(&shared).await {
        Some(answer) => answer,
        None => Json(json!({"plant": shared.name})).into_response(),
    }
}

async fn write(shared: State<Arc<Shared>>, path: Path<(String, String)>, headers: HeaderMap, body: String) -> Response {
    match serde_json::from_str(&body) {
        Ok(body) => call(shared.0, path.0, &headers, Some(body)).await,
        Err(error) => refusal(StatusCode::BAD_REQUEST, "NOT_JSON", &error.to_string()),
    }
}

async fn delete(shared: State<Arc<Shared>>, path: Path<(String, String)>, headers: HeaderMap) -> Response {
    call(shared.0, path.0, &headers, None).await
}

async fn call(shared: Arc<Shared>, (domain, key): (String, String), headers: &HeaderMap, body: Option<Value>) -> Response {
    let key = canonical(&domain, key);
    let number = shared.plant().arrive();
    let at = jiff::Timestamp::now().as_millisecond();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (Some(revision), Some(idempotency_key)) =
        (header("millrace-revision").and_then(|text| text.parse().ok()), header("idempotency-key"))
    else {
        return refusal(StatusCode::BAD_REQUEST, "HEADER_MISSING", "Millrace-Revision and Idempotency-Key are needed");
    };
    let traceparent = header("traceparent");
    let book = |deed, status: StatusCode| Call {
        number,
        at,
        domain: domain.clone(),
        key: key.clone(),
        revision,
        deed,
        status: status.as_u16(),
        traceparent: traceparent.clone(),
    };
    if let Some(answer) = unwell(&shared).await {
        shared.plant().record(book(Deed::Failed, answer.status()));
        return answer;
    }
    let offer = Offer { domain: domain.clone(), key: key.clone(), revision, idempotency_key, body };
    let (deed, status, body) = {
        let mut plant = shared.plant();
        let answer = plant.offer(number, offer);
        let (deed, status, body) = worded(&answer);
        if deed == Deed::Applied
            && let Some(stored) = plant.record_of(&domain, &key)
        {
            shared.keep(stored);
        }
        plant.record(book(deed, status));
        (deed, status, body)
    };
    if deed == Deed::Applied && *shared.mode.borrow() == Mode::Lost {
        return (StatusCode::INTERNAL_SERVER_ERROR, "told to lose its answer").into_response();
    }
    (status, Json(body)).into_response()
}

/// The key as the record has it: a component of dots comes as its code.
fn canonical(domain: &str, key: String) -> String {
    let parsed = domain.parse().ok().and_then(|domain| model::RecordKey::parse(domain, &key).ok());
    parsed.map_or(key, |key| key.to_string())
}

fn worded(answer: &Answer) -> (Deed, StatusCode, Value) {
    match answer {
        Answer::Accepted { revision, already: true } => {
            (Deed::Already, StatusCode::OK, json!({"revision": revision, "already": true}))
        }
        Answer::Accepted { revision, already: false } => (Deed::Applied, StatusCode::OK, json!({"revision": revision})),
        Answer::HasNewer { revision } => (Deed::Older, StatusCode::CONFLICT, json!({"revision": revision})),
        Answer::Refused(refusal) => (Deed::Refused, StatusCode::UNPROCESSABLE_ENTITY, json!(refusal)),
    }
}

/// Takes the time this mode takes; the answer of a plant that is not well.
async fn unwell(shared: &Shared) -> Option<Response> {
    let mode = *shared.mode.borrow();
    match mode {
        Mode::Up | Mode::Lost | Mode::Down => {
            if !shared.latency.is_zero() {
                tokio::time::sleep(shared.latency).await;
            }
            None
        }
        Mode::Slow => {
            tokio::time::sleep(SLOW).await;
            None
        }
        Mode::Hang => {
            // Until it is told otherwise; then whoever still waits learns that it was not done.
            let mut modes = shared.mode.subscribe();
            modes.wait_for(|mode| *mode != Mode::Hang).await.ok();
            Some((StatusCode::INTERNAL_SERVER_ERROR, "was told to hang").into_response())
        }
        Mode::Error => Some((StatusCode::INTERNAL_SERVER_ERROR, "was told to fail").into_response()),
        Mode::Throttle => Some((StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "was told to throttle").into_response()),
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"code": code, "message": message}))).into_response()
}

#[derive(Deserialize)]
struct ModeWanted {
    mode: Mode,
}

async fn set_mode(State(shared): State<Arc<Shared>>, Json(wanted): Json<ModeWanted>) -> Response {
    // Closing joins the endpoint's thread, which must not hold up this one.
    let changed = tokio::task::spawn_blocking(move || shared.set_mode(wanted.mode)).await;
    match changed {
        Ok(Ok(())) => Json(json!({"mode": wanted.mode})).into_response(),
        Ok(Err(error)) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "PORT_TAKEN", &format!("{error:#}")),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", &error.to_string()),
    }
}

async fn get_mode(State(shared): State<Arc<Shared>>) -> Response {
    let mode = *shared.mode.borrow();
    Json(json!({"plant": shared.name, "mode": mode})).into_response()
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

async fn refuse(State(shared): State<Arc<Shared>>, Json(Key { key }): Json<Key>) -> Response {
    shared.plant().refuse(key.clone());
    Json(json!({"refused": key})).into_response()
}

async fn accept(State(shared): State<Arc<Shared>>, Json(Key { key }): Json<Key>) -> Response {
    shared.plant().accept(&key);
    Json(json!({"accepted": key})).into_response()
}

async fn records(State(shared): State<Arc<Shared>>) -> Response {
    let records: Vec<_> = shared.plant().records().cloned().collect();
    Json(json!({"items": records})).into_response()
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn calls(State(shared): State<Arc<Shared>>, Query(Since { since }): Query<Since>) -> Response {
    let calls: Vec<_> = shared.plant().calls_since(since).cloned().collect();
    Json(json!({"items": calls})).into_response()
}

async fn counts(State(shared): State<Arc<Shared>>) -> Response {
    let counts = shared.plant().counts();
    Json(json!(counts)).into_response()
}
