//! What needs a person: everything that will not go on by itself, and everything that should have gone on by now. Each line says
//! whose turn it is and what to type.
//!
//! Invariant: nothing that is late, refused, given up, quarantined, silent or tried for long is missing here, so an empty list can
//! be believed.

use std::collections::BTreeMap;

use model::{DestinationState, DestinationStatus, Domain, LetterStatus, Reason, SourceState, SourceStatus, Timestamp};
use rusqlite::{Connection, params};
use serde::Serialize;

use super::{
    NEEDED, json,
    overview::{self, Sources, Standings, Statuses},
    parse_symbol,
    records::{self, Standpoint},
    row, rows,
};
use crate::{
    fleet::Fleet,
    store::Error,
    why::{self, Place, clock},
};

/// A sink and a publisher speak once a minute; one that was not heard for longer is not there.
pub(super) const SILENT: f64 = 180.0;
/// What the tracker says is this old at most while everything runs.
const BEHIND: f64 = 60.0;
/// A record that was refused for the moment is tried again in peace for so long.
const RETRYING: i64 = 30_000_000;
/// A letter that was sent again has its answer by then.
const REPLAYING: i64 = 300_000_000;
/// The validator looks at what it holds more often than this.
const OVERDUE: i64 = 30_000_000;
/// A source is read to its end more often than this, as the alert for silent sources has it.
const UNREAD: f64 = 900.0;
/// The clock of a source may be ahead of ours by so much.
const SKEW: f64 = 60.0;
/// A change is judged sooner than this.
const UNJUDGED: i64 = 60_000_000;
/// So many of the newest changes are looked at: a validator that stands still leaves all of them.
const NEWEST: i64 = 200;
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
        let late = desk.late(name, status.as_ref(), standings)?;
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
            text,
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

    /// What a destination's sink says of it, or that nobody says anything.
    fn destination(&mut self, name: &str, status: Option<&DestinationStatus>, late: i64, hears: bool) {
        let now = self.now;
        let late = if late == 0 { String::new() } else { format!("; {} late", counted(late, "", "record")) };
        let where_to_look = || "millrace doctor".to_owned();
        let Some(status) = status else {
            if hears {
                let text = format!("its sink has never been heard{late}; does it run?");
                self.add(Kind::Silent, name, text, OPERATIONS.to_owned(), where_to_look(), now);
            }
            return;
        };
        match status.state {
            DestinationState::Paused => {
                let (text, turn) = paused(status, now);
                let then = format!("millrace destination resume {name}");
                self.add(Kind::Paused, name, format!("{text}{late}"), turn, then, status.since);
            }
            DestinationState::Unavailable => {
                let text = format!(
                    "{}{late}",
                    why::unavailable(status.code.as_deref(), status.reason.as_deref(), Some(status.since), now)
                );
                let then = "millrace destination list".to_owned();
                self.add(Kind::Unavailable, name, text, self.fleet.office_of(name), then, status.since);
            }
            // A sink has nothing to explain in these states but what the brokers refuse to it.
            DestinationState::Ok | DestinationState::Resyncing | DestinationState::Unknown => {
                if let Some(reason) = &status.reason {
                    self.add(Kind::Denied, name, reason.clone(), OPERATIONS.to_owned(), where_to_look(), status.since);
                }
            }
        }
        if hears && age(status.at, now) > SILENT {
            let text = format!("its sink was last heard {}{late}", clock(status.at, now));
            self.add(Kind::Silent, name, text, OPERATIONS.to_owned(), where_to_look(), status.at);
        }
    }

    /// What a source's publisher says of it, or that nobody says anything.
    fn source(&mut self, name: &str, status: Option<&SourceStatus>, hears: bool) {
        let now = self.now;
        let doctor = || "millrace doctor".to_owned();
        let Some(status) = status else {
            if hears {
                let text = "its publisher has never been heard; does it run?".to_owned();
                self.add(Kind::Silent, name, text, OPERATIONS.to_owned(), doctor(), now);
            }
            return;
        };
        if hears && age(status.at, now) > SILENT {
            let text = format!("its publisher was last heard {}", clock(status.at, now));
            self.add(Kind::Silent, name, text, OPERATIONS.to_owned(), doctor(), status.at);
        }
        let office = self.fleet.office_of(name);
        let read_at = status.read_at.unwrap_or(status.since);
        if status.state == SourceState::Unavailable {
            let why = status.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let next = status.next_at.filter(|next| *next > now);
            let next = next.map(|next| format!("; asked again {}", why::next_at(next, now))).unwrap_or_default();
            let text = format!("could not be read since {}{why}{next}", clock(status.since, now));
            self.add(Kind::Unavailable, name, text, office.clone(), doctor(), status.since);
        } else if age(read_at, status.at) > UNREAD {
            let text = format!("has not been read to its end since {}", clock(read_at, now));
            self.add(Kind::Unavailable, name, text, office.clone(), doctor(), read_at);
        }
        for stream in &status.streams {
            let Some(cursor) = stream.cursor.filter(|cursor| age(status.at, *cursor) > SKEW) else { continue };
            let text = format!(
                "stream {} is asked for what comes after {}, which is ahead of now; what changes before is not read",
                stream.stream,
                clock(cursor, now)
            );
            let then = format!("raise `epoch` in sources/{name}.yaml: the source is read again from its beginning");
            self.add(Kind::Ahead, name, text, office.clone(), then, status.at);
            self.about(&stream.domain, "", 1);
        }
    }

    /// Records that should have arrived, by why they have not. Those that wait because the destination stands still are counted, and
    /// told with it.
    fn late(&mut self, name: &str, status: Option<&DestinationStatus>, standings: &Standings<'_>) -> Result<i64, Error> {
        let mut standing_still = 0;
        for ((_, domain), groups) in standings.iter().filter(|((of, _), _)| *of == name) {
            let mut by_reason: BTreeMap<&str, (Reason, i64)> = BTreeMap::new();
            for group in groups {
                let (Place::Waiting | Place::Sent, Some(reason)) = why::place(&group.standing) else { continue };
                if group.late > 0 || reason == Reason::Retrying {
                    by_reason.entry(reason.name()).or_insert((reason, 0)).1 += group.late;
                }
            }
            for (reason, count) in by_reason.into_values() {
                match reason {
                    Reason::Paused | Reason::Unavailable | Reason::Resync => standing_still += count,
                    Reason::Retrying => self.retrying(name, *domain)?,
                    reason => self.waiting(name, *domain, status, reason, count)?,
                }
            }
        }
        Ok(standing_still)
    }

    /// The oldest of these records speaks for all of them.
    fn waiting(
        &mut self,
        name: &str,
        domain: Domain,
        status: Option<&DestinationStatus>,
        reason: Reason,
        count: i64,
    ) -> Result<(), Error> {
        let state = super::destination_state(status);
        let due = overview::due_before(self.fleet, name, domain, self.now);
        let candidates = rows(
            self.sql,
            &format!(
                "SELECT w.key, {NEEDED}, ifnull(l.offered >= w.revision, 0), ifnull(l.state, 'UNKNOWN'),
                        ifnull(l.reason, 'UNKNOWN')
                 FROM wanted w LEFT JOIN ledger l USING (destination, domain, key)
                 WHERE w.destination = ? AND w.domain = ? AND w.since < ? AND ifnull(l.accepted < w.revision, 1)
                 ORDER BY w.since, w.key"
            ),
            params![name, domain.name(), due],
            |row| {
                let standing = why::Standing {
                    needed: row.get(1)?,
                    accepted: false,
                    offered: row.get(2)?,
                    ledger: parse_symbol(&row.get::<_, String>(3)?),
                    gate: parse_symbol(&row.get::<_, String>(4)?),
                    destination: state,
                };
                Ok((row.get::<_, String>(0)?, standing))
            },
        )?;
        let oldest = candidates.into_iter().find(|(_, standing)| why::place(standing).1 == Some(reason));
        let Some((key, _)) = oldest else { return Ok(()) };
        let kind = if reason == Reason::Approval { Kind::Approval } else { Kind::Late };
        let words = if kind == Kind::Late { ("is late", "are late") } else { ("waits", "wait") };
        self.speak(kind, name, domain, &key, count, words)
    }

    fn retrying(&mut self, name: &str, domain: Domain) -> Result<(), Error> {
        let (count, key) = row(
            self.sql,
            "SELECT count(*), min(printf('%020d', l.since) || l.key) FROM wanted w JOIN ledger l USING (destination, domain, key)
             WHERE w.destination = ? AND w.domain = ? AND l.state = 'WAITING' AND l.reason = 'RETRYING'
               AND l.offered >= w.revision AND ifnull(l.accepted < w.revision, 1) AND l.since < ?",
            params![name, domain.name(), self.now.micros() - RETRYING],
            |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?)),
        )?
        .unwrap_or_default();
        let Some(key) = key.as_deref().and_then(|key| key.get(20..)) else { return Ok(()) };
        self.speak(Kind::Retrying, name, domain, key, count, ("is tried again", "are tried again"))
    }

    /// A line about records of one domain at one destination, in the words of the oldest.
    fn speak(
        &mut self,
        kind: Kind,
        name: &str,
        domain: Domain,
        key: &str,
        count: i64,
        (one, many): (&str, &str),
    ) -> Result<(), Error> {
        let Some(oldest) = records::standpoint_of(self.sql, self.fleet, name, domain, key, self.now)? else { return Ok(()) };
        let Standpoint { why, turn, waiting_since, .. } = oldest;
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let text = match count {
            1 => format!("{domain} {key} {one}{why}"),
            _ => format!("{} {many}; the oldest, {key}{why}", counted(count, domain.name(), "record")),
        };
        let turn = turn.unwrap_or_else(|| OPERATIONS.to_owned());
        let then = format!("millrace record where {domain} {key} --destination {name}");
        self.add(kind, name, text, turn, then, waiting_since.unwrap_or(self.now));
        self.about(domain.name(), key, count);
        Ok(())
    }

    /// Records that a destination lacks and nobody sends any more.
    fn given_up(&mut self, name: &str, standings: &Standings<'_>) -> Result<(), Error> {
        for ((_, domain), groups) in standings.iter().filter(|((of, _), _)| *of == name) {
            if !groups.iter().any(|group| why::place(&group.standing).0 == Place::GivenUp) {
                continue;
            }
            let lacking = rows(
                self.sql,
                &format!(
                    "SELECT w.key, w.since, EXISTS (SELECT 1 FROM letter_status s WHERE s.domain = w.domain AND s.key = w.key
                              AND s.system = w.destination AND s.state = 'DISCARDED')
                     FROM wanted w JOIN ledger l USING (destination, domain, key)
                     WHERE w.destination = ? AND w.domain = ? AND l.state = 'CLEAR' AND l.offered >= w.revision
                       AND ifnull(l.accepted < w.revision, 1) AND {NEEDED} ORDER BY w.since, w.key"
                ),
                params![name, domain.name()],
                |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?)),
            )?;
            for was_discarded in [true, false] {
                let mut of_kind = lacking.iter().filter(|(_, _, discarded)| *discarded == was_discarded);
                let Some((key, since, _)) = of_kind.next() else { continue };
                let count = 1 + i64::try_from(of_kind.count()).unwrap_or(i64::MAX - 1);
                let (verb, then) = if was_discarded {
                    ("was discarded", format!("millrace dlq list --destination {name} --domain {domain} --state discarded"))
                } else {
                    ("was given up", format!("millrace record where {domain} {key} --destination {name}"))
                };
                let text = match count {
                    1 => format!("{domain} {key} {verb} and is missing here"),
                    _ => format!("{} missing here, {}", counted(count, domain.name(), "record"), verb.replace("was ", "")),
                };
                self.add(Kind::GivenUp, name, text, self.fleet.office_of(name), then, Timestamp::from_micros(*since));
                self.about(domain.name(), key, count);
            }
        }
        Ok(())
    }

    /// What waits at the validator for a person, or longer than it may.
    fn held(&mut self) -> Result<(), Error> {
        let found = rows(
            self.sql,
            "SELECT domain, source, reason, waits_for, ifnull(until < ?, 0) AS overdue, count(*), min(since),
                    min(printf('%020d', since) || key) FROM held GROUP BY 1, 2, 3, 4, 5",
            [self.now.micros() - OVERDUE],
            |row| {
                Ok((
                    (row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(3)?),
                    (parse_symbol::<Reason>(&row.get::<_, String>(2)?), row.get::<_, bool>(4)?),
                    (row.get::<_, i64>(5)?, Timestamp::from_micros(row.get(6)?), row.get::<_, String>(7)?),
                ))
            },
        )?;
        for ((domain, source, waits_for), (reason, overdue), (count, since, key)) in found {
            let key = key.get(20..).unwrap_or_default();
            let Ok(domain) = domain.parse::<Domain>() else { continue };
            let change = match count {
                1 => format!("{domain} {key} from {source}"),
                _ => format!("{} from {source}, the oldest {key},", counted(count, domain.name(), "change")),
            };
            let is = if count == 1 { "is" } else { "are" };
            let office = self.fleet.office_of_domain(domain);
            let turn = if waits_for.is_empty() || waits_for == source { office } else { waits_for.clone() };
            let then = format!("millrace record where {domain} {key}");
            let (kind, text, turn) = match reason {
                _ if overdue => {
                    let text = format!("{change} should have been decided by now; does the validator run?");
                    (Kind::Overdue, text, OPERATIONS.to_owned())
                }
                Reason::Steward => {
                    let finding = self.finding(domain, key, &source)?;
                    (Kind::Quarantined, format!("{change} {is} quarantined{finding}; correct it in {source}"), turn)
                }
                Reason::Approval => {
                    let verb = if count == 1 { "waits" } else { "wait" };
                    (Kind::Approval, format!("{change} {verb} for approval in {waits_for}"), turn)
                }
                // Released by itself, or a letter when its time has passed.
                _ => continue,
            };
            self.add(kind, "validator", text, turn, then, since);
            self.about(domain.name(), key, count);
        }
        Ok(())
    }

    /// Captured, and nothing became of it: neither golden, nor held, nor refused, nor older than what is golden.
    fn unjudged(&mut self) -> Result<(), Error> {
        let found = rows(
            self.sql,
            "SELECT domain, key, source, captured_at FROM
               (SELECT * FROM change WHERE captured_at < ? ORDER BY captured_at DESC LIMIT ?) c
             WHERE NOT EXISTS (SELECT 1 FROM revision r WHERE r.domain = c.domain AND r.key = c.key AND (r.change_id = c.change_id
                 OR (json_extract(r.meta, '$.fence.\"' || c.source || '\".epoch'),
                     json_extract(r.meta, '$.fence.\"' || c.source || '\".sequence'))
                   >= (json_extract(c.meta, '$.source_epoch'), json_extract(c.meta, '$.source_sequence'))))
               AND NOT EXISTS (SELECT 1 FROM grave g WHERE g.domain = c.domain AND g.key = c.key
                 AND (json_extract(g.fence, '$.\"' || c.source || '\".epoch'), json_extract(g.fence, '$.\"' || c.source || '\".sequence'))
                   >= (json_extract(c.meta, '$.source_epoch'), json_extract(c.meta, '$.source_sequence')))
               AND NOT EXISTS (SELECT 1 FROM held h WHERE h.domain = c.domain AND h.key = c.key AND h.source = c.source)
               AND NOT EXISTS (SELECT 1 FROM finding f WHERE f.domain = c.domain AND f.key = c.key AND f.change_id = c.change_id)
               AND NOT EXISTS (SELECT 1 FROM letter_status s WHERE s.domain = c.domain AND s.key = c.key
                 AND s.stage = 'VALIDATE' AND json_extract(s.body, '$.change_id') = c.change_id)
             ORDER BY captured_at",
            params![self.now.micros() - UNJUDGED, NEWEST],
            |row| {
                let record = (row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?);
                Ok((record, Timestamp::from_micros(row.get(3)?)))
            },
        )?;
        let Some(((domain, key, source), since)) = found.first() else { return Ok(()) };
        let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
        let at = clock(*since, self.now);
        let text = match count {
            1 => format!("{domain} {key} from {source} was captured {at} and is not judged yet; does the validator run?"),
            _ => format!(
                "{count} of the last {NEWEST} changes are not judged yet, the oldest, {domain} {key} from {source}, captured {at}; \
                 does the validator run?"
            ),
        };
        self.add(Kind::Overdue, "validator", text, OPERATIONS.to_owned(), "millrace doctor".to_owned(), *since);
        self.about(domain, key, count);
        Ok(())
    }

    /// The finding that stops a held change.
    fn finding(&self, domain: Domain, key: &str, source: &str) -> Result<String, Error> {
        let found = row(
            self.sql,
            "SELECT findings FROM held WHERE domain = ? AND key = ? AND source = ?",
            params![domain.name(), key, source],
            |row| row.get::<_, String>(0),
        )?;
        let findings: Vec<model::Finding> = found.map(|found| json(&found)).transpose()?.unwrap_or_default();
        let first = findings.first().map(|finding| format!(" by {}: {}", finding.rule_id, finding.message));
        Ok(first.unwrap_or_default())
    }
}

fn paused(status: &DestinationStatus, now: Timestamp) -> (String, String) {
    let by = status.by.as_deref().unwrap_or("an operator");
    let why = status.reason.as_ref().map(|reason| format!(", \"{reason}\"")).unwrap_or_default();
    match status.until {
        Some(until) => (format!("paused by {by}{why}, until {}", clock(until, now)), "nobody, resumes by itself".to_owned()),
        None => (format!("paused by {by}{why}"), by.to_owned()),
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
