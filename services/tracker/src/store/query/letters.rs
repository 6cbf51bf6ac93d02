//! Dead letters, plans, statistics.

use model::{DeadLetter, LetterStatus, Plan, PlanFilter, Timestamp};
use rusqlite::{Connection, ToSql, params, types::Value as Sql};
use serde::Serialize;
use serde_json::Value;

use super::{json, records, row, rows};
use crate::store::Error;

/// What a list of letters is narrowed by. The same filter in the API, the command line and a plan.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub plan: PlanFilter,
    /// States by name; empty is open and replaying.
    pub states: Vec<String>,
}

impl Filter {
    fn clause(&self) -> (String, Vec<Sql>) {
        let mut clause = String::from("1");
        let mut values: Vec<Sql> = Vec::new();
        let mut is = |column: &str, value: &Option<String>| {
            if let Some(value) = value {
                clause.push_str(&format!(" AND {column} = ?"));
                values.push(value.clone().into());
            }
        };
        is("system", &self.plan.system);
        is("domain", &self.plan.domain);
        is("key", &self.plan.key);
        is("code", &self.plan.code);
        is("class", &self.plan.class);
        if let Some(since) = self.plan.since {
            clause.push_str(" AND opened_at >= ?");
            values.push(since.micros().into());
        }
        let mut any = |column: &str, listed: Vec<String>| {
            let marks = vec!["?"; listed.len()].join(", ");
            clause.push_str(&format!(" AND {column} IN ({marks})"));
            values.extend(listed.into_iter().map(Sql::from));
        };
        if !self.plan.ids.is_empty() {
            any("id", self.plan.ids.clone());
        }
        if self.states.is_empty() {
            any("state", vec!["OPEN".to_owned(), "REPLAYING".to_owned()]);
        } else if !self.states.iter().any(|state| state == "all") {
            any("state", self.states.iter().map(|state| state.to_uppercase()).collect());
        }
        (clause, values)
    }
}

/// A line of the list.
#[derive(Serialize)]
pub struct Line {
    #[serde(flatten)]
    pub status: LetterStatus,
    /// None where the letter's bytes have left the topic.
    pub attempts: Option<i32>,
}

/// Letters, the newest first, and how many match in all.
///
/// # Errors
/// When the store cannot be read.
pub fn list(sql: &Connection, filter: &Filter, after: i64, limit: u32) -> Result<(Vec<Line>, i64), Error> {
    let (clause, values) = filter.clause();
    let bound: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    let total = row(sql, &format!("SELECT count(*) FROM letter_status WHERE {clause}"), bound.as_slice(), |row| row.get(0))?
        .unwrap_or_default();
    let bodies = rows(
        sql,
        &format!(
            "SELECT body, (SELECT json_extract(letter.body, '$.attempts') FROM letter WHERE letter.id = letter_status.id)
             FROM letter_status WHERE {clause} ORDER BY opened_at DESC, id LIMIT {limit} OFFSET {after}"
        ),
        bound.as_slice(),
        |row| Ok((row.get::<_, String>(0)?, row.get(1)?)),
    )?;
    let lines = bodies.into_iter().map(|(body, attempts)| Ok(Line { status: json(&body)?, attempts }));
    Ok((lines.collect::<Result<_, Error>>()?, total))
}

/// How many open letters of how many systems a filter meets.
///
/// # Errors
/// When the store cannot be read.
pub fn reach(sql: &Connection, filter: &Filter) -> Result<(i64, i64), Error> {
    let (clause, values) = filter.clause();
    let bound: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    let text = format!("SELECT count(*), count(DISTINCT system) FROM letter_status WHERE {clause}");
    Ok(row(sql, &text, bound.as_slice(), |row| Ok((row.get(0)?, row.get(1)?)))?.unwrap_or_default())
}

/// A letter's step.
#[derive(Serialize)]
pub struct Step {
    pub at: Timestamp,
    pub state: String,
    pub by: String,
    pub reason: Option<String>,
    pub plan: Option<String>,
}

