//! Ledgers, receipts and what the systems' own processes say of them.

use model::{
    Cause, DestinationStatus, Ledger, LedgerEntry, Receipt, ReceiptOutcome, SourceStatus, Timestamp, Topical, ledger::LEASE_KEY,
};
use rusqlite::params;

use super::{Error, Noted, Write, records::seconds, symbol};
use crate::fact::Located;

impl Write<'_> {
    pub(super) fn ledger(&mut self, destination: &str, key: &str, ledger: Option<&Ledger>) -> Result<(), Error> {
        if key == LEASE_KEY {
            return Ok(());
        }
        let Ok(place) = Topical::parse(key) else { return Ok(()) };
        let (domain, key) = (place.domain, place.key.as_str());
        let Some(entry) = ledger.and_then(|ledger| ledger.entry.as_ref()) else {
            self.run("DELETE FROM ledger WHERE destination = ? AND domain = ? AND key = ?", [destination, domain.name(), key])?;
            return Ok(());
        };
        let accepted = entry.accepted.as_ref();
        self.run(
            "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                destination,
                domain.name(),
                key,
                entry.offered.as_ref().map(|offered| offered.revision),
                accepted.map(|accepted| accepted.revision),
                accepted.map(|accepted| accepted.at.micros()),
                symbol(&entry.state)?,
                symbol(&entry.reason)?,
                entry.detail,
                entry.since.map(Timestamp::micros),
                entry.until.map(Timestamp::micros),
                entry.code,
                entry.attempts,
                entry.letter,
                accepted.and_then(|accepted| accepted.external_id.clone()),
            ],
        )?;
        self.waits_since(destination, &place, entry)?;
        self.deadlines_met(destination, &place, entry)
    }

    /// What is still missing waits since the first revision that was not accepted, whichever topic was read first.
    fn waits_since(&mut self, destination: &str, place: &Topical, entry: &LedgerEntry) -> Result<(), Error> {
        let Some(accepted) = &entry.accepted else { return Ok(()) };
        let (domain, key) = (place.domain.name(), place.key.as_str());
        self.run(
            "UPDATE wanted SET since = max(since, ifnull((SELECT min(occurred_at) FROM revision
               WHERE revision.domain = ?1 AND revision.key = ?2 AND revision.revision > ?3), since))
             WHERE destination = ?4 AND domain = ?1 AND key = ?2 AND revision > ?3",
            params![domain, key, accepted.revision, destination],
        )?;
        Ok(())
    }

    /// Acceptance of a revision covers every older one that was still owed.
    fn deadlines_met(&mut self, destination: &str, place: &Topical, entry: &LedgerEntry) -> Result<(), Error> {
        let Some(accepted) = &entry.accepted else { return Ok(()) };
        let mut statement = self.sql.prepare_cached(
            "DELETE FROM deadline WHERE destination = ? AND domain = ? AND key = ? AND revision <= ? RETURNING due",
        )?;
        let dues = statement
            .query_map(params![destination, place.domain.name(), place.key.as_str(), accepted.revision], |row| {
                row.get::<_, i64>(0)
            })?;
        for due in dues {
            let met = accepted.at.micros() <= due?;
            self.noted.push(Noted::Deadline { domain: place.domain, destination: destination.to_owned(), met });
        }
        Ok(())
    }

    pub(super) fn receipt(&mut self, located: &Located, receipt: &Receipt) -> Result<(), Error> {
        // A receipt sent again after a crash is the same link of the chain: one row, counted once.
        let new = self.run(
            "INSERT OR IGNORE INTO receipt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                receipt.destination,
                located.partition,
                receipt.seq,
                receipt.domain.name(),
                receipt.key.as_str(),
                receipt.revision,
                symbol(&receipt.outcome)?,
                receipt.occurred_at.micros(),
                receipt.answered_at.micros(),
                serde_json::to_string(receipt)?
            ],
        )? == 1;
        let accepted = matches!(receipt.outcome, ReceiptOutcome::Accepted | ReceiptOutcome::Unchanged);
        let travelled = matches!(receipt.cause, Cause::Normal | Cause::Replay);
        if new && accepted && travelled {
            self.noted.push(Noted::Propagated {
                domain: receipt.domain,
                destination: receipt.destination.clone(),
                seconds: seconds(receipt.occurred_at, receipt.answered_at),
            });
        }
        Ok(())
    }

    pub(super) fn source(&mut self, key: &str, status: Option<&SourceStatus>) -> Result<(), Error> {
        match status {
            None => self.run("DELETE FROM source WHERE source = ?", [key])?,
            Some(status) => self.run(
                "INSERT OR REPLACE INTO source VALUES (?, ?, ?)",
                params![key, symbol(&status.state)?, serde_json::to_string(status)?],
            )?,
        };
        Ok(())
    }

    pub(super) fn destination(&mut self, key: &str, status: Option<&DestinationStatus>) -> Result<(), Error> {
        match status {
            None => self.run("DELETE FROM destination WHERE destination = ?", [key])?,
            Some(status) => self.run(
                "INSERT OR REPLACE INTO destination VALUES (?, ?, ?)",
                params![key, symbol(&status.state)?, serde_json::to_string(status)?],
            )?,
        };
        Ok(())
    }
}
