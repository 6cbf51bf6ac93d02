//! What needs a person: everything that will not go on by itself, and everything that should have gone on by now. Each line says
//! whose turn it is and what to type.
//!
//! Invariant: nothing that is late, refused, given up, quarantined, silent or tried for long is missing here, so an empty list can
//! be believed.

mod records;
mod systems;

use model::{LetterStatus, Timestamp};
use rusqlite::Connection;
use serde::Serialize;

use super::{
    json,
    overview::{Sources, Standings, Statuses},
    row, rows,
};
use crate::{fleet::Fleet, store::Error, why::clock};

/// A sink and a publisher speak once a minute; one that was not heard for longer is not there.
pub(super) const SILENT: f64 = 180.0;
/// What the tracker says is this old at most while everything runs.
const BEHIND: f64 = 60.0;
/// A letter that was sent again has its answer by then.
const REPLAYING: i64 = 300_000_000;
/// Of a line, in bytes: what systems say may be long.
const LONGEST: usize = 400;
const OPERATIONS: &str = "operations";

/// What kind of attention: the label of the metric, and the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The tracker itself has read nothing new for long.
    Behind,
    /// Open dead letters, also those whose bytes have left the topic.
    Refused,
    /// Sent again, and no answer came.
    Replaying,
    /// Does not take records, or does not answer.
    Unavailable,
    Paused,
    /// Its own process has not been heard.
    Silent,
    /// The brokers refuse it something.
    Denied,
    /// A source is asked for what comes after a time that has not come.
    Ahead,
    Late,
    Retrying,
    Approval,
    Quarantined,
    /// Held past its time.
    Overdue,
    /// A plant lacks it, and nobody sends it any more.
    GivenUp,
}

impl Kind {
    pub const ALL: [Kind; 14] = [
        Kind::Behind,
        Kind::Refused,
        Kind::Replaying,
        Kind::Unavailable,
        Kind::Paused,
        Kind::Silent,
        Kind::Denied,
        Kind::Ahead,
        Kind::Late,
        Kind::Retrying,
        Kind::Approval,
        Kind::Quarantined,
        Kind::Overdue,
        Kind::GivenUp,
    ];

    /// The label in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Behind => "behind",
            Kind::Refused => "refused",
            Kind::Replaying => "replaying",
            Kind::Unavailable => "unavailable",
            Kind::Paused => "paused",
            Kind::Silent => "silent",
            Kind::Denied => "denied",
            Kind::Ahead => "ahead",
            Kind::Late => "late",
            Kind::Retrying => "retrying",
            Kind::Approval => "approval",
            Kind::Quarantined => "quarantined",
            Kind::Overdue => "overdue",
            Kind::GivenUp => "given_up",
        }
    }
}

/// One line.
#[derive(Debug, Serialize)]
pub struct Need {
    pub kind: Kind,
    pub system: String,
    pub domain: String,
    pub key: Option<String>,
    pub count: i64,
    pub code: Option<String>,
    pub text: String,
    pub turn: String,
    /// The command that leads on.
    pub then: String,
    pub oldest_seconds: f64,
}

/// What the systems' own processes said of them.
pub(crate) struct Said<'a> {
    pub(crate) destinations: &'a Statuses<'a>,
    pub(crate) sources: &'a Sources<'a>,
}

/// What the lines are made from.
struct Desk<'a> {
    sql: &'a Connection,
    fleet: &'a Fleet,
    now: Timestamp,
    needs: Vec<Need>,
}

/// Every line, sorted by kind, the oldest first. `as_of` is how far the tracker has read: who was not heard since may have spoken.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn needs(
    sql: &Connection,
    fleet: &Fleet,
    said: &Said<'_>,
    standings: &Standings<'_>,
    as_of: Option<Timestamp>,
    now: Timestamp,
) -> Result<Vec<Need>, Error> {
    let mut desk = Desk { sql, fleet, now, needs: Vec::new() };
    desk.letters()?;
    desk.replaying()?;
    let hears = as_of.is_some_and(|as_of| age(as_of, now) <= BEHIND);
    if let Some(as_of) = as_of.filter(|_| !hears) {
        desk.behind(as_of);
    }
    for (name, status) in said.sources {
        desk.source(name, status.as_ref(), hears);
    }
    for (name, status) in said.destinations {
        let late = desk.late(name, standings)?;
        desk.destination(name, status.as_ref(), late, hears);
        desk.given_up(name, standings)?;
    }
    desk.held()?;
    if hears {
        desk.unjudged()?;
    }
    let mut needs = desk.needs;
    needs.sort_by(|left, right| left.kind.cmp(&right.kind).then(right.oldest_seconds.total_cmp(&left.oldest_seconds)));
    Ok(needs)
}

