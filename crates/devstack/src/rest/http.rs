//! The source's two HTTP interfaces.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{RestMode, Shared};

const LOGIN_PAGE: &str = "<!doctype html><html><body><h1>Please sign in</h1></body></html>";

pub(crate) fn endpoint(shared: Arc<Shared>) -> Router {
    Router::new().route("/{*path}", get(read)).with_state(shared)
}

pub(crate) fn control(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/mode", post(set_mode))
        .route("/upsert", post(upsert))
        .route("/delete", post(delete))
        .route("/records", get(records))
        .with_state(shared)
}

#[derive(Deserialize)]
struct Wanted {
    since: Option<String>,
    limit: Option<usize>,
    page: Option<String>,
}

async fn read(State(shared): State<Arc<Shared>>, Path(path): Path<String>, Query(wanted): Query<Wanted>) -> Response {
    shared.count();
    let (mut status, mut answer) = match right_answer(&shared, &path, &wanted) {
        Ok(answer) => (StatusCode::OK, answer),
        Err((status, message)) => (status, json!({"error": message})),
    };
    match shared.mode() {
        RestMode::Normal | RestMode::Down => {}
        RestMode::Html => return ([(CONTENT_TYPE, "text/html; charset=utf-8")], LOGIN_PAGE).into_response(),
        RestMode::HalfJson => {
            let text = answer.to_string();
            let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            return ([(CONTENT_TYPE, "application/json")], text[..middle].to_owned()).into_response();
        }
        RestMode::Error => {
            (status, answer) = (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "was told to fail"}));
        }
        RestMode::Endless => {
            if let Some(next) = answer.get_mut("next").filter(|next| next.is_null()) {
                *next = wanted.page.map_or_else(|| json!(format!("{}|", Timestamp::MIN)), Value::String);
            }
        }
    }
    (status, Json(answer)).into_response()
}

fn right_answer(shared: &Shared, path: &str, wanted: &Wanted) -> Result<Value, (StatusCode, String)> {
    let bad = |message: String| (StatusCode::BAD_REQUEST, message);
    let limit = wanted.limit.unwrap_or(shared.options.page).clamp(1, shared.options.page);
    let shelves = shared.shelves();
    let find = |path: &str| shelves.get(path).ok_or_else(|| (StatusCode::NOT_FOUND, format!("there is nothing at /{path}")));
    if let Some(path) = path.strip_suffix("/ids") {
        let page = find(path)?.ids(limit, wanted.page.as_deref());
        return Ok(json!({"ids": page.items, "next": page.next}));
    }
    let since = wanted.since.as_deref().filter(|text| !text.is_empty());
    let since = since.map(|text| text.parse().map_err(|_| bad(format!("since `{text}` is no RFC 3339 stamp")))).transpose()?;
    let page = find(path)?.page(since, limit, wanted.page.as_deref()).map_err(bad)?;
    Ok(json!({"items": page.items, "next": page.next}))
}

#[derive(Deserialize)]
struct ModeWanted {
    mode: RestMode,
}

async fn set_mode(State(shared): State<Arc<Shared>>, Json(wanted): Json<ModeWanted>) -> Response {
    let changed = tokio::task::spawn_blocking(move || shared.set_mode(wanted.mode)).await;
    match changed {
        Ok(Ok(())) => Json(json!({"mode": wanted.mode})).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Upsert {
    path: String,
    record: Map<String, Value>,
    /// Keeps the stamp that the record brings. Otherwise it changes now, as in a source that a person types into: whoever sends
    /// a copy of what was read would otherwise change a record without anybody noticing.
    #[serde(default)]
    keep_stamp: bool,
}

async fn upsert(State(shared): State<Arc<Shared>>, Json(mut wanted): Json<Upsert>) -> Response {
    if !wanted.keep_stamp {
        wanted.record.remove(&shared.options.changed_at);
    }
    match shared.upsert(&wanted.path, wanted.record).and_then(|()| shared.save()) {
        Ok(()) => Json(json!({"path": wanted.path})).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}")).into_response(),
    }
}

#[derive(Deserialize)]
struct Delete {
    path: String,
    id: String,
}

async fn delete(State(shared): State<Arc<Shared>>, Json(wanted): Json<Delete>) -> Response {
    let found = shared.delete(&wanted.path, &wanted.id);
    match shared.save() {
        Ok(()) if found => Json(json!({"deleted": wanted.id})).into_response(),
        Ok(()) => (StatusCode::NOT_FOUND, format!("there is no {} in {}", wanted.id, wanted.path)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

async fn records(State(shared): State<Arc<Shared>>) -> Response {
    let shelves = shared.shelves();
    let all: Map<String, Value> = shelves
        .iter()
        .map(|(path, shelf)| (path.clone(), shelf.iter().map(|(_, (_, record))| Value::Object(record.clone())).collect()))
        .collect();
    Json(all).into_response()
}
