//! The matrix domain × system, and what needs a person. Counted by grouping on the few facts that [`why::place`] decides by, so
//! it costs the same per distinct situation however many records there are.

use std::collections::BTreeMap;

use model::{DestinationState, DestinationStatus, Domain, Reason, SourceState, SourceStatus, Timestamp};
use rusqlite::{Connection, params};
use serde::Serialize;

use super::{
    NEEDED, destination, destination_state, instant,
    needs::{self, Need, Said},
    parse_symbol, row, rows, source,
};
use crate::{
    fleet::Fleet,
    store::Error,
    why::{self, Place, Standing},
};

/// Percentiles look at the last hour, and at no more acceptances than these.
const SAMPLE: i64 = 1_000;
const HOUR: i64 = 3_600_000_000;

/// See `api/overview.rs` for the shape in words.
#[derive(Serialize)]
pub struct Overview {
    pub version: u8,
    pub as_of: Timestamp,
    pub caught_up: bool,
    pub policy_version: String,
    pub systems: Vec<System>,
    pub domains: Vec<DomainRow>,
    pub dead_letters: Letters,
    pub needs_a_person: Vec<Need>,
}

#[derive(Serialize)]
pub struct System {
    pub name: String,
    pub roles: Vec<&'static str>,
    pub office: String,
    #[serde(flatten)]
    pub status: Option<Status>,
}

#[derive(Clone, Serialize)]
pub struct Status {
    pub state: &'static str,
    pub since: Option<Timestamp>,
    pub reason: Option<String>,
    /// The code of its last answer, and when it is asked again: it is down, or asked to be left alone.
    pub code: Option<String>,
    pub next_at: Option<Timestamp>,
    pub by: Option<String>,
    pub until: Option<Timestamp>,
}

impl From<Option<&DestinationStatus>> for Status {
    fn from(status: Option<&DestinationStatus>) -> Self {
        Self {
            state: destination_state(status).name(),
            since: status.map(|status| status.since),
            reason: status.and_then(|status| status.reason.clone()),
            code: status.and_then(|status| status.code.clone()),
            next_at: status.and_then(|status| status.next_at),
            by: status.and_then(|status| status.by.clone()),
            until: status.and_then(|status| status.until),
        }
    }
}

#[derive(Serialize)]
pub struct DomainRow {
    pub domain: Domain,
    pub owner: String,
    pub golden: i64,
    pub deleted: i64,
    pub held: BTreeMap<&'static str, i64>,
    pub refused: i64,
    pub cells: BTreeMap<String, Cell>,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Cell {
    Source {
        changes: i64,
        last_change_at: Option<Timestamp>,
        state: &'static str,
        since: Option<Timestamp>,
        reason: Option<String>,
    },
    Destination(Box<Counts>),
}

#[derive(Default, Serialize)]
pub struct Counts {
    pub state: &'static str,
    pub accepted: i64,
    pub sent: i64,
    pub waiting: i64,
    pub refused: i64,
    pub given_up: i64,
    /// Of the waiting and sent ones: for longer than was promised.
    pub late: i64,
    pub not_needed: i64,
    pub reasons: BTreeMap<&'static str, i64>,
    pub oldest_waiting_seconds: Option<f64>,
    pub deadline_seconds: Option<f64>,
    pub p50_seconds: Option<f64>,
    pub p95_seconds: Option<f64>,
    pub p99_seconds: Option<f64>,
}

#[derive(Serialize)]
pub struct Letters {
    pub open: i64,
    pub replaying: i64,
    pub oldest_open_seconds: Option<f64>,
}

/// What each destination's sink last said.
pub(crate) type Statuses<'a> = BTreeMap<&'a str, Option<DestinationStatus>>;
/// What each source's publisher last said.
pub(crate) type Sources<'a> = BTreeMap<&'a str, Option<SourceStatus>>;
/// The groups of every cell.
pub(crate) type Standings<'a> = BTreeMap<(&'a str, Domain), Vec<Group>>;