impl Desk<'_> {
    fn add(&mut self, kind: Kind, system: &str, text: String, turn: String, then: String, since: Timestamp) {
        self.needs.push(Need {
            kind,
            system: system.to_owned(),
            domain: String::new(),
            key: None,
            count: 1,
            code: None,
            text: model::clip(&text, LONGEST),
            turn,
            then,
            oldest_seconds: age(since, self.now),
        });
    }

    fn about(&mut self, domain: &str, key: &str, count: i64) {
        if let Some(need) = self.needs.last_mut() {
            domain.clone_into(&mut need.domain);
            need.key = Some(key.to_owned()).filter(|key| count == 1 && !key.is_empty());
            need.count = count;
        }
    }

    fn behind(&mut self, as_of: Timestamp) {
        let text = format!("has read nothing newer than {}: Kafka is away, or the tracker is slow", clock(as_of, self.now));
        self.add(Kind::Behind, "tracker", text, OPERATIONS.to_owned(), "millrace doctor".to_owned(), as_of);
    }

    /// Letters that wait for somebody, by cause.
    fn letters(&mut self) -> Result<(), Error> {
        let groups = rows(
            self.sql,
            "SELECT system, domain, code, ifnull(json_extract(body, '$.owner'), ''), state, count(*), min(opened_at), min(id)
             FROM letter_status WHERE state IN ('OPEN', 'EXPIRED') GROUP BY 1, 2, 3, 4, 5",
            [],
            |row| {
                Ok((
                    (row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?),
                    (row.get::<_, String>(3)?, row.get::<_, String>(4)?),
                    (row.get::<_, i64>(5)?, row.get::<_, i64>(6)?, row.get::<_, String>(7)?),
                ))
            },
        )?;
        for ((system, domain, code), (owner, state), (count, opened, id)) in groups {
            let one = if count == 1 { self.letter(&id)? } else { None };
            let key = one.as_ref().and_then(|one| one.key.as_ref()).map(|key| key.as_str().to_owned());
            let text = match (&key, &one) {
                (Some(key), Some(one)) => format!("{domain} {key}: {}", one.message),
                // It is about no record at all.
                (None, Some(one)) if domain.is_empty() => one.message.clone(),
                _ => format!("{} refused, {code}", counted(count, &domain, "record")),
            };
            let text = if state == "EXPIRED" { format!("{text}; never answered, and its bytes are gone") } else { text };
            let turn = if owner.is_empty() { self.fleet.office_of(&system) } else { owner };
            let then = match state.as_str() {
                _ if count == 1 => format!("millrace dlq show {id}"),
                "EXPIRED" => format!("millrace dlq list --destination {system} --code {code} --state expired"),
                _ => format!("millrace dlq list --destination {system} --code {code}"),
            };
            self.add(Kind::Refused, &system, text, turn, then, Timestamp::from_micros(opened));
            self.about(&domain, key.as_deref().unwrap_or_default(), count);
            if let Some(need) = self.needs.last_mut() {
                need.code = Some(code);
                need.key = key;
            }
        }
        Ok(())
    }

    fn letter(&self, id: &str) -> Result<Option<LetterStatus>, Error> {
        row(self.sql, "SELECT body FROM letter_status WHERE id = ?", [id], |row| row.get::<_, String>(0))?
            .map(|body| json(&body))
            .transpose()
    }

    /// Letters that were sent again and came neither back nor through.
    fn replaying(&mut self) -> Result<(), Error> {
        let groups = rows(
            self.sql,
            "SELECT system, count(*), min(changed_at) FROM letter_status
             WHERE state = 'REPLAYING' AND changed_at < ? GROUP BY 1",
            [self.now.micros() - REPLAYING],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, Timestamp::from_micros(row.get(2)?))),
        )?;
        for (system, count, since) in groups {
            let text = format!("{} sent again, without an answer since {}", counted(count, "", "letter"), clock(since, self.now));
            let then = format!("millrace dlq list --destination {system} --state replaying");
            self.add(Kind::Replaying, &system, text, self.fleet.office_of(&system), then, since);
            self.about("", "", count);
        }
        Ok(())
    }
}

/// `1 item record`, `17 item records`, `3 letters`.
fn counted(count: i64, domain: &str, word: &str) -> String {
    let domain = if domain.is_empty() { String::new() } else { format!("{domain} ") };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {domain}{word}{plural}")
}

fn age(from: Timestamp, now: Timestamp) -> f64 {
    now.since(from).as_secs_f64()
}
