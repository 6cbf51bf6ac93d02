//! Letters as they appear, and what closes them without a person.

use deadletter::{Closing, Lies, Move};
use kafka::{Fatal, Record};
use model::{DeadLetter, LetterState, LetterStatus, Outgoing, Receipt, ReceiptOutcome, Stage, Timestamp, Topical};

use crate::{
    book::is_waiting,
    config::NAME,
    execute::{Count, Replayer},
};

/// Nothing: the record was known.
type Written = Result<Option<Vec<Outgoing>>, Fatal>;

impl Replayer {
    /// A record of `dlq.<system>`: its letter, or one about it.
    pub(crate) fn letter_of_author(&mut self, system: &str, letter: &DeadLetter, record: &Record, now: Timestamp) -> Written {
        let about = self.config.author(system).on_letter(letter, lies(record));
        if let Some(about) = &about {
            told(system, about, record);
        }
        self.letter(about.as_ref().unwrap_or(letter), record, now)
    }

    /// A record of `receipt.<destination>`: its receipt, or a letter about it.
    pub(crate) fn receipt_of_author(&mut self, destination: &str, receipt: &Receipt, record: &Record, now: Timestamp) -> Written {
        let Some(about) = self.config.author(destination).on_receipt(receipt, lies(record)) else {
            return self.receipt(receipt, now);
        };
        told(destination, &about, record);
        self.letter(&about, record, now)
    }

    fn letter(&mut self, letter: &DeadLetter, record: &Record, now: Timestamp) -> Written {
        let (topic, partition, offset) = (&*record.topic, record.partition, record.offset);
        let mut outgoing = Vec::new();
        let mut status = match self.book.letter(&letter.id).cloned() {
            None => deadletter::opened(letter, topic, partition, offset, now),
            Some(known) => {
                let Some(again) = deadletter::reopened(&known, letter, topic, partition, offset, now) else { return Ok(None) };
                if known.state == LetterState::Replaying {
                    outgoing.extend(self.refused_again(&known)?);
                }
                again
            }
        };
        for older in self.older(letter) {
            if let Some(closing) = deadletter::by_newer_letter(&older, letter) {
                if older.state == LetterState::Replaying {
                    outgoing.extend(self.refused_again(&older)?);
                }
                outgoing.extend(self.close(&older, closing, now)?);
            }
        }
        if let Some(closing) = self.overtaken(letter, &status) {
            let wanted = closing.of(&status, NAME);
            self.counts.push(closed(&status, wanted.to));
            status = deadletter::apply(&status, wanted, now).map_err(Fatal::new)?;
        }
        outgoing.push(self.desk.letter(&status)?);
        self.book.put(status);
        Ok(Some(outgoing))
    }

    /// Letters that this one may replace.
    fn older(&self, letter: &DeadLetter) -> Vec<LetterStatus> {
        let mut older = match (letter.domain, &letter.key) {
            (Some(domain), Some(key)) => self.book.waiting(domain, key),
            _ => Vec::new(),
        };
        if let Some(named) = letter.replaces.as_ref().and_then(|id| self.book.letter(id)) {
            older.push(named.clone());
        }
        if letter.stage == Stage::Capture {
            let same_row = |other: &&LetterStatus| other.system == letter.system && other.source_key == letter.source_key;
            older.extend(self.book.letters().filter(|other| is_waiting(other)).filter(same_row).cloned());
        }
        older.sort_by(|left, right| left.id.cmp(&right.id));
        older.dedup_by(|left, right| left.id == right.id);
        older
    }

    /// What is known already and comes after the letter: receipts and golden records are read from other topics and may be ahead.
    fn overtaken(&self, letter: &DeadLetter, status: &LetterStatus) -> Option<Closing> {
        let place = Topical::new(letter.domain?, letter.key.clone()?);
        match letter.stage {
            Stage::Deliver => {
                let (accepted, at) = self.knowledge.accepted(&letter.system, &place)?;
                let revision = letter.revision?;
                let closed_by = format!("revision {accepted}");
                if accepted > revision {
                    Some(Closing { state: LetterState::Superseded, closed_by })
                } else if accepted == revision && at > letter.last_failed_at {
                    Some(Closing { state: LetterState::Resolved, closed_by })
                } else {
                    None
                }
            }
            // Looked up in `prepare`.
            Stage::Validate => deadletter::by_golden(status, self.knowledge.fresh.get(&place)?),
            Stage::Capture | Stage::Unknown => None,
        }
    }

