//! How each destination is doing.

use model::{Domain, Reason, Timestamp};
use rusqlite::{Connection, params};
use serde::Serialize;

use super::{destination, destination_state, overview, row};
use crate::{
    fleet::{DestinationPart, Fleet},
    store::Error,
};

const MINUTE: i64 = 60_000_000;

/// One line of `millrace destination list`.
#[derive(Serialize)]
pub struct Destination {
    pub name: String,
    pub office: String,
    pub domains: Vec<Domain>,
    #[serde(flatten)]
    pub status: overview::Status,
    pub queued: i64,
    /// Of the queued ones: what failed for now and is tried again.
    pub retrying: i64,
    pub refused: i64,
    pub oldest_waiting_seconds: Option<f64>,
    /// Acceptances of the last minute, per second.
    pub accepted_per_second: f64,
    /// Calls a second that the landscape allows; null is no limit.
    pub rate_limit: Option<f64>,
    pub refused_1h: i64,
}

/// # Errors
/// When the store cannot be read.
pub fn all(sql: &Connection, fleet: &Fleet, now: Timestamp) -> Result<Vec<Destination>, Error> {
    fleet.destinations.iter().map(|(name, part)| read(sql, fleet, name, part, now)).collect()
}

/// # Errors
/// When the store cannot be read.
pub fn one(sql: &Connection, fleet: &Fleet, name: &str, now: Timestamp) -> Result<Option<Destination>, Error> {
    fleet.destinations.get(name).map(|part| read(sql, fleet, name, part, now)).transpose()
}

fn read(sql: &Connection, fleet: &Fleet, name: &str, part: &DestinationPart, now: Timestamp) -> Result<Destination, Error> {
    let status = destination(sql, name)?;
    let (mut queued, mut retrying, mut refused, mut oldest) = (0, 0, 0, None::<f64>);
    for domain in part.domains.keys() {
        let state = destination_state(status.as_ref());
        let groups = overview::groups(sql, fleet, name, *domain, state, now)?;
        let counts = overview::counts(sql, fleet, name, *domain, state, &groups, now)?;
        queued += counts.waiting + counts.sent;
        retrying += counts.reasons.get(Reason::Retrying.name()).copied().unwrap_or_default();
        refused += counts.refused;
        oldest = oldest.into_iter().chain(counts.oldest_waiting_seconds).reduce(f64::max);
    }
    let receipts = |outcomes: &str, since: i64| {
        let text = format!("SELECT count(*) FROM receipt WHERE destination = ? AND answered_at > ? AND outcome IN ({outcomes})");
        row(sql, &text, params![name, now.micros() - since], |row| row.get::<_, i64>(0)).map(Option::unwrap_or_default)
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let accepted_per_second = receipts("'ACCEPTED', 'UNCHANGED'", MINUTE)? as f64 / 60.0;
    Ok(Destination {
        name: name.to_owned(),
        office: fleet.office_of(name),
        domains: part.domains.keys().copied().collect(),
        status: overview::Status::from(status.as_ref()),
        queued,
        retrying,
        refused,
        oldest_waiting_seconds: oldest,
        accepted_per_second,
        rate_limit: part.rate,
        refused_1h: receipts("'REFUSED'", 60 * MINUTE)?,
    })
}
