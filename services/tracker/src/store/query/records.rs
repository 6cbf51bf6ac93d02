//! One record: what is accepted, where it stands at every destination and why, how it came here.

use model::{ChangeMeta, Domain, Finding, GoldenMeta, Reason, Receipt, ReceiptOutcome, Timestamp};
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::Value;

use super::{LedgerRow, NEEDED, UNJUDGED, destination, destination_state, instant, json, ledger, parse_symbol, row, rows};
use crate::{
    fleet::{Fleet, Served},
    store::Error,
    why::{self, Place, Standing, Words},
};

/// A line of a search.
#[derive(Serialize)]
pub struct Hit {
    pub domain: Domain,
    pub key: String,
    pub label: String,
    pub revision: i64,
    pub deleted: bool,
}

/// A golden revision in full.
#[derive(Serialize)]
pub struct Revision {
    pub domain: Domain,
    pub key: String,
    pub meta: GoldenMeta,
    pub data: Option<Value>,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// When the broker appended it: from here on destinations can see it.
    pub appended_at: Timestamp,
}

/// A change that waits at the validator.
#[derive(Clone, Debug, Serialize)]
pub struct HeldRow {
    pub source: String,
    pub reason: &'static str,
    pub waits_for: String,
    pub sentence: String,
    /// Who can make it go on.
    pub turn: String,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
    pub findings: Vec<Finding>,
}

/// Where the newest golden revision stands at one destination.
#[derive(Serialize)]
pub struct Standpoint {
    pub destination: String,
    pub state: Place,
    pub reason: Option<&'static str>,
    /// Why, in one sentence.
    pub why: Option<String>,
    /// Whose turn it is.
    pub turn: Option<String>,
    /// What the destination has.
    pub accepted_revision: Option<i64>,
    pub accepted_at: Option<Timestamp>,
    /// Source commit to acceptance of the newest revision.
    pub took_seconds: Option<f64>,
    pub offered_revision: Option<i64>,
    pub external_id: Option<String>,
    pub letter: Option<String>,
    pub code: Option<String>,
    /// The refusal in words.
    pub message: Option<String>,
    pub attempts: i32,
    /// When it was refused, sent or parked.
    pub at: Option<Timestamp>,
    pub waiting_since: Option<Timestamp>,
    /// A person holds it back here, whatever it has.
    pub blocked: Option<Blocked>,
    pub deadline: Option<Timestamp>,
    pub late: bool,
}

/// A block of one record at one destination.
#[derive(Serialize)]
pub struct Blocked {
    /// Who and why, in the sink's words: `by j.rao: line 4 stop`.
    pub text: String,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Something that happened to the newest revision on its way.
#[derive(Serialize)]
pub struct Event {
    pub at: Timestamp,
    pub system: String,
    /// A receipt's outcome, a letter's state, or what a person did.
    pub what: String,
    pub text: String,
}

/// A change that was captured and waits for the validator.
#[derive(Serialize)]
pub struct Unjudged {
    pub source: String,
    pub captured_at: Timestamp,
}

/// `…/status`.
#[derive(Serialize)]
pub struct Status {
    pub domain: Domain,
    pub key: String,
    pub revision: Option<i64>,
    pub accepted_at: Option<Timestamp>,
    pub valid_from: Option<model::Date>,
    pub deleted: bool,
    /// The newest change, if nothing became of it yet.
    pub unjudged: Option<Unjudged>,
    pub held: Vec<HeldRow>,
    /// Open letters of sources and validator about this key: a proposal that never became golden.
    pub letters: Vec<model::LetterStatus>,
    pub destinations: Vec<Standpoint>,
}

impl Status {
    /// Nothing was ever heard of this key.
    #[must_use]
    pub fn is_unheard_of(&self) -> bool {
        self.revision.is_none() && self.held.is_empty() && self.letters.is_empty() && self.unjudged.is_none()
    }