/// Records of one domain that stand alike at one destination.
pub(crate) struct Group {
    pub(crate) standing: Standing,
    count: i64,
    /// Since when the oldest of them waits, and which it is.
    pub(crate) oldest: i64,
    pub(crate) key: String,
    /// How many of them wait for longer than was promised.
    pub(crate) late: i64,
}

/// # Errors
/// When the store cannot be read.
pub fn overview(sql: &Connection, fleet: &Fleet, caught_up: bool, as_of: Timestamp, now: Timestamp) -> Result<Overview, Error> {
    let statuses = statuses(sql, fleet)?;
    let sources = sources(sql, fleet)?;
    let standings = standings(sql, fleet, &statuses, now)?;
    let mut domains = Vec::new();
    for domain in Domain::ALL.into_iter().filter(|domain| fleet.domains.contains_key(domain)) {
        domains.push(domain_row(sql, fleet, &statuses, &sources, &standings, domain, now)?);
    }
    let (open, replaying, oldest) = row(
        sql,
        "SELECT count(*) FILTER (WHERE state = 'OPEN'), count(*) FILTER (WHERE state = 'REPLAYING'),
                min(opened_at) FILTER (WHERE state = 'OPEN') FROM letter_status",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?)),
    )?
    .unwrap_or_default();
    Ok(Overview {
        version: 1,
        as_of,
        caught_up,
        policy_version: fleet.policy_version.clone(),
        systems: systems(fleet, &statuses),
        domains,
        dead_letters: Letters { open, replaying, oldest_open_seconds: instant(oldest).map(|oldest| age(oldest, now)) },
        needs_a_person: needs::needs(
            sql,
            fleet,
            &Said { destinations: &statuses, sources: &sources },
            &standings,
            caught_up.then_some(as_of),
            now,
        )?,
    })
}

/// What every sink last said of its destination.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn statuses<'a>(sql: &Connection, fleet: &'a Fleet) -> Result<Statuses<'a>, Error> {
    fleet.destinations.keys().map(|name| Ok((name.as_str(), destination(sql, name)?))).collect()
}

/// What every publisher last said of its source.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn sources<'a>(sql: &Connection, fleet: &'a Fleet) -> Result<Sources<'a>, Error> {
    fleet.sources.keys().map(|name| Ok((name.as_str(), source(sql, name)?))).collect()
}

/// How the records of every cell stand.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn standings<'a>(
    sql: &Connection,
    fleet: &'a Fleet,
    statuses: &Statuses<'_>,
    now: Timestamp,
) -> Result<Standings<'a>, Error> {
    let mut standings = BTreeMap::new();
    for (name, part) in &fleet.destinations {
        let state = destination_state(statuses.get(name.as_str()).and_then(Option::as_ref));
        for domain in part.domains.keys() {
            standings.insert((name.as_str(), *domain), groups(sql, fleet, name, *domain, state, now)?);
        }
    }
    Ok(standings)
}

fn systems(fleet: &Fleet, statuses: &Statuses<'_>) -> Vec<System> {
    let mut systems = Vec::new();
    for name in fleet.sources.keys() {
        let status = statuses.get(name.as_str()).map(|status| Status::from(status.as_ref()));
        let roles = if status.is_some() { vec!["source", "destination"] } else { vec!["source"] };
        systems.push(System { name: name.clone(), roles, office: fleet.office_of(name), status });
    }
    for name in fleet.destinations.keys().filter(|name| !fleet.sources.contains_key(*name)) {
        let status = statuses.get(name.as_str()).map(|status| Status::from(status.as_ref()));
        systems.push(System { name: name.clone(), roles: vec!["destination"], office: fleet.office_of(name), status });
    }
    systems
}