    fn receipt(&mut self, receipt: &Receipt, now: Timestamp) -> Written {
        let mut outgoing = Vec::new();
        for status in self.book.waiting(receipt.domain, &receipt.key) {
            let Some(closing) = deadletter::by_receipt(&status, receipt) else { continue };
            let is_accepted = matches!(receipt.outcome, ReceiptOutcome::Accepted | ReceiptOutcome::Unchanged);
            if status.state == LetterState::Replaying && is_accepted {
                outgoing.extend(self.accepted(&status)?);
            }
            outgoing.extend(self.close(&status, closing, now)?);
        }
        Ok((!outgoing.is_empty()).then_some(outgoing))
    }

    /// Golden records that moved since the last turn, where a letter waits for them.
    pub(crate) fn golden_moved(&mut self, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let mut outgoing = Vec::new();
        let fresh: Vec<_> = self.knowledge.fresh.iter().map(|(place, meta)| (place.clone(), meta.clone())).collect();
        for (place, meta) in fresh {
            let mut letters = self.book.waiting(place.domain, &place.key);
            let cause = meta.causation_id.clone().map(model::LetterId);
            letters.extend(cause.and_then(|id| self.book.letter(&id)).cloned());
            letters.dedup_by(|left, right| left.id == right.id);
            let mut closes = false;
            for status in letters {
                let Some(closing) = deadletter::by_golden(&status, &meta) else { continue };
                closes = true;
                if status.state == LetterState::Replaying {
                    outgoing.extend(self.accepted(&status)?);
                }
                outgoing.extend(self.close(&status, closing, now)?);
            }
            if closes {
                self.looked.push((place, meta.revision));
            } else {
                // No transaction follows that would forget it.
                self.knowledge.fresh.remove(&place);
            }
        }
        Ok(outgoing)
    }

    pub(crate) fn close(&mut self, status: &LetterStatus, closing: Closing, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        self.moved(status, closing.of(status, NAME), now)
    }

    /// Moves a letter that may have moved within this batch already; then nothing is written.
    pub(crate) fn moved(&mut self, status: &LetterStatus, wanted: Move, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let current = self.book.letter(&status.id).cloned().unwrap_or_else(|| status.clone());
        let to = wanted.to;
        match deadletter::apply(&current, wanted, now) {
            Ok(after) => {
                if !is_waiting(&after) {
                    self.counts.push(closed(&after, to));
                }
                let outgoing = self.desk.letter(&after)?;
                self.book.put(after);
                Ok(vec![outgoing])
            }
            Err(refused) => {
                tracing::debug!(letter = %status.id, error = %refused, "letter not moved");
                Ok(Vec::new())
            }
        }
    }

    fn accepted(&mut self, status: &LetterStatus) -> Result<Option<Outgoing>, Fatal> {
        self.counts.push(Count::Replayed { destination: destination(status), outcome: "accepted" });
        let Some(mut plan) = status.plan.as_deref().and_then(|id| self.book.plan(id)).cloned() else { return Ok(None) };
        plan.accepted += 1;
        self.put_plan(plan).map(Some)
    }

    fn refused_again(&mut self, status: &LetterStatus) -> Result<Option<Outgoing>, Fatal> {
        self.counts.push(Count::Replayed { destination: destination(status), outcome: "refused" });
        let Some(mut plan) = status.plan.as_deref().and_then(|id| self.book.plan(id)).cloned() else { return Ok(None) };
        plan.refused += 1;
        self.put_plan(plan).map(Some)
    }
}

fn lies(record: &Record) -> Lies<'_> {
    Lies { topic: &record.topic, partition: record.partition, offset: record.offset, since: record.timestamp }
}

fn told(system: &str, letter: &DeadLetter, record: &Record) {
    let Record { topic, partition, offset, .. } = record;
    tracing::error!(system, %topic, partition, offset, code = letter.code, letter = %letter.id, message = letter.message,
        "a record says it is of another writer than its topic's: it is not believed");
}

/// The label `destination` of what happens to a letter, as its stage wrote it.
pub(crate) fn destination(status: &LetterStatus) -> String {
    if status.stage == Stage::Deliver { status.system.clone() } else { String::new() }
}

fn closed(status: &LetterStatus, to: LetterState) -> Count {
    let how = match to {
        LetterState::Resolved => "accepted",
        LetterState::Discarded => "discarded",
        LetterState::Superseded | LetterState::Open | LetterState::Replaying | LetterState::Expired | LetterState::Unknown => {
            "superseded"
        }
    };
    Count::Closed { stage: status.stage.name(), destination: destination(status), how }
}
