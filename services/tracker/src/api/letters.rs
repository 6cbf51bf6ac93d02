//! `/api/v1/dead-letters`: the list, one letter with what was sent against what is there, statistics, discarding.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use model::{DeadLetter, Domain, PlanFilter, Stage, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Api, Listed, Problem,
    ask::{self, Asked, Reason, Told},
};
use crate::{
    now,
    store::query::letters::{self, Filter, GROUPS, Letter, Line, Stat},
};

/// The filter of a list. `state` is one or more of open, replaying, resolved, superseded, discarded, expired, all; without it
/// the list shows what a person still has to look at.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Query {
    destination: Option<String>,
    system: Option<String>,
    domain: Option<String>,
    key: Option<String>,
    code: Option<String>,
    class: Option<String>,
    since: Option<Timestamp>,
    state: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(State(api): State<Api>, Asked(query): Asked<Query>) -> Result<Json<Listed<Line>>, Problem> {
    api.settled()?;
    let limit = ask::limit(query.limit)?;
    let after: i64 = match &query.cursor {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| Problem::bad_request("this cursor is not one of ours").field("cursor"))?,
    };
    let filter = Filter {
        plan: PlanFilter {
            system: query.system.or(query.destination),
            domain: query.domain,
            key: query.key,
            code: query.code,
            class: query.class,
            since: query.since,
            ..PlanFilter::default()
        },
        states: query.state.map(|states| states.split(',').map(str::to_owned).collect()).unwrap_or_default(),
    };
    let (items, total) = api.reads.ask(move |sql| letters::list(sql, &filter, after, limit)).await?;
    let end = after + i64::try_from(items.len()).unwrap_or(i64::MAX);
    let next = (end < total).then(|| end.to_string());
    Ok(Json(Listed { version: 1, items, next, total: Some(total) }))
}

pub(super) async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Letter>, Problem> {
    api.settled()?;
    let asked = id.clone();
    let found = api.reads.ask(move |sql| letters::one(sql, &asked)).await?;
    let found = found.ok_or_else(|| Problem::not_found(format!("no dead letter `{id}`")))?;
    let mut letter = found.letter;
    letter.payload = letter.letter.as_ref().map(|stored| preview(&api.reader, stored, &found.payload));
    Ok(Json(letter))
}

/// What failed, as a person can read it: the record where it decodes, else the text of a source's row, else what it is.
fn preview(reader: &avro::Reader, letter: &DeadLetter, payload: &[u8]) -> Value {
    let decoded = letter.domain.and_then(|domain| record(reader, letter.stage, domain, payload));
    decoded.unwrap_or_else(|| match std::str::from_utf8(payload) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        Err(_) => json!(format!("{} bytes that cannot be shown", payload.len())),
    })
}

fn record(reader: &avro::Reader, stage: Stage, domain: Domain, payload: &[u8]) -> Option<Value> {
    match stage {
        Stage::Validate => reader.decode_change(domain, payload).ok().and_then(|change| serde_json::to_value(change).ok()),
        Stage::Deliver => reader.decode_golden(domain, payload).ok().and_then(|golden| serde_json::to_value(golden).ok()),
        Stage::Capture | Stage::Unknown => None,
    }
}

/// `by` is one of code, class, system, domain, stage, owner.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct By {
    by: Option<String>,
}

pub(super) async fn stats(State(api): State<Api>, Asked(By { by }): Asked<By>) -> Result<Json<Listed<Stat>>, Problem> {
    api.settled()?;
    let by = by.unwrap_or_else(|| "code".to_owned());
    if !GROUPS.contains(&by.as_str()) {
        return Err(Problem::bad_request(format!("`{by}` is not one of {}", GROUPS.join(", "))).field("by"));
    }
    Ok(Json(Listed::all(api.reads.ask(move |sql| letters::stats(sql, &by, now())).await?)))
}

/// What to discard and why. `all` wants `confirm`: the system whose letters are meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Discard {
    filter: PlanFilter,
    reason: Option<String>,
    confirm: Option<String>,
}

pub(super) async fn discard(
    State(api): State<Api>,
    headers: HeaderMap,
    Told(told): Told<Discard>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    api.settled()?;
    let wish = Reason { reason: told.reason, until: None }.required(&headers)?;
    let letters = meant(&api, &told.filter, "discard").await?;
    if told.filter.all && told.confirm.as_deref() != Some(told.filter.system.as_deref().unwrap_or("all")) {
        let name = told.filter.system.as_deref().unwrap_or("all");
        return Err(Problem::new(422, "CONFIRM_MISSING", format!("this discards all {letters} letters; add --confirm {name}"))
            .field("confirm"));
    }
    let command_id = api.acts()?.discard(&wish, told.filter).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "version": 1, "command_id": command_id, "letters": letters }))))
}

/// How many letters a filter means; a filter that means everything without saying so, or nothing at all, is refused.
pub(super) async fn meant(api: &Api, plan: &PlanFilter, act: &'static str) -> Result<i64, Problem> {
    let states: &[&str] = match act {
        "replay" if plan.discarded => &["discarded"],
        "replay" if !plan.ids.is_empty() => &["open", "expired", "discarded"],
        _ => &["open", "expired"],
    };
    let filter = Filter { plan: plan.clone(), states: states.iter().map(|state| (*state).to_owned()).collect() };
    let (letters, systems) = api.reads.ask(move |sql| letters::reach(sql, &filter)).await?;
    let narrowed = !plan.ids.is_empty()
        || [&plan.system, &plan.domain, &plan.key, &plan.code, &plan.class].iter().any(|field| field.is_some())
        || plan.since.is_some();
    if letters == 0 {
        let kind = if plan.discarded { "discarded" } else { "open" };
        return Err(Problem::not_found(format!("no {kind} dead letter matches")));
    }
    if !narrowed && !plan.all {
        let plural = |count: i64, one: &str| if count == 1 { format!("{count} {one}") } else { format!("{count} {one}s") };
        let text = format!(
            "this would {act} all {} of {}; name a filter or pass --all",
            plural(letters, "open letter"),
            plural(systems, "system")
        );
        return Err(Problem::new(422, "FILTER_MISSING", text).field("filter"));
    }
    Ok(letters)
}