fn domain_row(
    sql: &Connection,
    fleet: &Fleet,
    statuses: &Statuses<'_>,
    sources: &Sources<'_>,
    standings: &Standings<'_>,
    domain: Domain,
    now: Timestamp,
) -> Result<DomainRow, Error> {
    let name = domain.name();
    let (golden, deleted) = row(
        sql,
        "SELECT count(*) FILTER (WHERE deleted = 0), count(*) FILTER (WHERE deleted = 1) FROM record WHERE domain = ?",
        [name],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?
    .unwrap_or_default();
    let held = rows(sql, "SELECT reason, count(*) FROM held WHERE domain = ? GROUP BY reason", [name], |row| {
        Ok((parse_symbol::<model::Reason>(&row.get::<_, String>(0)?).name(), row.get(1)?))
    })?;
    let refused = row(
        sql,
        "SELECT count(*) FROM letter_status WHERE domain = ? AND state IN ('OPEN', 'REPLAYING') AND stage <> 'DELIVER'",
        [name],
        |row| row.get(0),
    )?
    .unwrap_or_default();
    let mut cells = BTreeMap::new();
    for (source, part) in &fleet.sources {
        if part.domains.contains(&domain) {
            let captured =
                row(sql, "SELECT changes, last FROM captured WHERE domain = ? AND source = ?", params![name, source], |row| {
                    Ok((row.get(0)?, row.get::<_, i64>(1)?))
                })?;
            let (changes, last) = captured.map_or((0, None), |(changes, last)| (changes, Some(last)));
            let status = sources.get(source.as_str()).and_then(Option::as_ref);
            let cell = Cell::Source {
                changes,
                last_change_at: instant(last),
                state: source_state(status, now),
                since: status.map(|status| status.since),
                reason: status.and_then(|status| status.reason.clone()),
            };
            cells.insert(source.clone(), cell);
        }
    }
    for (destination, part) in &fleet.destinations {
        if part.domains.contains_key(&domain) {
            let state = destination_state(statuses.get(destination.as_str()).and_then(Option::as_ref));
            let groups = standings.get(&(destination.as_str(), domain)).map(Vec::as_slice).unwrap_or_default();
            let counts = counts(sql, fleet, destination, domain, state, groups, now)?;
            cells.insert(destination.clone(), Cell::Destination(Box::new(counts)));
        }
    }
    let owner = fleet.domains.get(&domain).map(|owner| owner.system.clone()).unwrap_or_default();
    Ok(DomainRow { domain, owner, golden, deleted, held: held.into_iter().collect(), refused, cells })
}

/// What waited since before this is late; nothing is where no time was promised.
pub(crate) fn due_before(fleet: &Fleet, destination: &str, domain: Domain, now: Timestamp) -> i64 {
    let served = fleet.destinations.get(destination).and_then(|part| part.domains.get(&domain));
    let deadline = served.and_then(|served| served.deadline).and_then(|deadline| i64::try_from(deadline.as_micros()).ok());
    deadline.map_or(i64::MIN, |deadline| now.micros() - deadline)
}

/// The records of one cell, by how they stand.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn groups(
    sql: &Connection,
    fleet: &Fleet,
    destination: &str,
    domain: Domain,
    state: DestinationState,
    now: Timestamp,
) -> Result<Vec<Group>, Error> {
    let text = format!(
        "SELECT {NEEDED}, ifnull(l.accepted >= w.revision, 0) AS accepted, ifnull(l.offered >= w.revision, 0) AS offered,
                ifnull(l.state, 'UNKNOWN') AS state, ifnull(l.reason, 'UNKNOWN') AS reason, count(*), min(w.since),
                count(*) FILTER (WHERE w.since < ?), w.key
         FROM wanted w LEFT JOIN ledger l USING (destination, domain, key)
         WHERE w.destination = ? AND w.domain = ? GROUP BY 1, 2, 3, 4, 5"
    );
    let due = due_before(fleet, destination, domain, now);
    rows(sql, &text, params![due, destination, domain.name()], |row| {
        let standing = Standing {
            needed: row.get(0)?,
            accepted: row.get(1)?,
            offered: row.get(2)?,
            ledger: parse_symbol(&row.get::<_, String>(3)?),
            gate: parse_symbol(&row.get::<_, String>(4)?),
            destination: state,
        };
        // With one `min` in a query, SQLite takes what stands beside it from the row that has it.
        Ok(Group { standing, count: row.get(5)?, oldest: row.get(6)?, late: row.get(7)?, key: row.get(8)? })
    })
}

