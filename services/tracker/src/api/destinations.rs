//! `/api/v1/destinations`: state, queue and errors of every destination; pause and resume.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use model::Act;
use serde_json::{Value, json};

use super::{
    Api, Listed, Problem,
    ask::{Reason, Told},
};
use crate::{
    act::Wish,
    now,
    store::query::destinations::{self, Destination},
};

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Listed<Destination>>, Problem> {
    api.settled()?;
    let fleet = Arc::clone(&api.fleet);
    Ok(Json(Listed::all(api.reads.ask(move |sql| destinations::all(sql, &fleet, now())).await?)))
}

pub(super) async fn one(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Destination>, Problem> {
    api.settled()?;
    let (fleet, asked) = (Arc::clone(&api.fleet), name.clone());
    let found = api.reads.ask(move |sql| destinations::one(sql, &fleet, &asked, now())).await?;
    found.map(Json).ok_or_else(|| unknown(&name))
}

pub(super) async fn pause(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Told(reason): Told<Reason>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    act(&api, Act::Pause, &name, &reason.required(&headers)?).await
}

pub(super) async fn resume(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Told(reason): Told<Reason>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    act(&api, Act::Resume, &name, &reason.optional(&headers)?).await
}

async fn act(api: &Api, act: Act, name: &str, wish: &Wish) -> Result<(StatusCode, Json<Value>), Problem> {
    if !api.fleet.destinations.contains_key(name) {
        return Err(unknown(name));
    }
    if wish.until.is_some_and(|until| until <= now()) {
        return Err(Problem::new(422, "TIME_PASSED", "`until` lies in the past").field("until"));
    }
    let command_id = api.acts()?.destination(wish, act, name).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "version": 1, "command_id": command_id }))))
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("`{name}` is not a destination of the landscape"))
}
