//! Dead letters, their states, replay plans and the audit log.

use model::{AuditEntry, DeadLetter, LetterState, LetterStatus, Plan, Timestamp};
use rusqlite::params;

use super::{Error, Noted, Write, records::seconds, symbol};
use crate::fact::Located;

impl Write<'_> {
    pub(super) fn letter(&mut self, located: &Located, letter: &DeadLetter) -> Result<(), Error> {
        let mut body = letter.clone();
        let payload = std::mem::take(&mut body.payload);
        self.run(
            "INSERT OR REPLACE INTO letter VALUES (?, ?, ?, ?, ?, ?)",
            params![letter.id.0, located.topic, located.partition, located.offset, serde_json::to_string(&body)?, payload],
        )?;
        let known: Option<i64> = self.one("SELECT 1 FROM letter_status WHERE id = ?", [&letter.id.0])?;
        if known.is_some() {
            return Ok(());
        }
        if let Some(committed) = self.committed_at(letter)? {
            self.noted.push(Noted::Detected {
                domain: letter.domain.map(|domain| domain.name().to_owned()).unwrap_or_default(),
                class: letter.class.name().to_owned(),
                seconds: seconds(committed, letter.first_failed_at),
            });
        }
        // Shown as open at once; the replayer's own word follows on `deadletter` and replaces this one.
        self.letter_status(&letter.id.0, Some(&opened(located, letter)))
    }

    /// When the source committed what failed.
    fn committed_at(&self, letter: &DeadLetter) -> Result<Option<Timestamp>, Error> {
        let Some(change) = &letter.change_id else { return Ok(letter.timestamp) };
        let known: Option<i64> = self.one("SELECT occurred_at FROM change WHERE change_id = ?", [change])?;
        Ok(known.map(Timestamp::from_micros).or(letter.timestamp))
    }

    pub(super) fn letter_status(&mut self, id: &str, status: Option<&LetterStatus>) -> Result<(), Error> {
        let Some(status) = status else {
            self.run("DELETE FROM letter_status WHERE id = ?", [id])?;
            self.run("DELETE FROM letter_history WHERE id = ?", [id])?;
            return Ok(());
        };
        let before: Option<String> = self.one("SELECT state FROM letter_status WHERE id = ?", [id])?;
        let state = symbol(&status.state)?;
        let domain = status.domain.map(|domain| domain.name().to_owned()).unwrap_or_default();
        self.run(
            "INSERT OR REPLACE INTO letter_status VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                id,
                state,
                symbol(&status.stage)?,
                status.system,
                domain,
                status.key.as_ref().map(model::RecordKey::as_str),
                status.class.name(),
                status.code,
                status.opened_at.micros(),
                status.changed_at.micros(),
                status.hops,
                serde_json::to_string(status)?
            ],
        )?;
        self.run(
            "INSERT OR REPLACE INTO letter_history VALUES (?, ?, ?, ?, ?, ?)",
            params![id, status.changed_at.micros(), state, status.by, status.reason, status.plan],
        )?;
        if before.as_deref() != Some(state.as_str()) {
            self.note_move(status, domain);
        }
        Ok(())
    }

    fn note_move(&mut self, status: &LetterStatus, domain: String) {
        let class = status.class.name().to_owned();
        let resolve = Noted::Resolved { domain: domain.clone(), class, seconds: seconds(status.opened_at, status.changed_at) };
        match status.state {
            LetterState::Replaying => self.noted.push(Noted::Corrected { domain, kind: "replay" }),
            LetterState::Resolved | LetterState::Superseded => self.noted.push(resolve),
            LetterState::Discarded => {
                self.noted.push(resolve);
                self.noted.push(Noted::Corrected { domain, kind: "discard" });
            }
            LetterState::Open | LetterState::Expired | LetterState::Unknown => {}
        }
    }

    pub(super) fn plan(&mut self, id: &str, plan: Option<&Plan>) -> Result<(), Error> {
        match plan {
            None => self.run("DELETE FROM plan WHERE id = ?", [id])?,
            Some(plan) => self.run(
                "INSERT OR REPLACE INTO plan VALUES (?, ?, ?, ?)",
                params![id, symbol(&plan.state)?, plan.made_at.micros(), serde_json::to_string(plan)?],
            )?,
        };
        Ok(())
    }

    pub(super) fn audit(&mut self, entry: &AuditEntry) -> Result<(), Error> {
        self.run(
            "INSERT OR REPLACE INTO audit VALUES (?, ?, ?, ?, ?, ?)",
            params![entry.writer, entry.seq, entry.hash, entry.object, entry.at.micros(), serde_json::to_string(entry)?],
        )?;
        Ok(())
    }
}

/// The state of a letter that the replayer has not spoken about yet.
fn opened(located: &Located, letter: &DeadLetter) -> LetterStatus {
    LetterStatus {
        id: letter.id.clone(),
        state: LetterState::Open,
        stage: letter.stage,
        system: letter.system.clone(),
        domain: letter.domain,
        key: letter.key.clone(),
        revision: letter.revision,
        change_id: letter.change_id.clone(),
        source: letter.source.clone(),
        source_key: letter.source_key.clone(),
        source_epoch: letter.source_epoch,
        source_sequence: letter.source_sequence,
        class: letter.class,
        code: letter.code.clone(),
        field: letter.field.clone(),
        message: letter.message.clone(),
        owner: letter.owner.clone(),
        letter_topic: located.topic.clone(),
        letter_partition: located.partition,
        letter_offset: located.offset,
        opened_at: letter.first_failed_at,
        changed_at: letter.first_failed_at,
        by: letter.system.clone(),
        reason: None,
        plan: None,
        hops: 0,
        closed_by: None,
    }
}