/// One cell: how many records are where, and how long it takes.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn counts(
    sql: &Connection,
    fleet: &Fleet,
    destination: &str,
    domain: Domain,
    state: DestinationState,
    groups: &[Group],
    now: Timestamp,
) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    let mut oldest: Option<i64> = None;
    for Group { standing, count, oldest: since, late, .. } in groups {
        let (place, reason) = why::place(standing);
        match place {
            Place::Accepted => counts.accepted += count,
            Place::Sent => counts.sent += count,
            Place::Waiting => counts.waiting += count,
            Place::Refused => counts.refused += count,
            Place::GivenUp => counts.given_up += count,
            Place::NotNeeded => counts.not_needed += count,
        }
        if let (Place::Sent | Place::Waiting, Some(reason)) = (place, reason) {
            *counts.reasons.entry(reason.name()).or_default() += count;
            oldest = Some(oldest.map_or(*since, |oldest: i64| oldest.min(*since)));
            // The clock of a record that waits for approval has not started.
            if reason != Reason::Approval {
                counts.late += late;
            }
        }
    }
    let served = fleet.destinations.get(destination).and_then(|part| part.domains.get(&domain));
    let deadline = served.and_then(|served| served.deadline);
    counts.oldest_waiting_seconds = instant(oldest).map(|oldest| age(oldest, now));
    counts.deadline_seconds = deadline.map(|deadline| deadline.as_secs_f64());
    percentiles(sql, destination, domain, now, &mut counts)?;
    counts.state = cell_state(&counts, state);
    Ok(counts)
}

/// The one word for a source.
fn source_state(status: Option<&SourceStatus>, now: Timestamp) -> &'static str {
    match status {
        None => SourceState::Unknown.name(),
        Some(status) if age(status.at, now) > needs::SILENT => "silent",
        Some(status) => status.state.name(),
    }
}

/// The one word for a cell, the worst first.
fn cell_state(counts: &Counts, destination: DestinationState) -> &'static str {
    let late = counts.late > 0;
    match destination {
        _ if counts.refused > 0 => "refused",
        DestinationState::Paused => "paused",
        DestinationState::Unavailable => "unavailable",
        DestinationState::Resyncing => "resyncing",
        DestinationState::Ok | DestinationState::Unknown if late => "late",
        DestinationState::Ok | DestinationState::Unknown if counts.waiting + counts.sent > 0 => "waiting",
        DestinationState::Ok | DestinationState::Unknown => "ok",
    }
}

fn percentiles(sql: &Connection, destination: &str, domain: Domain, now: Timestamp, counts: &mut Counts) -> Result<(), Error> {
    let mut times: Vec<i64> = rows(
        sql,
        "SELECT answered_at - occurred_at FROM receipt
         WHERE destination = ? AND domain = ? AND answered_at > ? AND outcome IN ('ACCEPTED', 'UNCHANGED')
         ORDER BY answered_at DESC LIMIT ?",
        params![destination, domain.name(), now.micros() - HOUR, SAMPLE],
        |row| row.get(0),
    )?;
    times.sort_unstable();
    let at = |share: usize| {
        let index = (times.len() * share).div_ceil(100).saturating_sub(1);
        times.get(index).map(|micros| seconds(*micros))
    };
    (counts.p50_seconds, counts.p95_seconds, counts.p99_seconds) = (at(50), at(95), at(99));
    Ok(())
}

fn age(from: Timestamp, now: Timestamp) -> f64 {
    now.since(from).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a propagation are far below 2^52")]
fn seconds(micros: i64) -> f64 {
    micros.max(0) as f64 / 1e6
}
