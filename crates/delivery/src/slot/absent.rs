//! A record that waits for another one, because the destination said that it is missing there.
//!
//! Invariant: the wait is in the ledger, with the name of the record that is waited for; it ends when that record is accepted at the
//! destination, or with a letter when its time is over. Nothing is called in between.

use model::{LedgerState, LetterClass, Reason, Timestamp, Topical};

use super::{
    Action, Counted, Place, SlotState,
    known::{Known, Standing},
    lane::{Fetching, Lane, Queued, Step},
    steps::{offered, standing},
};
use crate::{Absence, Answer, Problem};

/// The letter of a record that waited in vain.
pub const ABSENT_THERE: &str = "ABSENT_THERE";

impl<P: Clone> SlotState<P> {
    /// The destination accepted this record, in whichever slot: what waited for it goes on.
    pub fn arrived(&mut self, record: &Topical, now: Timestamp) {
        for key in self.awaited.get(record).cloned().unwrap_or_default() {
            let Some(known) = self.known.get(&key) else { continue };
            let lane = self.lanes.entry(key.clone()).or_insert_with(Lane::new);
            lane.wakes = lane.next.is_none();
            if let Some(fetching) = &mut lane.fetching {
                fetching.gives_up = false;
                lane.wakes = false;
            } else if !lane.is_busy() && lane.next.is_none() {
                // A crash from here on must not find it waiting for what is there.
                let standing = standing(LedgerState::Waiting, Reason::Queued, now, known);
                let known = Known { standing: Some(Box::new(standing)), ..known.clone() };
                self.start(Some(key), [Step::Ledger(Box::new(known), None)], now);
            }
        }
    }

    /// The records that keys of this slot wait for.
    pub fn awaited(&self) -> impl Iterator<Item = &Topical> {
        self.awaited.keys()
    }

    /// The destination refused a revision because it lacks another record.
    pub(super) fn lacks(
        &mut self,
        key: Topical,
        queued: Queued<P>,
        answer: Answer,
        absence: &Absence,
        offered_at: Timestamp,
        now: Timestamp,
    ) {
        let before = self.known.get(&key).cloned().unwrap_or_default();
        let record = absence.record.to_string();
        let waited = before
            .standing
            .as_deref()
            .filter(|standing| standing.waits_for_a_record() && standing.detail.as_deref() == Some(&record));
        let since = waited.map_or(now, |standing| standing.since);
        let until = since.plus(absence.hold);
        let problem = answer.problem.as_ref();
        if until <= now {
            let said = problem.map(|problem| problem.message.as_str());
            let problem = self.overdue(&record, since, said);
            return self.park(key, queued, Answer { problem: Some(problem), ..answer }, offered_at, now);
        }
        self.count(&key, Counted::Held);
        let standing = Standing {
            detail: Some(record),
            since,
            until: Some(until),
            class: Some(LetterClass::Reference),
            code: problem.map(|problem| problem.code.clone()),
            attempts: i32::try_from(queued.attempts).unwrap_or(i32::MAX),
            ..standing(LedgerState::Waiting, Reason::Dependency, now, &before)
        };
        self.timers.insert((until, Some(key.clone())));
        let known = Known { offered: Some(offered(&queued)), standing: Some(Box::new(standing)), ..before };
        self.start(Some(key), [Step::Ledger(Box::new(known), None), Step::Done(queued.tickets)], now);
    }

    /// The time of a wait is over: its payload is read once more, for the letter.
    pub(super) fn expire(&mut self, key: &Topical) {
        let Some(offered) = self.known.get(key).and_then(|known| known.offered.as_ref()) else { return };
        let place = Place::Golden(offered.golden_offset);
        let lane = self.lanes.entry(key.clone()).or_insert_with(Lane::new);
        if lane.next.is_some() || lane.fetching.is_some() {
            return;
        }
        if lane.is_busy() {
            // Called once more, which says the same or better.
            lane.wakes = true;
            return;
        }
        lane.fetching =
            Some(Box::new(Fetching { tickets: Vec::new(), cause: model::Cause::Normal, command: None, gives_up: true }));
        self.actions.push_back(Action::Fetch(key.clone(), place));
    }

    /// The letter of a wait that is over.
    pub(super) fn give_up(&mut self, key: Topical, mut queued: Queued<P>, now: Timestamp) {
        let Some(standing) = self.known.get(&key).and_then(|known| known.standing.clone()) else {
            return self.again(&key, queued, false, now);
        };
        queued.attempts = u32::try_from(standing.attempts).unwrap_or_default();
        queued.first_failed_at = Some(standing.since);
        let record = standing.detail.unwrap_or_default();
        let problem = self.overdue(&record, standing.since, standing.code.as_deref());
        self.park(key, queued, Answer::permanent(problem), now, now);
    }

    fn overdue(&self, record: &str, since: Timestamp, said: Option<&str>) -> Problem {
        let destination = &self.setup.destination;
        let said = said.map(|said| format!("; its refusal: {said}")).unwrap_or_default();
        Problem {
            class: LetterClass::Reference,
            code: ABSENT_THERE.to_owned(),
            field: None,
            observed: Some(record.to_owned()),
            message: format!("waited since {since} for {record}, which {destination} has not accepted{said}"),
        }
    }

    /// Keeps the index of waits, as a key's state changes.
    pub(super) fn index(&mut self, key: &Topical, before: Option<&Known>, after: Option<&Known>) {
        let record = |known: Option<&Known>| known?.standing.as_deref()?.awaited();
        let (before, after) = (record(before), record(after));
        if before == after {
            return;
        }
        if let Some(record) = before
            && let Some(keys) = self.awaited.get_mut(&record)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.awaited.remove(&record);
            }
        }
        if let Some(record) = after {
            self.awaited.entry(record).or_default().insert(key.clone());
        }
    }
}

impl Standing {
    /// The record that this waits for.
    fn awaited(&self) -> Option<Topical> {
        let waits = self.state == LedgerState::Waiting && self.reason == Reason::Dependency;
        self.detail.as_deref().filter(|_| waits).and_then(|record| Topical::parse(record).ok())
    }

    /// True where this waits for a record, or did before a newer revision was announced.
    pub(super) fn waits_for_a_record(&self) -> bool {
        self.state == LedgerState::Waiting
            && (self.reason == Reason::Dependency || self.reason == Reason::Queued && self.detail.is_some())
    }
}

/// A destination that accepted the record says that it is missing: tried again like any answer that may change.
pub(super) fn contradicts(mut answer: Answer) -> Answer {
    if let (Some(absence), Some(problem)) = (answer.absence.take(), &mut answer.problem) {
        problem.message = format!("{} (it accepted {} before)", problem.message, absence.record);
    }
    answer
}
