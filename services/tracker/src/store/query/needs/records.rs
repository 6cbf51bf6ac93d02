//! Lines about records: late, tried for long, given up, held for a person or for too long, not judged.

use std::collections::BTreeMap;

use model::{Domain, Reason, Timestamp};
use rusqlite::params;

use super::{Desk, Kind, OPERATIONS, counted};
use crate::{
    store::{
        Error,
        query::{
            NEEDED, UNJUDGED, json,
            overview::Standings,
            parse_symbol,
            records::{self, Standpoint},
            row, rows,
        },
    },
    why::{self, Place, clock},
};

/// A record that was refused for the moment is tried again in peace for so long.
const RETRYING: i64 = 30_000_000;
/// The validator looks at what it holds more often than this.
const OVERDUE: i64 = 30_000_000;
/// A change is judged sooner than this.
const JUDGED: i64 = 60_000_000;
/// So many of the newest changes are looked at: a validator that stands still leaves all of them.
const NEWEST: i64 = 200;

impl Desk<'_> {
    /// Records that should have arrived, by why they have not, in the words of the oldest. Those that wait because the destination
    /// stands still are counted, and told with it.
    pub(super) fn late(&mut self, name: &str, standings: &Standings<'_>) -> Result<i64, Error> {
        let mut standing_still = 0;
        for ((_, domain), groups) in standings.iter().filter(|((of, _), _)| *of == name) {
            let mut by_reason: BTreeMap<&str, (Reason, i64, i64, &str)> = BTreeMap::new();
            for group in groups {
                let (Place::Waiting | Place::Sent, Some(reason)) = why::place(&group.standing) else { continue };
                if group.late > 0 || reason == Reason::Retrying {
                    let found = by_reason.entry(reason.name()).or_insert((reason, 0, i64::MAX, ""));
                    found.1 += group.late;
                    if group.oldest < found.2 {
                        (found.2, found.3) = (group.oldest, &group.key);
                    }
                }
            }
            for (reason, count, _, key) in by_reason.into_values() {
                match reason {
                    Reason::Paused | Reason::Unavailable | Reason::Resync => standing_still += count,
                    Reason::Retrying => self.retrying(name, *domain)?,
                    Reason::Approval => self.speak(Kind::Approval, name, *domain, key, count, ("waits", "wait"))?,
                    _ => self.speak(Kind::Late, name, *domain, key, count, ("is late", "are late"))?,
                }
            }
        }
        Ok(standing_still)
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
    pub(super) fn given_up(&mut self, name: &str, standings: &Standings<'_>) -> Result<(), Error> {
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
    pub(super) fn held(&mut self) -> Result<(), Error> {
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
    pub(super) fn unjudged(&mut self) -> Result<(), Error> {
        let found = rows(
            self.sql,
            &format!(
                "SELECT domain, key, source, captured_at FROM
                   (SELECT * FROM change WHERE captured_at < ? ORDER BY captured_at DESC LIMIT ?) c
                 WHERE {UNJUDGED} ORDER BY captured_at"
            ),
            params![self.now.micros() - JUDGED, NEWEST],
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