    /// The destinations that should have the record.
    #[must_use]
    pub fn needed_at(&self) -> Vec<String> {
        let needed = self.destinations.iter().filter(|standpoint| standpoint.state != Place::NotNeeded);
        needed.map(|standpoint| standpoint.destination.clone()).collect()
    }
}

/// `…/lineage`: how the newest revision came to be, and its receipts.
#[derive(Serialize)]
pub struct Lineage {
    pub golden: Option<Revision>,
    pub change: Option<Captured>,
    pub findings: Vec<Finding>,
    pub rules_findings_at: Option<Timestamp>,
    pub receipts: Vec<Receipt>,
    /// Answers, replays, blocks and resends in their order.
    pub events: Vec<Event>,
    pub status: Status,
}

#[derive(Serialize)]
pub struct Captured {
    pub meta: ChangeMeta,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// # Errors
/// When the store cannot be read.
pub fn search(sql: &Connection, domain: Domain, text: &str, after: &str, limit: u32) -> Result<Vec<Hit>, Error> {
    let like = format!("%{}%", text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
    rows(
        sql,
        "SELECT key, label, revision, deleted FROM record
         WHERE domain = ? AND key > ? AND (text LIKE ? ESCAPE '\\' OR lower(key) LIKE ? ESCAPE '\\') ORDER BY key LIMIT ?",
        params![domain.name(), after, like, like, limit],
        |row| Ok(Hit { domain, key: row.get(0)?, label: row.get(1)?, revision: row.get(2)?, deleted: row.get(3)? }),
    )
}

/// All revisions kept of one key, the newest first.
///
/// # Errors
/// When the store cannot be read.
pub fn history(sql: &Connection, domain: Domain, key: &str) -> Result<Vec<Revision>, Error> {
    revisions(sql, domain, key, i64::MAX, 1_000)
}

/// The newest revision up to `at_most`.
///
/// # Errors
/// When the store cannot be read.
pub fn revision(sql: &Connection, domain: Domain, key: &str, at_most: i64) -> Result<Option<Revision>, Error> {
    Ok(revisions(sql, domain, key, at_most, 1)?.pop())
}

fn revisions(sql: &Connection, domain: Domain, key: &str, at_most: i64, limit: u32) -> Result<Vec<Revision>, Error> {
    let found = rows(
        sql,
        "SELECT meta, data, topic, slot, position, appended_at FROM revision WHERE domain = ? AND key = ? AND revision <= ?
         ORDER BY revision DESC LIMIT ?",
        params![domain.name(), key, at_most, limit],
        |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        },
    )?;
    found
        .into_iter()
        .map(|(meta, data, topic, partition, offset, appended)| {
            Ok(Revision {
                domain,
                key: key.to_owned(),
                meta: json(&meta)?,
                data: data.as_deref().map(json).transpose()?,
                topic,
                partition,
                offset,
                appended_at: Timestamp::from_micros(appended),
            })
        })
        .collect()
}

/// State and reason per destination that serves the domain.
///
/// # Errors
/// When the store cannot be read.
pub fn status(sql: &Connection, fleet: &Fleet, domain: Domain, key: &str, now: Timestamp) -> Result<Status, Error> {
    let golden = revision(sql, domain, key, i64::MAX)?;
    let mut destinations = Vec::new();
    if let Some(golden) = &golden {
        for (name, served) in fleet.served(domain) {
            destinations.push(standpoint(sql, fleet, name, served, golden, now)?);
        }
    }
    let letters = rows(
        sql,
        "SELECT body FROM letter_status WHERE domain = ? AND key = ? AND stage <> 'DELIVER' AND state IN ('OPEN', 'REPLAYING')
         ORDER BY opened_at DESC",
        params![domain.name(), key],
        |row| row.get::<_, String>(0),
    )?;
    Ok(Status {
        domain,
        key: key.to_owned(),
        revision: golden.as_ref().map(|golden| golden.meta.revision),
        accepted_at: golden.as_ref().map(|golden| golden.meta.accepted_at),
        valid_from: golden.as_ref().and_then(|golden| golden.meta.valid_from),
        deleted: golden.as_ref().is_some_and(|golden| golden.data.is_none()),
        unjudged: unjudged(sql, domain, key)?,
        held: held(sql, fleet, domain, key, now)?,
        letters: letters.iter().map(|body| json(body)).collect::<Result<_, _>>()?,
        destinations,
    })
}

fn unjudged(sql: &Connection, domain: Domain, key: &str) -> Result<Option<Unjudged>, Error> {
    row(
        sql,
        &format!(
            "SELECT source, captured_at FROM (SELECT * FROM change WHERE domain = ? AND key = ? ORDER BY captured_at DESC LIMIT 1) c
             WHERE {UNJUDGED}"
        ),
        [domain.name(), key],
        |row| Ok(Unjudged { source: row.get(0)?, captured_at: Timestamp::from_micros(row.get(1)?) }),
    )
}

fn held(sql: &Connection, fleet: &Fleet, domain: Domain, key: &str, now: Timestamp) -> Result<Vec<HeldRow>, Error> {
    let found = rows(
        sql,
        "SELECT source, reason, waits_for, since, until, findings FROM held WHERE domain = ? AND key = ?",
        params![domain.name(), key],
        |row| {
            Ok((
                row.get::<_, String>(0)?,
                parse_symbol::<Reason>(&row.get::<_, String>(1)?),
                row.get::<_, String>(2)?,
                row.get::<_, i64>(3)?,
                row.get::<_, Option<i64>>(4)?,
                row.get::<_, String>(5)?,
            ))
        },
    )?;
    let owner = fleet.office_of_domain(domain);
    found
        .into_iter()
        .map(|(source, reason, waits_for, since, until, findings)| {
            let words = Words { owner: &owner, waits_for: &waits_for, until: instant(until), ..Words::default() };
            let sentence = why::sentence(reason, &words, now);
            // The record that is waited for comes from its own domain's office.
            let awaited = (reason == Reason::Record).then(|| waits_for.split('/').next()?.parse::<Domain>().ok()).flatten();
            let turn = match reason {
                Reason::Steward if !waits_for.is_empty() => waits_for.clone(),
                _ => fleet.office_of_domain(awaited.unwrap_or(domain)),
            };
            Ok(HeldRow {
                turn,
                source,
                reason: reason.name(),
                sentence,
                waits_for,
                since: Timestamp::from_micros(since),
                until: instant(until),
                findings: json(&findings)?,
            })
        })
        .collect()
}

fn standpoint(
    sql: &Connection,
    fleet: &Fleet,
    name: &str,
    served: &Served,
    golden: &Revision,
    now: Timestamp,
) -> Result<Standpoint, Error> {
    let (domain, key, revision) = (golden.domain, golden.key.as_str(), golden.meta.revision);
    let entry = ledger(sql, name, domain.name(), key)?.unwrap_or_default();
    let text = format!(
        "SELECT {NEEDED}, w.since FROM wanted w LEFT JOIN ledger l USING (destination, domain, key)
         WHERE w.destination = ? AND w.domain = ? AND w.key = ?"
    );
    let wanted: Option<(bool, i64)> = row(sql, &text, params![name, domain.name(), key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (needed, since) = wanted.map_or((true, None), |(needed, since)| (needed, Some(since)));
    let status = destination(sql, name)?;
    let standing = Standing {
        needed,
        accepted: entry.accepted.is_some_and(|accepted| accepted >= revision),
        offered: entry.offered.is_some_and(|offered| offered >= revision),
        ledger: entry.state,
        gate: entry.reason,
        destination: destination_state(status.as_ref()),
    };
    let (place, reason) = why::place(&standing);
    let waiting_since = instant(since).filter(|_| matches!(place, Place::Waiting | Place::Sent | Place::Refused));
    let letter = letter_of(sql, &entry)?;
    let ahead = match reason {
        Some(Reason::Queued) => ahead(sql, name, since)?,
        _ => 0,
    };
    let owner = fleet.domains.get(&domain).map_or("", |owner| owner.system.as_str());
    let still = status.as_ref().filter(|_| matches!(reason, Some(Reason::Paused | Reason::Unavailable)));
    let down = still.filter(|_| reason == Some(Reason::Unavailable));
    let asks = status.as_ref().filter(|status| status.next_at.is_some_and(|next| next > now));
    let asks = asks.filter(|_| reason == Some(Reason::Queued));
    let silent = status.as_ref().map(|status| status.at).filter(|at| now.since(*at).as_secs_f64() > super::needs::SILENT);
    let silent = silent.filter(|_| reason == Some(Reason::Queued));
    let words = Words {
        destination: name,
        owner,
        waits_for: entry.detail.as_deref().unwrap_or_default(),
        by: still.and_then(|status| status.by.as_deref()),
        text: down.map_or(entry.detail.as_deref(), |status| status.reason.as_deref()),
        until: match (down.or(asks), still) {
            (Some(status), _) => status.next_at,
            (None, Some(status)) => status.until,
            (None, None) => entry.until.filter(|_| reason != Some(Reason::Queued)),
        },
        since: still.map(|status| status.since).or(silent),
        code: down.or(asks).map_or(entry.code.as_deref(), |status| status.code.as_deref()),
        filter: match &served.scope {
            _ if golden.data.is_none() => "deleted, and not there",
            Some(scope) => scope.text(),
            None => "",
        },
        attempts: entry.attempts,
        budget: fleet.destinations.get(name).map_or(0, |part| part.attempts),
        ahead,
        rate: fleet.destinations.get(name).and_then(|part| part.rate),
    };
    let block = blocked(&entry);
    let given_up = if place == Place::GivenUp { Some(given_up(sql, name, domain, key, revision)?) } else { None };
    let discarded = given_up.as_ref().and_then(|(_, letter)| letter.as_ref());
    let (discarded_as, discarded_at) = (discarded.map(|letter| letter.id.0.clone()), discarded.map(|letter| letter.changed_at));
    let deadline = served.deadline.zip(waiting_since).map(|(deadline, since)| since.plus(deadline));
    Ok(Standpoint {
        destination: name.to_owned(),
        state: place,
        reason: reason.map(Reason::name),
        why: reason.map(|reason| why::sentence(reason, &words, now)).or(given_up.map(|(why, _)| why)),
        turn: match reason {
            Some(Reason::Queued) if silent.is_some() => Some("operations".to_owned()),
            Some(reason) => turn(fleet, name, domain, reason, &entry, letter.as_ref(), status.as_ref()),
            None => None,
        },
        accepted_revision: entry.accepted,
        accepted_at: entry.accepted_at,
        took_seconds: entry
            .accepted_at
            .filter(|_| entry.accepted == Some(revision))
            .map(|at| at.since(golden.meta.occurred_at).as_secs_f64()),
        offered_revision: entry.offered,
        external_id: entry.external_id,
        code: entry.code,
        message: letter.as_ref().map(|letter| letter.message.clone()),
        letter: entry.letter.or(discarded_as),
        attempts: entry.attempts,
        blocked: block,
        at: discarded_at.or(entry.since),
        waiting_since,
        deadline,
        late: deadline.is_some_and(|deadline| deadline < now),
    })
}

/// Where one record stands at one destination; none without golden record, or where the domain is not served.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn standpoint_of(
    sql: &Connection,
    fleet: &Fleet,
    name: &str,
    domain: Domain,
    key: &str,
    now: Timestamp,
) -> Result<Option<Standpoint>, Error> {
    let served = fleet.destinations.get(name).and_then(|part| part.domains.get(&domain));
    let (Some(served), Some(golden)) = (served, revision(sql, domain, key, i64::MAX)?) else { return Ok(None) };
    standpoint(sql, fleet, name, served, &golden, now).map(Some)
}

fn letter_of(sql: &Connection, entry: &LedgerRow) -> Result<Option<model::LetterStatus>, Error> {
    let Some(id) = &entry.letter else { return Ok(None) };
    row(sql, "SELECT body FROM letter_status WHERE id = ?", [id], |row| row.get::<_, String>(0))?
        .map(|body| json(&body))
        .transpose()
}

/// Why a revision that was not accepted is not sent any more.
fn given_up(
    sql: &Connection,
    destination: &str,
    domain: Domain,
    key: &str,
    revision: i64,
) -> Result<(String, Option<model::LetterStatus>), Error> {
    let receipt = row(
        sql,
        "SELECT body FROM receipt WHERE domain = ? AND key = ? AND destination = ? AND revision = ? AND outcome = 'SUPERSEDED'",
        params![domain.name(), key, destination, revision],
        |row| row.get::<_, String>(0),
    )?;
    if let Some(receipt) = receipt.map(|body| json::<Receipt>(&body)).transpose()? {
        return Ok((receipt.note.unwrap_or_else(|| "the destination holds a newer revision".to_owned()), None));
    }
    let letter = row(
        sql,
        "SELECT body FROM letter_status WHERE domain = ? AND key = ? AND system = ? AND state = 'DISCARDED'
         ORDER BY changed_at DESC LIMIT 1",
        params![domain.name(), key, destination],
        |row| row.get::<_, String>(0),
    )?;
    Ok(match letter.map(|body| json::<model::LetterStatus>(&body)).transpose()? {
        Some(letter) => {
            (format!("given up by {}: {}", letter.by, letter.reason.as_deref().unwrap_or("no reason given")), Some(letter))
        }
        None => ("given up".to_owned(), None),
    })
}

/// How many records this destination lacks for longer than this one.
fn ahead(sql: &Connection, destination: &str, since: Option<i64>) -> Result<i64, Error> {
    Ok(row(
        sql,
        "SELECT count(*) FROM wanted w LEFT JOIN ledger l USING (destination, domain, key)
         WHERE w.destination = ? AND w.kind = 1 AND w.since < ? AND ifnull(l.accepted < w.revision, 1)
           AND ifnull(l.state NOT IN ('PARKED', 'BLOCKED', 'WAITING'), 1)",
        params![destination, since],
        |row| row.get(0),
    )?
    .unwrap_or_default())
}

/// Who can make it go on.
fn turn(
    fleet: &Fleet,
    destination: &str,
    domain: Domain,
    reason: Reason,
    entry: &LedgerRow,
    letter: Option<&model::LetterStatus>,
    status: Option<&model::DestinationStatus>,
) -> Option<String> {
    match reason {
        Reason::Refused => Some(letter.and_then(|letter| letter.owner.clone()).unwrap_or_else(|| fleet.office_of(destination))),
        Reason::Unavailable | Reason::Dependency | Reason::Confirmation | Reason::Receipt | Reason::Retrying => {
            Some(fleet.office_of(destination))
        }
        // The sink's own words name who blocked it.
        Reason::Blocked => {
            let by = entry.detail.as_deref().and_then(|detail| detail.strip_prefix("by ")?.split_once(": "));
            by.map(|(by, _)| by.to_owned())
        }
        Reason::Paused => match status {
            Some(status) if status.until.is_none() => status.by.clone(),
            Some(_) | None => Some("nobody, resumes by itself".to_owned()),
        },
        Reason::Approval | Reason::Steward | Reason::Record | Reason::Rule | Reason::Source => {
            Some(fleet.office_of_domain(domain))
        }
        Reason::Effective | Reason::Window | Reason::Queued | Reason::Resync | Reason::NotNeeded | Reason::Unknown => None,
    }
}

/// From the source to every destination.
///
/// # Errors
/// When the store cannot be read.
pub fn lineage(sql: &Connection, fleet: &Fleet, domain: Domain, key: &str, now: Timestamp) -> Result<Lineage, Error> {
    let golden = revision(sql, domain, key, i64::MAX)?;
    let change_id = golden.as_ref().map(|golden| golden.meta.change_id.to_string()).unwrap_or_default();
    let change = row(sql, "SELECT meta, topic, slot, position FROM change WHERE change_id = ?", [&change_id], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    let change = match change {
        Some((meta, topic, partition, offset)) => Some(Captured { meta: json(&meta)?, topic, partition, offset }),
        None => None,
    };
    let findings = row(
        sql,
        "SELECT findings, at FROM finding WHERE domain = ? AND key = ? AND change_id = ?",
        params![domain.name(), key, change_id],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let (findings, rules_findings_at) = match findings {
        Some((findings, at)) => (json(&findings)?, Some(Timestamp::from_micros(at))),
        None => (golden.as_ref().map(|golden| golden.meta.findings.clone()).unwrap_or_default(), None),
    };
    let newest = golden.as_ref().map_or(0, |golden| golden.meta.revision);
    let receipts = rows(
        sql,
        "SELECT body FROM receipt WHERE domain = ? AND key = ? AND revision >= ? ORDER BY answered_at",
        params![domain.name(), key, newest],
        |row| row.get::<_, String>(0),
    )?;
    let receipts: Vec<Receipt> = receipts.iter().map(|body| json(body)).collect::<Result<_, _>>()?;
    let start = golden.as_ref().map_or(i64::MIN, |golden| golden.meta.occurred_at.micros());
    let events = events(sql, domain, key, &receipts, start)?;
    Ok(Lineage { golden, change, findings, rules_findings_at, receipts, events, status: status(sql, fleet, domain, key, now)? })
}

/// What happened to a record since an instant: what the destinations answered, what became of its letters, what people did.
fn events(sql: &Connection, domain: Domain, key: &str, receipts: &[Receipt], start: i64) -> Result<Vec<Event>, Error> {
    let mut events: Vec<Event> = receipts.iter().map(answered).collect();
    let steps = rows(
        sql,
        "SELECT h.at, s.system, h.state, h.by, h.reason, h.plan FROM letter_history h JOIN letter_status s USING (id)
         WHERE s.domain = ? AND s.key = ? AND h.at >= ? AND (s.stage <> 'DELIVER' OR h.state <> 'OPEN')",
        params![domain.name(), key, start],
        |row| {
            let (by, reason, plan) =
                (row.get::<_, String>(3)?, row.get::<_, Option<String>>(4)?, row.get::<_, Option<String>>(5)?);
            let plan = plan.map(|plan| format!(", plan {plan}")).unwrap_or_default();
            Ok(Event {
                at: Timestamp::from_micros(row.get(0)?),
                system: row.get(1)?,
                what: row.get::<_, String>(2)?.to_lowercase(),
                text: format!("letter, by {by}{plan}{}", reason.map(|reason| format!(": {reason}")).unwrap_or_default()),
            })
        },
    )?;
    events.extend(steps);
    let place = format!("{domain}/{key} at ");
    let acts = rows(
        sql,
        "SELECT body FROM audit WHERE object >= ?1 AND object < ?1 || char(1114111) AND at >= ?2",
        params![place, start],
        |row| row.get::<_, String>(0),
    )?;
    for act in acts {
        let entry: model::AuditEntry = json(&act)?;
        let system = entry.object.trim_start_matches(&place).to_owned();
        let what = entry.act.trim_start_matches("record.").to_owned();
        let reason = entry.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        events.push(Event { at: entry.at, system, what, text: format!("by {}{reason}", entry.actor) });
    }
    events.sort_by(|left, right| (left.at, &left.system).cmp(&(right.at, &right.system)));
    Ok(events)
}

fn answered(receipt: &Receipt) -> Event {
    let words = [receipt.code.as_deref(), receipt.text.as_deref(), receipt.note.as_deref()];
    let said: Vec<&str> = words.into_iter().flatten().collect();
    let said = if said.is_empty() { String::new() } else { format!(", {}", said.join(" ")) };
    let cause = match receipt.cause {
        model::Cause::Replay => ", after a replay",
        model::Cause::Resend => ", sent again",
        _ => "",
    };
    let attempt = if receipt.attempt > 1 { format!(", attempt {}", receipt.attempt) } else { String::new() };
    Event {
        at: receipt.answered_at,
        system: receipt.destination.clone(),
        what: match receipt.outcome {
            ReceiptOutcome::Accepted => "accepted",
            ReceiptOutcome::Unchanged => "unchanged",
            ReceiptOutcome::Superseded => "superseded",
            ReceiptOutcome::Refused => "refused",
            ReceiptOutcome::Unknown => "answered",
        }
        .to_owned(),
        text: format!("revision {}{said}{attempt}{cause}", receipt.revision),
    }
}

/// Where a record is held back, by destination.
///
/// # Errors
/// When the store cannot be read.
pub fn blocks(sql: &Connection, fleet: &Fleet, domain: Domain, key: &str) -> Result<Vec<(String, Blocked)>, Error> {
    let mut found = Vec::new();
    for (name, _) in fleet.served(domain) {
        let entry = ledger(sql, name, domain.name(), key)?;
        found.extend(entry.as_ref().and_then(blocked).map(|blocked| (name.to_owned(), blocked)));
    }
    Ok(found)
}

fn blocked(entry: &LedgerRow) -> Option<Blocked> {
    (entry.state == model::LedgerState::Blocked).then(|| Blocked {
        text: entry.detail.clone().unwrap_or_default(),
        since: entry.since,
        until: entry.until,
    })
}

/// The last revision a destination said it applied, as golden had it; none when it is older than the store keeps.
///
/// # Errors
/// When the store cannot be read.
pub fn at_destination(sql: &Connection, name: &str, domain: Domain, key: &str) -> Result<Option<Revision>, Error> {
    let Some(accepted) = ledger(sql, name, domain.name(), key)?.and_then(|entry| entry.accepted) else { return Ok(None) };
    Ok(revision(sql, domain, key, accepted)?.filter(|found| found.meta.revision == accepted))
}
