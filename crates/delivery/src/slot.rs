//! The state machine of one slot of one destination: lanes per key, latest wins, fence, gates, parking, commands, and the order of
//! the durable steps (delivery.md 5 and 6). Events in, [`Action`]s out; no I/O, no clock.
//!
//! Invariant: one call per key at a time, in revision order. A revision below the accepted one is never called; an equal one only
//! for a command that asks for it, or where another change took the same number.
//! Invariant: a ticket is handed back after effect → ledger → receipt, or letter → ledger → receipt, were acknowledged in that
//! order; a revision that a newer one replaced is handed back at once, because the newer one lies behind it in the partition.
//! Invariant: a key that is parked, waiting or blocked has no call but for a newer revision, an open gate or a command.

mod absent;
mod commands;
mod known;
mod lane;
mod offer;
mod restore;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use model::{Cause, LedgerState, Reason, Timestamp, Topical, ledger::Paused};

pub use self::absent::ABSENT_THERE;
pub use self::offer::{Action, Call, Counted, Job, Letter, Offer, Operation, Place, Setup, Ticket};
use self::{
    known::Known,
    lane::{Chained, Lane, Queued, Step},
};
use crate::{Answer, AnswerClass, Chain, CommitTracker, Fault, Problem, Verdict};

/// State of one slot while this process owns it. It is dropped whole when the slot goes.
#[derive(Debug)]
pub struct SlotState<P> {
    setup: Setup,
    known: HashMap<Topical, Known>,
    /// Parked keys per domain: counted along, because a slot may know a million keys.
    parked: BTreeMap<model::Domain, i64>,
    /// Keys that wait for another record, by that record.
    awaited: BTreeMap<Topical, BTreeSet<Topical>>,
    lanes: HashMap<Topical, Box<Lane<P>>>,
    /// Keys whose next call may start, oldest first.
    ready: VecDeque<Topical>,
    /// Those among them that failed before: nobody waits behind them.
    tried: VecDeque<Topical>,
    /// Whose turn it is between the two.
    takes_tried: bool,
    /// Back-off, acceptance overdue, blocks and pauses that end: when to look at which key (none: the slot).
    timers: BTreeSet<(Timestamp, Option<Topical>)>,
    jobs: BTreeMap<Job, Chained<P>>,
    next_job: u64,
    chain: Chain,
    /// The receipt at the head of the chain, until a newer one is sealed: its key's entry must not lose it.
    head: Option<model::Receipt>,
    /// The highest receipt known to lie on its topic.
    receipt_acknowledged: Chain,
    /// Receipts found in the ledger that may not have reached their topic.
    unsent: BTreeMap<i64, (Topical, model::Receipt)>,
    owner: String,
    /// Offset of this ownership's first lease record.
    epoch: i64,
    /// Epoch of the newest lease passed while restoring.
    restored_epoch: i64,
    was_clean: Option<bool>,
    /// Entries of this epoch and below are in doubt.
    doubt_epoch: Option<i64>,
    paused: Option<Paused>,
    caught_up_at: Option<Timestamp>,
    /// Per topic, what is not finished: an entry is erased when nothing in front of its tombstone can be read again.
    outstanding: BTreeMap<Arc<str>, CommitTracker>,
    /// Keys whose tombstone passed.
    graves: Vec<(Topical, Ticket)>,
    /// Resends that wait until golden is read again up to where the last owner may have been: a newer revision of the key may have
    /// had its effect already.
    resends: Option<Vec<(Topical, model::Command, Ticket)>>,
    is_draining: bool,
    actions: VecDeque<Action<P>>,
    #[cfg(test)]
    bug: Option<tests::Bug>,
}

