//! Changes, golden revisions, held changes and findings, and what every destination should therefore have.

use std::time::Duration;

use model::{Change, Data, Domain, FindingReport, Golden, Held, RecordKey, Timestamp, Topical};
use rusqlite::params;

use super::{Error, Noted, Write, symbol};
use crate::{
    fact::Located,
    fleet::{Kind, Served},
};

/// Revisions kept per key: enough to compare what was sent with what a destination has.
const KEPT: i64 = 20;

impl Write<'_> {
    pub(super) fn change(&mut self, located: &Located, change: &Change) -> Result<(), Error> {
        let Some(domain) = domain_of(&located.topic, change) else { return Ok(()) };
        let meta = &change.meta;
        self.run(
            "INSERT OR REPLACE INTO change VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                meta.change_id.to_string(),
                domain.name(),
                located.key,
                meta.source,
                meta.occurred_at.micros(),
                meta.captured_at.micros(),
                located.topic,
                located.partition,
                located.offset,
                serde_json::to_string(meta)?
            ],
        )?;
        self.run(
            "INSERT INTO captured VALUES (?, ?, 1, ?)
             ON CONFLICT DO UPDATE SET changes = changes + 1, last = max(last, excluded.last)",
            params![domain.name(), meta.source, meta.captured_at.micros()],
        )?;
        Ok(())
    }

    pub(super) fn golden(&mut self, located: &Located, domain: Domain, golden: Option<&Golden>) -> Result<(), Error> {
        let key = located.key.as_str();
        let Some(golden) = golden else {
            self.run("DELETE FROM record WHERE domain = ? AND key = ?", [domain.name(), key])?;
            self.run("DELETE FROM wanted WHERE domain = ? AND key = ?", [domain.name(), key])?;
            self.run("DELETE FROM deadline WHERE domain = ? AND key = ?", [domain.name(), key])?;
            return Ok(());
        };
        let meta = &golden.meta;
        self.run(
            "INSERT OR REPLACE INTO revision VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                domain.name(),
                key,
                meta.revision,
                meta.change_id.to_string(),
                meta.occurred_at.micros(),
                meta.accepted_at.micros(),
                located.topic,
                located.partition,
                located.offset,
                located.timestamp.micros(),
                serde_json::to_string(meta)?,
                golden.data.as_ref().map(serde_json::to_string).transpose()?
            ],
        )?;
        self.run(
            "DELETE FROM revision WHERE domain = ? AND key = ? AND revision <= ?",
            params![domain.name(), key, meta.revision - KEPT],
        )?;
        let newest: Option<i64> = self.one("SELECT revision FROM record WHERE domain = ? AND key = ?", [domain.name(), key])?;
        if newest.is_some_and(|newest| newest > meta.revision) {
            return Ok(());
        }
        let (label, text) = golden.data.as_ref().map_or_else(Default::default, label_and_text);
        self.run(
            "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?)",
            params![domain.name(), key, meta.revision, golden.data.is_none(), label, text],
        )?;
        let Ok(key) = RecordKey::parse(domain, key) else { return Ok(()) };
        let fleet = self.fleet;
        for (destination, served) in fleet.served(domain) {
            self.wanted(destination, served, domain, &key, golden)?;
        }
        Ok(())
    }

    /// What one destination should have of this key from now on, since when, and until when.
    fn wanted(
        &mut self,
        destination: &str,
        served: &Served,
        domain: Domain,
        record: &RecordKey,
        golden: &Golden,
    ) -> Result<(), Error> {
        let revision = golden.meta.revision;
        let key = record.as_str();
        let place = [destination, domain.name(), key];
        let before: Option<(i64, i64)> = self
            .sql
            .prepare_cached("SELECT revision, since FROM wanted WHERE destination = ? AND domain = ? AND key = ?")?
            .query_map(place, |row| Ok((row.get(0)?, row.get(1)?)))?
            .next()
            .transpose()?;
        let ledger: Option<(Option<i64>, Option<i64>, bool)> = self
            .sql
            .prepare_cached(
                "SELECT accepted, accepted_at, accepted IS NOT NULL AND state <> 'DELETED' FROM ledger
                 WHERE destination = ? AND domain = ? AND key = ?",
            )?
            .query_map(place, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .next()
            .transpose()?;
        let (accepted, accepted_at, holds) = ledger.unwrap_or_default();
        let kind = served.kind(golden, domain, record);
        let needed = kind == Kind::InScope || holds;
        let clock = served.clock_starts(golden);
        let start = clock.unwrap_or(golden.meta.accepted_at);
        // A revision that replaces one still waiting does not make the waiting younger.
        let since = match before {
            Some((waiting, since)) if accepted.is_none_or(|accepted| accepted < waiting) => since.min(start.micros()),
            _ => start.micros(),
        };
        self.run(
            "INSERT OR REPLACE INTO wanted VALUES (?, ?, ?, ?, ?, ?)",
            params![destination, domain.name(), key, revision, kind as i64, since],
        )?;
        let (Some(deadline), Some(clock), true) = (served.deadline, clock, needed) else { return Ok(()) };
        let due = clock.plus(deadline);
        match accepted.filter(|accepted| *accepted >= revision) {
            None => {
                self.run(
                    "INSERT OR REPLACE INTO deadline VALUES (?, ?, ?, ?, ?)",
                    params![destination, domain.name(), key, revision, due.micros()],
                )?;
            }
            // The ledger may be read before golden: then the answer is already there.
            Some(_) => self.noted.push(Noted::Deadline {
                domain,
                destination: destination.to_owned(),
                met: accepted_at.is_none_or(|at| at <= due.micros()),
            }),
        }
        Ok(())
    }

    pub(super) fn held(&mut self, key: &str, held: Option<&Held>) -> Result<(), Error> {
        let Ok(Topical { domain, key }) = Topical::parse(key) else { return Ok(()) };
        self.run("DELETE FROM held WHERE domain = ? AND key = ?", [domain.name(), key.as_str()])?;
        self.run("DELETE FROM grave WHERE domain = ? AND key = ?", [domain.name(), key.as_str()])?;
        if let Some(grave) = held.and_then(|held| held.grave.as_ref()) {
            let fence = serde_json::to_string(&grave.fence)?;
            self.run("INSERT INTO grave VALUES (?, ?, ?)", [domain.name(), key.as_str(), &fence])?;
        }
        for waiting in held.map(|held| held.waiting.as_slice()).unwrap_or_default() {
            self.run(
                "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    domain.name(),
                    key.as_str(),
                    waiting.source,
                    symbol(&waiting.reason)?,
                    waiting.waits_for,
                    waiting.since.micros(),
                    waiting.until.map(Timestamp::micros),
                    serde_json::to_string(&waiting.findings)?
                ],
            )?;
        }
        Ok(())
    }

    pub(super) fn finding(&mut self, report: &FindingReport) -> Result<(), Error> {
        self.run(
            "INSERT OR REPLACE INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                report.domain.name(),
                report.key.as_str(),
                report.change_id.to_string(),
                report.source,
                symbol(&report.outcome)?,
                report.policy_version,
                report.at.micros(),
                serde_json::to_string(&report.findings)?
            ],
        )?;
        Ok(())
    }
}

