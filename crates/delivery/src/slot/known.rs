//! The durable state of a key as memory keeps it: an index entry, some 150 bytes for a key that is simply accepted.

use model::{
    ChangeId, LedgerEntry, LedgerState, LetterClass, Reason, Timestamp,
    ledger::{Accepted, Offered},
};

/// A ledger entry without its receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) offered: Option<Offered>,
    pub(crate) accepted: Option<AcceptedHere>,
    pub(crate) is_deleted: bool,
    /// None: clear (or deleted).
    pub(crate) standing: Option<Box<Standing>>,
    /// A call after the last acceptance may have had its effect.
    pub(crate) in_doubt: bool,
    /// Added to the golden revision in what the destination is told.
    pub(crate) lift: i64,
    /// A command had this revision sent a second time, and may be read again after a crash. Not in the ledger.
    pub(crate) was_resent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AcceptedHere {
    pub(crate) revision: i64,
    pub(crate) change_id: ChangeId,
    pub(crate) payload_hash: Box<str>,
    pub(crate) at: Timestamp,
    pub(crate) external_id: Option<Box<str>>,
}

/// A state that needs an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: LedgerState,
    pub(crate) reason: Reason,
    pub(crate) detail: Option<String>,
    pub(crate) since: Timestamp,
    pub(crate) until: Option<Timestamp>,
    pub(crate) class: Option<LetterClass>,
    pub(crate) code: Option<String>,
    pub(crate) attempts: i32,
    pub(crate) letter: Option<String>,
    /// The revision above golden's newest that the destination named, in its own count.
    pub(crate) revision_there: Option<i64>,
}

impl Known {
    pub(crate) fn of(entry: LedgerEntry) -> Self {
        let standing = match entry.state {
            LedgerState::Clear | LedgerState::Deleted | LedgerState::Unknown => None,
            LedgerState::Delivered | LedgerState::Waiting | LedgerState::Parked | LedgerState::Blocked => {
                Some(Box::new(Standing {
                    state: entry.state,
                    reason: entry.reason,
                    detail: entry.detail,
                    since: entry.since.unwrap_or_default(),
                    until: entry.until,
                    class: entry.class,
                    code: entry.code,
                    attempts: entry.attempts,
                    letter: entry.letter,
                    revision_there: entry.revision_there,
                }))
            }
        };
        let is_removed = entry.accepted.as_ref().is_some_and(|accepted| accepted.payload_hash.is_empty());
        let is_deleted = entry.state == LedgerState::Deleted || is_removed;
        Self {
            offered: entry.offered,
            accepted: entry.accepted.map(|accepted| AcceptedHere {
                revision: accepted.revision,
                change_id: accepted.change_id,
                payload_hash: accepted.payload_hash.into(),
                at: accepted.at,
                external_id: accepted.external_id.map(Into::into),
            }),
            // An accepted removal has no payload; the state may say something newer than that.
            is_deleted,
            standing,
            in_doubt: entry.in_doubt,
            lift: entry.lift,
            was_resent: false,
        }
    }

    pub(crate) fn entry(&self, lease_epoch: i64) -> LedgerEntry {
        let mut entry = LedgerEntry {
            offered: self.offered.clone(),
            accepted: self.accepted.as_ref().map(|accepted| Accepted {
                revision: accepted.revision,
                change_id: accepted.change_id,
                payload_hash: accepted.payload_hash.to_string(),
                at: accepted.at,
                external_id: accepted.external_id.as_deref().map(str::to_owned),
            }),
            state: if self.is_deleted { LedgerState::Deleted } else { LedgerState::Clear },
            in_doubt: self.in_doubt,
            lift: self.lift,
            lease_epoch,
            ..LedgerEntry::default()
        };
        if let Some(standing) = self.standing.as_deref().cloned() {
            entry.state = standing.state;
            entry.reason = standing.reason;
            entry.detail = standing.detail;
            entry.since = Some(standing.since);
            entry.until = standing.until;
            entry.class = standing.class;
            entry.code = standing.code;
            entry.attempts = standing.attempts;
            entry.letter = standing.letter;
            entry.revision_there = standing.revision_there;
        }
        entry
    }

    pub(crate) fn state(&self) -> LedgerState {
        match &self.standing {
            Some(standing) => standing.state,
            None if self.is_deleted => LedgerState::Deleted,
            None => LedgerState::Clear,
        }
    }

    pub(crate) fn accepted_revision(&self) -> i64 {
        self.accepted.as_ref().map_or(0, |accepted| accepted.revision)
    }

    /// The revision below or at which nothing needs to be taken up again.
    pub(crate) fn seen_revision(&self) -> i64 {
        self.accepted_revision().max(self.offered.as_ref().map_or(0, |offered| offered.revision))
    }

    /// True where the destination holds the record.
    pub(crate) fn is_there(&self) -> bool {
        self.accepted.is_some() && !self.is_deleted
    }

    /// True where the destination may hold some revision, accepted or not: whatever was taken up may have been called, and a call
    /// whose answer was lost may have had its effect. A delete of what is not there does no harm.
    pub(crate) fn may_be_there(&self) -> bool {
        let was_taken_up = !self.is_deleted && self.seen_revision() > self.accepted_revision();
        self.is_there() || self.in_doubt || self.standing.is_some() || was_taken_up
    }

    /// The hash of what the destination surely holds.
    pub(crate) fn certain_hash(&self) -> Option<&str> {
        let accepted = self.accepted.as_ref().filter(|_| self.is_there() && !self.in_doubt)?;
        Some(&accepted.payload_hash)
    }

    /// The dead letter that is open for this key, whatever the key waits for since.
    pub(crate) fn letter(&self) -> Option<&str> {
        self.standing.as_ref().and_then(|standing| standing.letter.as_deref())
    }
}
