//! What people ask, answered from one snapshot of the store. No clock here: "now" comes in.

pub mod destinations;
pub mod letters;
pub mod needs;
pub mod overview;
pub mod records;

use model::{DestinationState, DestinationStatus, LedgerState, Reason, SourceStatus, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;

use super::Error;

/// Reads a topic's symbol back: `PARKED`. What this build does not know is `Unknown`.
pub(crate) fn parse_symbol<T: DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).unwrap_or_default()
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    Ok(serde_json::from_str(text)?)
}

fn instant(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_micros)
}

fn rows<T>(
    sql: &Connection,
    text: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Error> {
    let mut statement = sql.prepare_cached(text)?;
    let rows = statement.query_map(values, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn row<T>(
    sql: &Connection,
    text: &str,
    values: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, Error> {
    Ok(sql.prepare_cached(text)?.query_row(values, read).optional()?)
}

/// A destination's last word about itself; none before its sink spoke.
///
/// # Errors
/// When the store cannot be read.
pub fn destination(sql: &Connection, name: &str) -> Result<Option<DestinationStatus>, Error> {
    row(sql, "SELECT body FROM destination WHERE destination = ?", [name], |row| row.get::<_, String>(0))?
        .map(|body| json(&body))
        .transpose()
}

/// What a source's publisher last said of it; none before it spoke.
///
/// # Errors
/// When the store cannot be read.
pub fn source(sql: &Connection, name: &str) -> Result<Option<SourceStatus>, Error> {
    row(sql, "SELECT body FROM source WHERE source = ?", [name], |row| row.get::<_, String>(0))?
        .map(|body| json(&body))
        .transpose()
}

/// The state a destination is in, unknown before its sink spoke.
fn destination_state(status: Option<&DestinationStatus>) -> DestinationState {
    status.map_or(DestinationState::Unknown, |status| status.state)
}

/// Whether the destination must be told of the wanted revision, over `wanted w` and its `ledger l`: it is in scope, or the
/// destination holds the record and has to remove it. A delete that was accepted stays told.
pub(crate) const NEEDED: &str = "(w.kind = 1 OR ifnull(l.accepted IS NOT NULL AND
    (CASE WHEN l.accepted >= w.revision THEN w.kind = 2 ELSE l.state <> 'DELETED' END), 0))";

/// Whether nothing became of a `change c`: neither golden, nor held, nor refused, nor older than what is golden or deleted.
pub(crate) const UNJUDGED: &str = r#"NOT EXISTS (SELECT 1 FROM revision r WHERE r.domain = c.domain AND r.key = c.key AND
      (r.change_id = c.change_id OR
        (json_extract(r.meta, '$.fence."' || c.source || '".epoch'), json_extract(r.meta, '$.fence."' || c.source || '".sequence'))
          >= (json_extract(c.meta, '$.source_epoch'), json_extract(c.meta, '$.source_sequence'))))
    AND NOT EXISTS (SELECT 1 FROM grave g WHERE g.domain = c.domain AND g.key = c.key AND
        (json_extract(g.fence, '$."' || c.source || '".epoch'), json_extract(g.fence, '$."' || c.source || '".sequence'))
          >= (json_extract(c.meta, '$.source_epoch'), json_extract(c.meta, '$.source_sequence')))
    AND NOT EXISTS (SELECT 1 FROM held h WHERE h.domain = c.domain AND h.key = c.key AND h.source = c.source)
    AND NOT EXISTS (SELECT 1 FROM finding f WHERE f.domain = c.domain AND f.key = c.key AND f.change_id = c.change_id)
    AND NOT EXISTS (SELECT 1 FROM letter_status s WHERE s.domain = c.domain AND s.key = c.key AND s.stage = 'VALIDATE'
        AND json_extract(s.body, '$.change_id') = c.change_id)"#;

/// One key's line in a ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerRow {
    pub offered: Option<i64>,
    pub accepted: Option<i64>,
    pub accepted_at: Option<Timestamp>,
    pub state: LedgerState,
    pub reason: Reason,
    pub detail: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub code: Option<String>,
    pub attempts: i32,
    pub letter: Option<String>,
    pub external_id: Option<String>,
}

/// # Errors
/// When the store cannot be read.
pub fn ledger(sql: &Connection, destination: &str, domain: &str, key: &str) -> Result<Option<LedgerRow>, Error> {
    row(
        sql,
        "SELECT offered, accepted, accepted_at, state, reason, detail, since, until, code, attempts, letter, external_id
         FROM ledger WHERE destination = ? AND domain = ? AND key = ?",
        params![destination, domain, key],
        |row| {
            Ok(LedgerRow {
                offered: row.get(0)?,
                accepted: row.get(1)?,
                accepted_at: instant(row.get(2)?),
                state: parse_symbol(&row.get::<_, String>(3)?),
                reason: parse_symbol(&row.get::<_, String>(4)?),
                detail: row.get(5)?,
                since: instant(row.get(6)?),
                until: instant(row.get(7)?),
                code: row.get(8)?,
                attempts: row.get(9)?,
                letter: row.get(10)?,
                external_id: row.get(11)?,
            })
        },
    )
}

/// The last entry of one writer's audit chain: sequence and hash.
///
/// # Errors
/// When the store cannot be read.
pub fn audit_head(sql: &Connection, writer: &str) -> Result<Option<(i64, String)>, Error> {
    row(sql, "SELECT seq, hash FROM audit WHERE writer = ? ORDER BY seq DESC LIMIT 1", [writer], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}