impl<P: Clone> SlotState<P> {
    /// Takes up a golden revision.
    pub fn offer(&mut self, key: Topical, offer: Offer<P>, ticket: Ticket, now: Timestamp) {
        self.received(&ticket);
        let known = self.known.get(&key);
        let lane = self.lanes.get(&key);
        let in_hand = lane.map_or(0, |lane| lane.newest_revision());
        let is_conflict = known.is_some_and(|known| {
            known.accepted.as_ref().is_some_and(|accepted| {
                accepted.revision == offer.revision
                    && accepted.change_id != offer.change_id
                    && known.offered.as_ref().is_none_or(|offered| offered.golden_offset < offer.golden_offset)
            })
        });
        if is_conflict {
            self.count(&key, Counted::Conflict);
        } else if self.is_fenced(offer.revision, known.map_or(0, Known::seen_revision).max(in_hand)) {
            self.count(&key, Counted::Stale);
            return self.done([ticket]);
        }
        self.enqueue(key, Queued::new(offer, vec![ticket], Cause::Normal, now), now);
    }

    /// Golden forgot the key: its delete was accepted everywhere, or 90 days passed. `offer` removes the key; its revision and
    /// change are those that were accepted last.
    pub fn tombstone(&mut self, key: Topical, offer: Offer<P>, ticket: Ticket, now: Timestamp) {
        self.received(&ticket);
        // Read again after a crash, when the key has come back since: what lives now is not to be removed.
        let offered = self.known.get(&key).and_then(|known| known.offered.as_ref());
        if offered.is_some_and(|offered| offered.golden_offset > ticket.offset) {
            self.count(&key, Counted::Stale);
            return self.done([ticket]);
        }
        let lane = self.lanes.entry(key.clone()).or_insert_with(Lane::new);
        if let Some(before) = lane.tombstone.replace(Box::new((offer, ticket))) {
            self.done([before.1]);
        }
        self.settle(&key, now);
    }

    /// A record that cannot even be read: a letter, no key is stopped.
    pub fn reject(
        &mut self,
        key: Option<Topical>,
        domain: model::Domain,
        payload: P,
        problem: Problem,
        ticket: Ticket,
        now: Timestamp,
    ) {
        self.received(&ticket);
        let letter = Letter {
            id: (self.setup.letter_id)(&self.setup.destination, domain, self.setup.slot.0, ticket.offset),
            key,
            revision: None,
            change_id: None,
            problem,
            attempts: 1,
            first_failed_at: now,
            last_failed_at: now,
            replaces: None,
            payload,
        };
        self.actions.push_back(Action::Count(domain, Counted::DeadLettered));
        self.start(None, [Step::Letter(Box::new(letter)), Step::Done(vec![ticket])], now);
    }

    /// A record that needs nothing here.
    pub fn skip(&mut self, ticket: Ticket) {
        self.received(&ticket);
        self.done([ticket]);
    }

    /// The next call, if any may start. The caller has a permit, or hands it back with [`SlotState::put_back`].
    /// The only call that may go to a destination that is down is one of a record that has not failed yet, where there is one.
    pub fn take(&mut self, is_probe: bool, now: Timestamp) -> Option<Call<P>> {
        if self.is_draining || self.is_paused() {
            return None;
        }
        while let Some(key) = self.next_ready(is_probe) {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.is_ready = false;
            if lane.is_busy() || lane.next.as_ref().is_none_or(|next| next.due.is_some_and(|due| due > now)) {
                continue;
            }
            if self.must_announce(&key) {
                self.announce(key, now);
                continue;
            }
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let Some(queued) = lane.next.take() else { continue };
            let known = self.known.get(&key);
            let call = Call {
                key: key.clone(),
                offer: queued.offer.clone(),
                attempt: i32::try_from(queued.attempts).unwrap_or(i32::MAX).saturating_add(1),
                cause: queued.cause,
                command: queued.command.clone(),
                is_absent: queued.is_absent,
                queued_at: queued.queued_at,
                suspicion: lane.suspicion.as_deref().cloned(),
                lift: known.map_or(0, |known| known.lift),
                accepted_hash: known
                    .filter(|_| queued.command.is_none() && queued.offer.operation == Operation::Upsert)
                    .and_then(|known| self.certain_hash(known))
                    .map(str::to_owned),
            };
            #[cfg(test)]
            self.before_call(&queued);
            let lane = self.lanes.get_mut(&key).expect("it was there above");
            lane.calling = Some(Box::new((queued, now)));
            return Some(call);
        }
        None
    }

