//! `/api/v1/records/{domain}`: search, one record, its history, its status per destination, its lineage, and acts on it.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::ETAG},
    response::{IntoResponse, Response},
};
use model::{Act, Domain, RecordKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Api, Listed, Problem,
    ask::{self, Asked, Key, Reason, Told},
};
use crate::{
    act::Wish,
    now,
    store::query::records::{self, Lineage, Revision, Status},
};

/// `?q=` searches key, names, old numbers; `?key=` gives one record, `at` one destination's accepted state of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Find {
    q: Option<String>,
    key: Option<String>,
    at: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn find(
    State(api): State<Api>,
    Path(domain): Path<String>,
    Asked(find): Asked<Find>,
) -> Result<Response, Problem> {
    api.settled()?;
    let domain = ask::domain(&domain)?;
    if let Some(key) = &find.key {
        return show(&api, domain, ask::key(domain, key)?, find.at).await;
    }
    let limit = ask::limit(find.limit)?;
    let (text, after) = (find.q.unwrap_or_default(), find.cursor.unwrap_or_default());
    let items = api.reads.ask(move |sql| records::search(sql, domain, &text, &after, limit)).await?;
    let full = items.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = items.last().filter(|_| full).map(|hit| hit.key.clone());
    Ok(Json(Listed { version: 1, items, next, total: None }).into_response())
}

async fn show(api: &Api, domain: Domain, key: RecordKey, at: Option<String>) -> Result<Response, Problem> {
    let asked = key.clone();
    if let Some(name) = &at
        && !api.fleet.destinations.contains_key(name)
    {
        return Err(Problem::not_found(format!("`{name}` is not a destination of the landscape")).field("at"));
    }
    let fleet = Arc::clone(&api.fleet);
    let (golden, there, blocks) = api
        .reads
        .ask(move |sql| {
            let golden = records::revision(sql, domain, asked.as_str(), i64::MAX)?;
            let there = match &at {
                Some(name) => records::at_destination(sql, name, domain, asked.as_str())?,
                None => None,
            };
            Ok((golden, there, records::blocks(sql, &fleet, domain, asked.as_str())?))
        })
        .await?;
    let golden = golden.ok_or_else(|| missing(domain, &key))?;
    let tag = format!("\"{}\"", golden.meta.revision);
    let blocked: Vec<Value> = blocks
        .into_iter()
        .map(|(name, block)| json!({ "destination": name, "text": block.text, "since": block.since, "until": block.until }))
        .collect();
    let mut body = json!({ "version": 1, "golden": golden, "owners": owners(api, domain), "blocked": blocked });
    if let Some(there) = there {
        body["there"] = json!(there);
    }
    Ok(([(ETAG, tag)], Json(body)).into_response())
}

/// Owner of the main group and its office, and the owners of field groups.
fn owners(api: &Api, domain: Domain) -> Value {
    let owner = api.fleet.domains.get(&domain).map(|owner| owner.system.clone()).unwrap_or_default();
    let groups: Vec<Value> =
        api.fleet.groups_of(domain).iter().map(|(owner, fields)| json!({ "owner": owner, "fields": fields })).collect();
    json!({ "owner": owner, "office": api.fleet.office_of_domain(domain), "groups": groups })
}

pub(super) async fn history(
    State(api): State<Api>,
    Path(domain): Path<String>,
    Asked(Key { key }): Asked<Key>,
) -> Result<Json<Listed<Revision>>, Problem> {
    api.settled()?;
    let domain = ask::domain(&domain)?;
    let key = ask::key(domain, &key)?;
    let asked = key.clone();
    let items = api.reads.ask(move |sql| records::history(sql, domain, asked.as_str())).await?;
    if items.is_empty() { Err(missing(domain, &key)) } else { Ok(Json(Listed::all(items))) }
}

pub(super) async fn status(
    State(api): State<Api>,
    Path(domain): Path<String>,
    Asked(Key { key }): Asked<Key>,
) -> Result<Json<Status>, Problem> {
    api.settled()?;
    let domain = ask::domain(&domain)?;
    let key = ask::key(domain, &key)?;
    let (fleet, asked) = (Arc::clone(&api.fleet), key.clone());
    let status = api.reads.ask(move |sql| records::status(sql, &fleet, domain, asked.as_str(), now())).await?;
    if status.is_unheard_of() { Err(missing(domain, &key)) } else { Ok(Json(status)) }
}

pub(super) async fn lineage(
    State(api): State<Api>,
    Path(domain): Path<String>,
    Asked(Key { key }): Asked<Key>,
) -> Result<Json<Lineage>, Problem> {
    api.settled()?;
    let domain = ask::domain(&domain)?;
    let key = ask::key(domain, &key)?;
    let (fleet, asked) = (Arc::clone(&api.fleet), key.clone());
    let lineage = api.reads.ask(move |sql| records::lineage(sql, &fleet, domain, asked.as_str(), now())).await?;
    if lineage.status.is_unheard_of() { Err(missing(domain, &key)) } else { Ok(Json(lineage)) }
}

fn missing(domain: Domain, key: &RecordKey) -> Problem {
    Problem::not_found(format!("no source has sent {domain} {key}"))
}

/// `destination` may be left out: then every destination in whose scope the record is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct On {
    key: String,
    destination: Option<String>,
}

pub(super) async fn resend(
    State(api): State<Api>,
    Path(domain): Path<String>,
    Asked(on): Asked<On>,
    headers: HeaderMap,
    Told(reason): Told<Reason>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    act(&api, Act::Resend, &domain, on, &reason.optional(&headers)?).await
}

pub(super) async fn block(
    State(api): State<Api>,
    Path(domain): Path<String>,
    Asked(on): Asked<On>,
    headers: HeaderMap,
    Told(reason): Told<Reason>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    act(&api, Act::Block, &domain, on, &reason.required(&headers)?).await
}

pub(super) async fn unblock(
    State(api): State<Api>,
    Path(domain): Path<String>,
    Asked(on): Asked<On>,
    headers: HeaderMap,
    Told(reason): Told<Reason>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    act(&api, Act::Unblock, &domain, on, &reason.optional(&headers)?).await
}

async fn act(api: &Api, act: Act, domain: &str, on: On, wish: &Wish) -> Result<(StatusCode, Json<Value>), Problem> {
    let acts = api.acts()?;
    let domain = ask::domain(domain)?;
    let key = ask::key(domain, &on.key)?;
    let (fleet, asked) = (Arc::clone(&api.fleet), key.clone());
    let status = api.reads.ask(move |sql| records::status(sql, &fleet, domain, asked.as_str(), now())).await?;
    if status.is_unheard_of() {
        return Err(missing(domain, &key));
    }
    let destinations: Vec<String> = match on.destination {
        Some(name) => {
            let known = api.fleet.served(domain).any(|(serving, _)| serving == name);
            if !known {
                return Err(Problem::not_found(format!("`{name}` is not a destination of domain {domain}")).field("destination"));
            }
            vec![name]
        }
        None => status.needed_at(),
    };
    let mut commands = Vec::new();
    for destination in &destinations {
        let command_id = acts.record(wish, act, destination, domain, &key).await?;
        if act == Act::Resend {
            telemetry::CORRECTIONS.with_label_values(&[domain.name(), "resend"]).inc();
        }
        commands.push(json!({ "destination": destination, "command_id": command_id }));
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "version": 1, "items": commands }))))
}
