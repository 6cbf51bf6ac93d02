//! A registry in memory: enough of the Confluent API for this crate's calls, and failures on demand.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};

pub(super) struct Stub {
    pub(super) url: String,
    state: Shared,
}

type Shared = Arc<Mutex<Inner>>;

#[derive(Default)]
struct Inner {
    /// Index + 1 is the id.
    schemas: Vec<String>,
    subjects: BTreeMap<String, Vec<usize>>,
    levels: BTreeMap<String, String>,
    failures: u32,
    status: u16,
    authorization: Option<String>,
    requests: usize,
}

impl Stub {
    pub(super) async fn start() -> Self {
        let state = Shared::default();
        let router = Router::new()
            .route("/schemas/ids/{id}", get(by_id))
            .route("/subjects/{subject}/versions", get(versions).post(register))
            .route("/subjects/{subject}/versions/{version}", get(version))
            .route("/compatibility/subjects/{subject}/versions", post(compatibility))
            .route("/config/{subject}", put(level))
            .layer(middleware::from_fn_with_state(Arc::clone(&state), gate))
            .with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    pub(super) fn fail_next(&self, requests: u32, status: u16) {
        let mut state = self.state.lock().unwrap();
        (state.failures, state.status) = (requests, status);
    }

    pub(super) fn demand(&self, authorization: &str) {
        self.state.lock().unwrap().authorization = Some(authorization.to_owned());
    }

    pub(super) fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }
}

async fn gate(State(state): State<Shared>, request: Request, next: Next) -> Response {
    {
        let mut state = state.lock().unwrap();
        state.requests += 1;
        if state.failures > 0 {
            state.failures -= 1;
            let status = StatusCode::from_u16(state.status).unwrap();
            return (status, Json(json!({"error_code": u32::from(state.status) * 100 + 1, "message": "on demand"})))
                .into_response();
        }
        let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        if state.authorization.is_some() && given != state.authorization.as_deref() {
            let said = format!("nobody is let in with {}", given.unwrap_or("nothing"));
            return (StatusCode::UNAUTHORIZED, Json(json!({"error_code": 401, "message": said}))).into_response();
        }
    }
    next.run(request).await
}

fn error(status: StatusCode, code: u32) -> Response {
    (status, Json(json!({"error_code": code, "message": "worded differently everywhere"}))).into_response()
}

async fn by_id(State(state): State<Shared>, Path(id): Path<usize>) -> Response {
    match state.lock().unwrap().schemas.get(id.wrapping_sub(1)) {
        Some(schema) => Json(json!({"schema": schema})).into_response(),
        None => error(StatusCode::NOT_FOUND, 40403),
    }
}

async fn versions(State(state): State<Shared>, Path(subject): Path<String>) -> Response {
    match state.lock().unwrap().subjects.get(&subject) {
        Some(ids) => Json((1..=ids.len()).collect::<Vec<_>>()).into_response(),
        None => error(StatusCode::NOT_FOUND, 40401),
    }
}

async fn version(State(state): State<Shared>, Path((subject, version)): Path<(String, usize)>) -> Response {
    let state = state.lock().unwrap();
    match state.subjects.get(&subject).and_then(|ids| ids.get(version - 1)) {
        Some(id) => {
            Json(json!({"subject": subject, "version": version, "id": id, "schema": state.schemas[id - 1]})).into_response()
        }
        None => error(StatusCode::NOT_FOUND, 40402),
    }
}

async fn register(State(state): State<Shared>, Path(subject): Path<String>, body: Bytes) -> Response {
    let mut state = state.lock().unwrap();
    let schema = text(&body);
    if conflict(&state, &subject, &schema) {
        return error(StatusCode::CONFLICT, 409);
    }
    let id = match state.schemas.iter().position(|known| *known == schema) {
        Some(index) => index + 1,
        None => {
            state.schemas.push(schema);
            state.schemas.len()
        }
    };
    let ids = state.subjects.entry(subject).or_default();
    if !ids.contains(&id) {
        ids.push(id);
    }
    Json(json!({"id": id})).into_response()
}

async fn compatibility(State(state): State<Shared>, Path(subject): Path<String>, body: Bytes) -> Response {
    let state = state.lock().unwrap();
    if !state.subjects.contains_key(&subject) {
        return error(StatusCode::NOT_FOUND, 40401);
    }
    let conflict = conflict(&state, &subject, &text(&body));
    Json(json!({"is_compatible": !conflict, "messages": if conflict { json!(["type of `a` changed"]) } else { json!([]) }}))
        .into_response()
}

async fn level(State(state): State<Shared>, Path(subject): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    state.lock().unwrap().levels.insert(subject, body["compatibility"].as_str().unwrap().to_owned());
    Json(body).into_response()
}

fn text(body: &[u8]) -> String {
    serde_json::from_slice::<Value>(body).unwrap()["schema"].as_str().unwrap().to_owned()
}

/// The one rule of this stub: the type of the first field may not change.
fn conflict(state: &Inner, subject: &str, schema: &str) -> bool {
    let first = |text: &str| serde_json::from_str::<Value>(text).unwrap()["fields"][0]["type"].clone();
    let known = state.subjects.get(subject).and_then(|ids| ids.first()).map(|id| &state.schemas[id - 1]);
    state.levels.contains_key(subject) && known.is_some_and(|known| first(known) != first(schema))
}