/// A delete carries no data, so the topic says which domain it is of.
fn domain_of(topic: &str, change: &Change) -> Option<Domain> {
    change.data.as_ref().map(Data::domain).or_else(|| topic.rsplit('.').next()?.parse().ok())
}

/// What a person would call the record, and everything a search may find it by, in lower case.
fn label_and_text(data: &Data) -> (String, String) {
    let mut words: Vec<&str> = Vec::new();
    let label = match data {
        Data::Customer(customer) => {
            words.extend(customer.legal_name.as_deref());
            words.extend(customer.external_ids.iter().map(|external| external.id.as_str()));
            customer.name.clone().or_else(|| customer.legal_name.clone()).unwrap_or_default()
        }
        Data::Item(item) => {
            words.extend(item.descriptions.iter().map(|text| text.text.as_str()));
            words.extend(item.drawing_number.as_deref());
            words.extend(item.gtins.iter().map(String::as_str));
            words.extend(item.external_ids.iter().map(|external| external.id.as_str()));
            let english = item.descriptions.iter().find(|text| text.lang == "en");
            english.or_else(|| item.descriptions.first()).map(|text| text.text.clone()).unwrap_or_default()
        }
        Data::WorkCenter(center) => {
            words.extend(center.external_ids.iter().map(|external| external.id.as_str()));
            center.name.clone().unwrap_or_default()
        }
        Data::Reference(reference) => {
            words.extend(reference.names.iter().map(|text| text.text.as_str()));
            words.extend(reference.alt_codes.values().map(String::as_str));
            reference.names.first().map(|text| text.text.clone()).unwrap_or_default()
        }
    };
    let key = data.key().as_ref().map(RecordKey::components).unwrap_or_default().join(" ");
    let text = format!("{key} {label} {}", words.join(" ")).to_lowercase();
    (label, text)
}

/// Seconds between two instants, never negative.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    Duration::as_secs_f64(&to.since(from))
}
