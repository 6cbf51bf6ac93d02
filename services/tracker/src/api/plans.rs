//! `/api/v1/replay-plans`: a bulk replay as an object, previewed, then run. The replayer makes and runs plans; here they are
//! asked for, and refused early where the answer is known.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use model::{Act, Plan, PlanFilter, PlanState};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Api, Listed, Problem,
    ask::{Reason, Told},
    letters,
};
use crate::{now, store::query::letters as query};

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Listed<Plan>>, Problem> {
    api.settled()?;
    Ok(Json(Listed::all(api.reads.ask(|sql| query::plans(sql, 100)).await?)))
}

pub(super) async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Plan>, Problem> {
    Ok(Json(find(&api, &id).await?))
}

async fn find(api: &Api, id: &str) -> Result<Plan, Problem> {
    api.settled()?;
    let asked = id.to_owned();
    let plan = api.reads.ask(move |sql| query::plan(sql, &asked)).await?;
    plan.ok_or_else(|| Problem::not_found(format!("no replay plan `{id}`")))
}

/// Which letters, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Make {
    filter: PlanFilter,
    reason: Option<String>,
}

pub(super) async fn make(State(api): State<Api>, headers: HeaderMap, Told(told): Told<Make>) -> Result<Response, Problem> {
    api.settled()?;
    let letters = letters::meant(&api, &told.filter, "replay").await?;
    let acts = api.acts()?;
    let wish = Reason { reason: told.reason, until: None }.optional(&headers)?;
    let id = acts.plan(&wish, told.filter).await?;
    let place = format!("/api/v1/replay-plans/{id}");
    let body = json!({ "version": 1, "id": id, "letters": letters });
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], Json(body)).into_response())
}

pub(super) async fn run(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Told(reason): Told<Reason>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let plan = find(&api, &id).await?;
    refuse(&api, &plan).await?;
    let acts = api.acts()?;
    let command_id = acts.on_plan(&reason.optional(&headers)?, Act::Run, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "version": 1, "command_id": command_id }))))
}

/// What the replayer would refuse too, said at once.
async fn refuse(api: &Api, plan: &Plan) -> Result<(), Problem> {
    let conflict = |code, text: String| Err(Problem::new(409, code, text));
    match plan.state {
        PlanState::Planned => {}
        PlanState::Running => return conflict("PLAN_RUNNING", format!("{} is running", plan.id)),
        PlanState::Done | PlanState::Cancelled | PlanState::Unknown => {
            return conflict("PLAN_ENDED", format!("{} has ended; make a new plan", plan.id));
        }
    }
    if plan.valid_until < now() {
        return conflict("PLAN_EXPIRED", format!("{} was valid until {}; make a new plan", plan.id, plan.valid_until));
    }
    if plan.policy_version != api.fleet.policy_version {
        let text = format!("{} was made under policy {}; make a new plan", plan.id, plan.policy_version);
        return conflict("PLAN_EXPIRED", text);
    }
    if !plan.not_ready.is_empty() && !plan.filter.queue {
        let text = format!("{} not ready; the letters would wait there: plan again with --queue", names(&plan.not_ready));
        return conflict("DESTINATION_NOT_READY", text);
    }
    let system = plan.filter.system.clone();
    let running = api.reads.ask(move |sql| query::running_for(sql, system.as_deref())).await?;
    match running {
        Some(running) => conflict("PLAN_RUNNING", format!("{} is running for the same system; wait or cancel it", running.id)),
        None => Ok(()),
    }
}

fn names(names: &[String]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

pub(super) async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Told(reason): Told<Reason>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let plan = find(&api, &id).await?;
    let acts = api.acts()?;
    if matches!(plan.state, PlanState::Done | PlanState::Cancelled) {
        return Err(Problem::new(409, "PLAN_ENDED", format!("{id} has ended already")));
    }
    let command_id = acts.on_plan(&reason.optional(&headers)?, Act::Cancel, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "version": 1, "command_id": command_id }))))
}
