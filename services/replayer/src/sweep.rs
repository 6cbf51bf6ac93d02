//! What is due by time alone: letters that expire, states that age out, tombstones of deleted records.

use std::time::Duration;

use deadletter::{Closing, Move};
use kafka::Fatal;
use model::{Act, LedgerState, LetterState, LetterStatus, Outgoing, PlanState, Stage, Timestamp, Topical};

use crate::{book::is_waiting, config::NAME, desk, execute::Replayer, knowledge::Deleted};

const DAY: u64 = 86_400;
/// How often everything is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Looked at per sweep at most.
const PER_SWEEP: usize = 500;
/// The state of a closed letter lives as long as the audit.
const STATES_LIVE: Duration = Duration::from_secs(400 * DAY);
/// Commands live so long: a letter whose command nobody took is open again.
const COMMANDS_LIVE: Duration = Duration::from_secs(7 * DAY);
/// Plans that ended.
const PLANS_LIVE: Duration = Duration::from_secs(90 * DAY);
/// A delete's tombstone comes after so long even if a destination never took the delete.
const TOMBSTONE_AFTER: Duration = Duration::from_secs(90 * DAY);
/// A tombstone that was asked for and did not come is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(crate) struct Sweep {
    last: Option<Timestamp>,
}

impl Sweep {
    /// The next turn sweeps again.
    pub(crate) fn aborted(&mut self) {
        self.last = None;
    }
}

impl Replayer {
    pub(crate) fn sweep(&mut self, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        if self.sweep.last.is_some_and(|last| now.since(last) < EVERY) {
            return Ok(Vec::new());
        }
        self.sweep.last = Some(now);
        let mut outgoing = self.expire(now)?;
        outgoing.extend(self.age_out(now)?);
        outgoing.extend(self.tombstones(now)?);
        Ok(outgoing)
    }

    fn expire(&mut self, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let due: Vec<_> =
            self.book.letters().filter(|status| deadletter::is_expired(status, now)).take(PER_SWEEP).cloned().collect();
        let mut outgoing = Vec::new();
        for status in due {
            let closing = Closing { state: LetterState::Expired, closed_by: "90 days".to_owned() };
            outgoing.extend(self.close(&status, closing, now)?);
        }
        let is_lost =
            |status: &&LetterStatus| status.state == LetterState::Replaying && now.since(status.changed_at) >= COMMANDS_LIVE;
        let lost: Vec<_> = self.book.letters().filter(is_lost).take(PER_SWEEP).cloned().collect();
        for status in lost {
            let wanted = Move {
                from: LetterState::Replaying,
                to: LetterState::Open,
                by: NAME.to_owned(),
                reason: Some("no answer within 7 days".to_owned()),
                plan: None,
                closed_by: None,
            };
            outgoing.extend(self.moved(&status, wanted, now)?);
        }
        Ok(outgoing)
    }

    fn age_out(&mut self, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let old = self.book.letters().filter(|status| !is_waiting(status) && now.since(status.changed_at) >= STATES_LIVE);
        let letters: Vec<_> = old.take(PER_SWEEP).map(|status| status.id.clone()).collect();
        let ended = |plan: &&model::Plan| {
            let at = plan.ended_at.or((plan.state == PlanState::Planned).then_some(plan.valid_until));
            at.is_some_and(|at| now.since(at) >= PLANS_LIVE)
        };
        let plans: Vec<_> = self.book.plans().filter(ended).take(PER_SWEEP).map(|plan| plan.id.clone()).collect();
        let mut outgoing = Vec::new();
        for id in letters {
            outgoing.push(self.desk.forgotten_letter(&id.0)?);
            self.book.forget(&id);
        }
        for id in plans {
            outgoing.push(self.desk.forgotten_plan(&id)?);
            self.book.forget_plan(&id);
        }
        Ok(outgoing)
    }

    /// Asks the validator for the tombstones of records whose delete has arrived everywhere.
    fn tombstones(&mut self, now: Timestamp) -> Result<Vec<Outgoing>, Fatal> {
        let is_due = |deleted: &Deleted| deleted.asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN);
        let due: Vec<_> = self
            .knowledge
            .deleted
            .iter()
            .filter(|(place, deleted)| is_due(deleted) && self.has_arrived(place, deleted, now))
            .take(PER_SWEEP)
            .map(|(place, deleted)| (place.clone(), deleted.revision))
            .collect();
        let mut outgoing = Vec::new();
        for (place, revision) in due {
            let mut command = desk::command(Act::Tombstone, Stage::Validate, NAME, now);
            command.domain = Some(place.domain);
            command.key = Some(place.key.clone());
            command.revision = Some(revision);
            outgoing.push(self.desk.to_validator(&place, &command)?);
            if let Some(deleted) = self.knowledge.deleted.get_mut(&place) {
                deleted.asked = Some(now);
            }
        }
        Ok(outgoing)
    }

    fn has_arrived(&self, place: &Topical, deleted: &Deleted, now: Timestamp) -> bool {
        now.since(deleted.at) >= TOMBSTONE_AFTER
            || self.config.landscape.receivers(place.domain).all(|destination| {
                match self.knowledge.entry(&destination.name, place) {
                    Some(entry) => {
                        let accepted = entry.accepted.as_ref().is_some_and(|accepted| accepted.revision >= deleted.revision);
                        // It has nothing of the record any more, and its sink passed the delete over.
                        let offered = entry.offered.as_ref().is_some_and(|offered| offered.revision >= deleted.revision);
                        (accepted && entry.state == LedgerState::Clear)
                            || ((accepted || offered) && entry.state == LedgerState::Deleted)
                    }
                    // It never had the key; certain only if its whole ledger was read since.
                    None => deleted.is_complete,
                }
            })
    }
}