/// A field that differs between what was sent and what the destination has.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub path: String,
    pub sent: Value,
    pub there: Value,
}

/// One letter in full.
#[derive(Serialize)]
pub struct Letter {
    pub status: LetterStatus,
    /// None where the letter's bytes have left the topic (90 days).
    pub letter: Option<DeadLetter>,
    pub history: Vec<Step>,
    /// Deliver: the revision that was sent, the one that the destination has, and where they differ.
    pub sent_revision: Option<i64>,
    pub there_revision: Option<i64>,
    pub differences: Vec<Difference>,
    /// What failed, decoded where it can be.
    pub payload: Option<Value>,
}

/// The stored letter and its raw bytes, for the caller to decode.
pub struct Found {
    pub letter: Letter,
    pub payload: Vec<u8>,
}

/// # Errors
/// When the store cannot be read.
pub fn one(sql: &Connection, id: &str) -> Result<Option<Found>, Error> {
    let status = row(sql, "SELECT body FROM letter_status WHERE id = ?", [id], |row| row.get::<_, String>(0))?;
    let Some(status) = status else { return Ok(None) };
    let status: LetterStatus = json(&status)?;
    let stored = row(sql, "SELECT body, payload FROM letter WHERE id = ?", [id], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let (letter, payload) = match stored {
        Some((body, payload)) => (Some(json::<DeadLetter>(&body)?), payload),
        None => (None, Vec::new()),
    };
    let history = rows(sql, "SELECT at, state, by, reason, plan FROM letter_history WHERE id = ? ORDER BY at", [id], |row| {
        Ok(Step {
            at: Timestamp::from_micros(row.get(0)?),
            state: row.get::<_, String>(1)?.to_lowercase(),
            by: row.get(2)?,
            reason: row.get(3)?,
            plan: row.get(4)?,
        })
    })?;
    let mut answer =
        Letter { letter, history, sent_revision: None, there_revision: None, differences: Vec::new(), payload: None, status };
    compare(sql, &mut answer)?;
    Ok(Some(Found { letter: answer, payload }))
}

/// What was sent against what is there. Without an acceptance there is nothing to compare with.
fn compare(sql: &Connection, answer: &mut Letter) -> Result<(), Error> {
    let status = &answer.status;
    let (Some(domain), Some(key), Some(revision)) = (status.domain, &status.key, status.revision) else { return Ok(()) };
    let sent = records::revision(sql, domain, key.as_str(), revision)?.filter(|found| found.meta.revision == revision);
    let there = records::at_destination(sql, &status.system, domain, key.as_str())?;
    answer.sent_revision = Some(revision);
    answer.there_revision = there.as_ref().map(|there| there.meta.revision);
    if let (Some(sent), Some(there)) = (sent.and_then(|sent| sent.data), there.and_then(|there| there.data)) {
        differences("", &sent, &there, &mut answer.differences);
    }
    Ok(())
}

/// Leaves that differ, as RFC 6901 pointers.
pub(crate) fn differences(path: &str, sent: &Value, there: &Value, found: &mut Vec<Difference>) {
    match (sent, there) {
        (Value::Object(sent), Value::Object(there)) => {
            let mut names: Vec<&String> = sent.keys().chain(there.keys().filter(|name| !sent.contains_key(*name))).collect();
            names.sort();
            for name in names {
                let (left, right) = (sent.get(name).unwrap_or(&Value::Null), there.get(name).unwrap_or(&Value::Null));
                differences(&format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), left, right, found);
            }
        }
        (Value::Array(sent), Value::Array(there)) if sent.len() == there.len() => {
            for (index, (left, right)) in sent.iter().zip(there).enumerate() {
                differences(&format!("{path}/{index}"), left, right, found);
            }
        }
        (sent, there) if sent != there => {
            found.push(Difference { path: path.to_owned(), sent: sent.clone(), there: there.clone() });
        }
        _ => {}
    }
}

/// One line of the statistics.
#[derive(Serialize)]
pub struct Stat {
    pub value: String,
    pub open: i64,
    pub oldest_open_at: Option<Timestamp>,
    pub written_24h: i64,
    pub accepted_24h: i64,
    pub superseded_24h: i64,
    pub discarded_24h: i64,
}