    /// True when [`SlotState::take`] may have something.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        let is_idle = self.ready.is_empty() && self.tried.is_empty();
        !is_idle && !self.is_draining && !self.is_paused()
    }

    /// True when among those is one that has not failed yet.
    #[must_use]
    pub fn has_fresh(&self) -> bool {
        !self.ready.is_empty()
    }

    fn next_ready(&mut self, is_probe: bool) -> Option<Topical> {
        self.takes_tried = !is_probe && !self.takes_tried;
        let (first, second) =
            if self.takes_tried { (&mut self.tried, &mut self.ready) } else { (&mut self.ready, &mut self.tried) };
        first.pop_front().or_else(|| second.pop_front())
    }

    /// A call that was taken did not start; it stays the first in line.
    pub fn put_back(&mut self, key: &Topical, now: Timestamp) {
        let Some((mut queued, _)) = self.called(key) else { return };
        queued.goes_first = true;
        self.again(key, queued, false, now);
    }

    /// Accepted without a call: [`Call::is_unchanged`].
    pub fn unchanged(&mut self, key: &Topical, payload_hash: &str, now: Timestamp) {
        let Some((queued, _)) = self.called(key) else { return };
        self.count(key, Counted::Unchanged);
        let answer = Answer::bare(AnswerClass::Accepted);
        self.accepted(key.clone(), queued, payload_hash, &answer, model::ReceiptOutcome::Unchanged, now, now);
    }

    /// The destination answered, or a mapping said no before it was asked. `random` is uniform in `[0, 1)`.
    pub fn answered(&mut self, key: &Topical, payload_hash: &str, answer: Answer, verdict: Verdict, random: f64, now: Timestamp) {
        let Some((mut queued, offered_at)) = self.called(key) else { return };
        queued.goes_first = false;
        #[cfg(test)]
        let verdict = if self.bug == Some(tests::Bug::BelievesTheFault) { Verdict::plain(verdict.counts) } else { verdict };
        let Verdict { counts, fault, suspicion } = verdict;
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.suspicion = suspicion.map(Box::new);
        }
        let is_new_doubt = leaves_doubt(&answer) && self.doubt(key);
        let is_contradiction = answer.absence.as_ref().is_some_and(|absence| absence.is_there);
        let class = if is_contradiction { AnswerClass::Retryable } else { answer.class };
        let answer = if is_contradiction { absent::contradicts(answer) } else { answer };
        match class {
            AnswerClass::Accepted => {
                self.count(key, Counted::Accepted);
                self.accepted(key.clone(), queued, payload_hash, &answer, model::ReceiptOutcome::Accepted, offered_at, now);
            }
            AnswerClass::HasNewer => match self.ahead(key, &queued, &answer) {
                None => self.has_newer(key.clone(), queued, &answer, offered_at, now),
                Some(_) if self.may_be_behind(key, &mut queued, now) => {
                    queued.due = Some(now.plus(LOOK_AGAIN));
                    self.again(key, queued, is_new_doubt, now);
                }
                Some(there) => self.conflict(key.clone(), queued, answer, there, offered_at, now),
            },
            AnswerClass::Delivered => self.delivered(key.clone(), queued, now),
            AnswerClass::Permanent if fault != Fault::Destination => {
                queued.attempts += 1;
                // A resend asks for what was accepted already: nothing of it waits.
                match answer.absence.clone().filter(|_| queued.command.is_none()) {
                    Some(absence) => self.lacks(key.clone(), queued, answer, &absence, offered_at, now),
                    None => self.park(key.clone(), queued, answer, offered_at, now),
                }
            }
            AnswerClass::Destination | AnswerClass::Throttled | AnswerClass::Permanent => {
                #[cfg(test)]
                if self.bug == Some(tests::Bug::BelievesTheFault) {
                    queued.goes_first = true;
                }
                self.faulted(key, queued, answer, (fault, is_new_doubt), random, (offered_at, now));
            }
            AnswerClass::Retryable => {
                if counts {
                    queued.attempts += 1;
                    queued.first_failed_at.get_or_insert(now);
                    let wait = self.setup.budget.delay(queued.attempts, random, answer.retry_after);
                    queued.waited += wait;
                    let is_newer_queued = self.lanes.get(key).is_some_and(|lane| lane.next.is_some());
                    if self.setup.budget.is_spent(queued.attempts, queued.waited) && !is_newer_queued {
                        return self.park(key.clone(), queued, exhausted(answer), offered_at, now);
                    }
                    queued.due = Some(now.plus(wait));
                    if !is_newer_queued {
                        return self.retry(key.clone(), queued, &answer, is_new_doubt, now);
                    }
                } else {
                    queued.due = None;
                }
                self.again(key, queued, is_new_doubt, now);
            }
        }
    }

    /// A fault of the destination, as far as the answer goes: the record waits without an attempt that counts, behind those that have
    /// not failed. Where the record is the cause, it waits alone, and is parked when that is proven.
    fn faulted(
        &mut self,
        key: &Topical,
        mut queued: Queued<P>,
        answer: Answer,
        (fault, is_new_doubt): (Fault, bool),
        random: f64,
        (offered_at, now): (Timestamp, Timestamp),
    ) {
        let lane = self.lanes.get(key);
        let failures = lane.and_then(|lane| lane.suspicion.as_ref()).map_or(1, |suspicion| suspicion.failures);
        let is_newer_queued = lane.is_some_and(|lane| lane.next.is_some());
        match fault {
            Fault::AsAnswered | Fault::Destination => queued.due = None,
            Fault::Open => queued.due = Some(now.plus(self.setup.budget.delay(failures, random, None))),
            Fault::Record { is_proven } => {
                queued.attempts += 1;
                queued.first_failed_at.get_or_insert(now);
                if is_proven && !is_newer_queued {
                    return self.park(key.clone(), queued, exhausted(answer), offered_at, now);
                }
                queued.due = Some(now.plus(self.setup.budget.delay(failures, random, answer.retry_after)));
                if !is_newer_queued {
                    return self.retry(key.clone(), queued, &answer, is_new_doubt, now);
                }
            }
        }
        self.again(key, queued, is_new_doubt, now);
    }

    /// Looks at everything whose time has come.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some((due, _)) = self.timers.first() {
            if *due > now {
                break;
            }
            let (_, key) = self.timers.pop_first().expect("it has a first");
            match key {
                None => {
                    self.pause_ends(now);
                    self.bury(now);
                }
                Some(key) => self.time_came(key, now),
            }
        }
    }

    /// When [`SlotState::tick`] has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// What is to be done now, in this order.
    pub fn actions(&mut self) -> impl Iterator<Item = Action<P>> + '_ {
        self.actions.drain(..)
    }

    /// The slot goes: no new call starts, what is on its way ends.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// True when no call and no durable step is on its way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.jobs.is_empty() && self.actions.is_empty() && self.lanes.values().all(|lane| !lane.is_busy())
    }

    /// The operator's pause of this slot.
    #[must_use]
    pub fn paused(&self) -> Option<&Paused> {
        self.paused.as_ref()
    }

    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// How many keys of each domain are stopped by a permanent error.
    #[must_use]
    pub fn parked(&self) -> &BTreeMap<model::Domain, i64> {
        &self.parked
    }

    /// Keys with work, and keys known.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.lanes.len(), self.known.len())
    }

    /// Golden was read up to its end of when the slot was taken over, or further: offline time counts from here.
    pub fn caught_up(&mut self, now: Timestamp) {
        self.caught_up_at = Some(now);
        for (key, command, ticket) in self.resends.take().into_iter().flatten() {
            self.take_up(key, command, ticket, now);
        }
    }

    /// The call of this key ended: what was called, and since when.
    fn called(&mut self, key: &Topical) -> Option<(Queued<P>, Timestamp)> {
        self.lanes.get_mut(key)?.calling.take().map(|calling| *calling)
    }

    /// Puts a revision into its lane; a newer one replaces an older one that has not started.
    fn enqueue(&mut self, key: Topical, mut queued: Queued<P>, now: Timestamp) {
        let lane = self.lanes.entry(key.clone()).or_insert_with(Lane::new);
        let is_upsert_out = |before: &Queued<P>| before.offer.operation == Operation::Upsert || before.takes_back;
        queued.takes_back = queued.offer.operation == Operation::Remove
            && (lane.next.as_ref().is_some_and(is_upsert_out)
                || lane.calling.as_ref().is_some_and(|calling| is_upsert_out(&calling.0)));
        let tombstone = lane.tombstone.take();
        let before = lane.next.take();
        queued.has_replaced = before.is_some() || lane.fetching.is_some();
        lane.next = Some(queued);
        if let Some(before) = before {
            self.replaced(&key, before);
        }
        self.done(tombstone.map(|tombstone| tombstone.1));
        self.settle(&key, now);
    }

    /// Decides what happens next with a key whose lane is free.
    fn settle(&mut self, key: &Topical, now: Timestamp) {
        loop {
            let Some(lane) = self.lanes.get_mut(key) else { return };
            if lane.is_busy() {
                return;
            }
            let Some((command, ticket)) = lane.commands.pop_front() else { break };
            self.obey(key.clone(), command, ticket, now);
        }
        let is_unsure = self.is_unsure();
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(next) = lane.next.as_ref() else { return self.settle_idle(key, now) };
        let known = self.known.get(key);
        if next.offer.closed.is_some() || known.is_some_and(|known| known.state() == LedgerState::Blocked) {
            let queued = lane.next.take().expect("it was there above");
            return self.hold(key.clone(), queued, now);
        }
        if next.gives_up {
            let queued = lane.next.take().expect("it was there above");
            return self.give_up(key.clone(), queued, now);
        }
        // Golden's first revision removes nothing: there was none before that could have been called.
        let may_be_there = known.is_some_and(Known::may_be_there) || (next.offer.revision > 1 && is_unsure);
        let is_needed = next.offer.operation == Operation::Upsert || next.takes_back || may_be_there;
        if !is_needed {
            let queued = lane.next.take().expect("it was there above");
            return self.not_needed(key, queued, now);
        }
        if let Some(due) = next.due.filter(|due| *due > now) {
            self.timers.insert((due, Some(key.clone())));
        } else if !lane.is_ready {
            lane.is_ready = true;
            let queue = if lane.suspicion.is_some() { &mut self.tried } else { &mut self.ready };
            if next.goes_first {
                queue.push_front(key.clone());
            } else {
                queue.push_back(key.clone());
            }
        }
    }

    /// A free lane without a revision to offer.
    fn settle_idle(&mut self, key: &Topical, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if std::mem::take(&mut lane.wakes) {
            return self.wake(key);
        }
        if lane.fetching.is_none()
            && let Some(tombstone) = lane.tombstone.take()
        {
            let (offer, ticket) = *tombstone;
            return self.forget(key.clone(), offer, ticket, now);
        }
        if lane.is_empty() {
            self.lanes.remove(key);
        }
    }

    /// A call that was not accepted: the record goes back, unless a newer one came meanwhile. A new doubt is said in the ledger
    /// before anything else happens with the key: a clean hand-over must not lose it.
    fn again(&mut self, key: &Topical, queued: Queued<P>, is_new_doubt: bool, now: Timestamp) {
        let lane = self.lanes.entry(key.clone()).or_insert_with(Lane::new);
        if let Some(next) = &mut lane.next {
            next.has_replaced = true;
            self.replaced(key, queued);
        } else {
            lane.next = Some(queued);
        }
        match self.known.get(key).filter(|_| is_new_doubt) {
            Some(known) => self.start(Some(key.clone()), [Step::Ledger(Box::new(known.clone()), None)], now),
            None => self.settle(key, now),
        }
    }

    /// What the destination holds of this key is not known any more, until it accepts something. True where that is new.
    fn doubt(&mut self, key: &Topical) -> bool {
        #[cfg(test)]
        if self.bug == Some(tests::Bug::DoubtOnlyInMemory) {
            self.known.entry(key.clone()).or_default().in_doubt = true;
            return false;
        }
        !std::mem::replace(&mut self.known.entry(key.clone()).or_default().in_doubt, true)
    }

    fn certain_hash<'a>(&self, known: &'a Known) -> Option<&'a str> {
        #[cfg(test)]
        if self.bug == Some(tests::Bug::SkipsInDoubt) {
            return known.accepted.as_ref().filter(|_| known.is_there()).map(|accepted| &*accepted.payload_hash);
        }
        known.certain_hash()
    }

    /// A revision gave way to the one that is queued now. Its offset is done at once, because the newer one lies behind it; only a
    /// removal that takes back what may have arrived keeps it: without it, nobody would know after a crash that there is something.
    fn replaced(&mut self, key: &Topical, queued: Queued<P>) {
        self.count(key, Counted::Superseded);
        match self.lanes.get_mut(key).and_then(|lane| lane.next.as_mut()) {
            Some(next) if next.takes_back => next.tickets.extend(queued.tickets),
            _ => self.done(queued.tickets),
        }
    }

    fn time_came(&mut self, key: Topical, now: Timestamp) {
        if self.lanes.get(&key).is_some_and(|lane| lane.next.is_some()) {
            return self.settle(&key, now);
        }
        let Some(standing) = self.known.get(&key).and_then(|known| known.standing.as_deref()) else { return };
        if standing.until.is_none_or(|until| until > now) {
            return;
        }
        match standing.state {
            LedgerState::Blocked => self.unblock(key, None, now),
            LedgerState::Waiting if standing.reason == Reason::Dependency => self.expire(&key),
            LedgerState::Delivered | LedgerState::Waiting => self.wake(&key),
            LedgerState::Clear | LedgerState::Parked | LedgerState::Deleted | LedgerState::Unknown => {}
        }
    }

    fn is_fenced(&self, revision: i64, seen: i64) -> bool {
        #[cfg(test)]
        if self.bug == Some(tests::Bug::NoFence) {
            return false;
        }
        revision <= seen
    }

    #[cfg(test)]
    fn before_call(&mut self, queued: &Queued<P>) {
        if self.bug == Some(tests::Bug::CommitBeforeEffect) {
            self.done(queued.tickets.clone());
        }
    }

    /// Every change of a key's durable state goes through here.
    fn remember(&mut self, key: Topical, known: Option<Known>) {
        let is_parked = |known: &Known| known.state() == LedgerState::Parked;
        let mut change = i64::from(known.as_ref().is_some_and(is_parked));
        let domain = key.domain;
        let before = self.known.remove(&key);
        self.index(&key, before.as_ref(), known.as_ref());
        if let Some(known) = known {
            self.known.insert(key, known);
        }
        change -= i64::from(before.as_ref().is_some_and(is_parked));
        if change != 0 {
            *self.parked.entry(domain).or_insert(0) += change;
        }
    }

    fn count(&mut self, key: &Topical, counted: Counted) {
        self.actions.push_back(Action::Count(key.domain, counted));
    }

    fn received(&mut self, ticket: &Ticket) {
        let tracker = self.outstanding.entry(Arc::clone(&ticket.topic)).or_insert_with(|| CommitTracker::new(usize::MAX));
        let is_new = tracker.receive(ticket.offset);
        debug_assert!(is_new, "{ticket:?} came twice within one epoch");
    }

    fn done(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        for ticket in tickets {
            if let Some(tracker) = self.outstanding.get_mut(&ticket.topic) {
                tracker.done(ticket.offset);
            }
            self.actions.push_back(Action::Done(ticket));
        }
    }
}

/// A destination that says it holds a revision which golden never gave is asked again after this, while the sink may be behind golden.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// True where the destination may have applied what was called, or holds something else than what it accepted last.
fn leaves_doubt(answer: &Answer) -> bool {
    match answer.class {
        AnswerClass::Accepted | AnswerClass::Permanent => false,
        // Without a code nothing was sent.
        AnswerClass::Destination => answer.code.is_some(),
        AnswerClass::HasNewer | AnswerClass::Delivered | AnswerClass::Throttled | AnswerClass::Retryable => true,
    }
}

/// The attempts are spent: the last answer says why.
fn exhausted(mut answer: Answer) -> Answer {
    let (code, message) = match answer.problem.take() {
        Some(problem) => (problem.code, problem.message),
        None => ("EXHAUSTED".to_owned(), answer.text.clone().unwrap_or_default()),
    };
    let message = format!("given up after repeated attempts while others were served: {message}");
    answer.problem = Some(Problem { class: model::LetterClass::Exhausted, code, field: None, observed: None, message });
    answer
}

#[cfg(test)]
mod tests;