/// What the statistics may be grouped by.
pub const GROUPS: [&str; 6] = ["code", "class", "system", "domain", "stage", "owner"];

/// # Errors
/// When the store cannot be read.
pub fn stats(sql: &Connection, by: &str, now: Timestamp) -> Result<Vec<Stat>, Error> {
    let column = match GROUPS.iter().find(|group| **group == by) {
        Some(&"owner") => "ifnull(json_extract(body, '$.owner'), '')",
        Some(group) => group,
        None => "code",
    };
    let day = now.micros() - 86_400_000_000;
    rows(
        sql,
        &format!(
            "SELECT {column}, count(*) FILTER (WHERE state IN ('OPEN', 'REPLAYING')),
                    min(opened_at) FILTER (WHERE state IN ('OPEN', 'REPLAYING')), count(*) FILTER (WHERE opened_at >= ?1),
                    count(*) FILTER (WHERE state = 'RESOLVED' AND changed_at >= ?1),
                    count(*) FILTER (WHERE state = 'SUPERSEDED' AND changed_at >= ?1),
                    count(*) FILTER (WHERE state = 'DISCARDED' AND changed_at >= ?1)
             FROM letter_status GROUP BY 1 ORDER BY 2 DESC, 1"
        ),
        params![day],
        |row| {
            Ok(Stat {
                value: row.get::<_, String>(0)?,
                open: row.get(1)?,
                oldest_open_at: super::instant(row.get(2)?),
                written_24h: row.get(3)?,
                accepted_24h: row.get(4)?,
                superseded_24h: row.get(5)?,
                discarded_24h: row.get(6)?,
            })
        },
    )
}

/// A group of open letters, for the metrics.
pub struct OpenGroup {
    pub stage: String,
    pub system: String,
    pub domain: String,
    pub class: String,
    pub count: i64,
    pub oldest: Timestamp,
}

/// # Errors
/// When the store cannot be read.
pub fn open_groups(sql: &Connection) -> Result<Vec<OpenGroup>, Error> {
    rows(
        sql,
        "SELECT lower(stage), system, domain, class, count(*), min(opened_at) FROM letter_status
         WHERE state IN ('OPEN', 'REPLAYING') GROUP BY 1, 2, 3, 4",
        [],
        |row| {
            Ok(OpenGroup {
                stage: row.get(0)?,
                system: row.get(1)?,
                domain: row.get(2)?,
                class: row.get(3)?,
                count: row.get(4)?,
                oldest: Timestamp::from_micros(row.get(5)?),
            })
        },
    )
}

/// One plan.
///
/// # Errors
/// When the store cannot be read.
pub fn plan(sql: &Connection, id: &str) -> Result<Option<Plan>, Error> {
    row(sql, "SELECT body FROM plan WHERE id = ?", [id], |row| row.get::<_, String>(0))?.map(|body| json(&body)).transpose()
}

/// The latest plans, the newest first.
///
/// # Errors
/// When the store cannot be read.
pub fn plans(sql: &Connection, limit: u32) -> Result<Vec<Plan>, Error> {
    let bodies = rows(sql, "SELECT body FROM plan ORDER BY made_at DESC LIMIT ?", [limit], |row| row.get::<_, String>(0))?;
    bodies.iter().map(|body| json(body)).collect()
}

/// A running plan that may touch the same system.
///
/// # Errors
/// When the store cannot be read.
pub fn running_for(sql: &Connection, system: Option<&str>) -> Result<Option<Plan>, Error> {
    let bodies = rows(sql, "SELECT body FROM plan WHERE state = 'RUNNING'", [], |row| row.get::<_, String>(0))?;
    for body in bodies {
        let plan: Plan = json(&body)?;
        let same = match (system, plan.filter.system.as_deref()) {
            (Some(asked), Some(runs)) => asked == runs,
            (None, _) | (_, None) => true,
        };
        if same {
            return Ok(Some(plan));
        }
    }
    Ok(None)
}
