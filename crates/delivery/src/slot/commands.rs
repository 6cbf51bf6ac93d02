//! What people and the replayer ask of a slot: replay, resend, discard, block, unblock, pause, resume. Nothing that was accepted
//! is ever undone by them, and the fence holds for all.

use model::{Act, Cause, Command, LedgerState, Reason, Timestamp, Topical, ledger::Paused};

use super::{
    Action, Counted, Offer, Operation, Place, SlotState, Ticket,
    known::{Known, Standing},
    lane::{Fetching, Lane, Queued, Step},
    steps::{REVISION_AHEAD, standing},
};

impl<P: Clone> SlotState<P> {
    /// Takes up a command about one key; it waits for what is on its way.
    pub fn command(&mut self, key: Topical, command: Command, ticket: Ticket, now: Timestamp) {
        self.received(&ticket);
        if let Some(resends) = self.resends.as_mut().filter(|_| command.act == Act::Resend) {
            resends.push((key, command, ticket));
            return;
        }
        self.take_up(key, command, ticket, now);
    }

    pub(super) fn take_up(&mut self, key: Topical, command: Command, ticket: Ticket, now: Timestamp) {
        self.lanes.entry(key.clone()).or_insert_with(Lane::new).commands.push_back((command, ticket));
        self.settle(&key, now);
    }

    /// Takes up a command about the whole destination; every slot has its own copy.
    pub fn command_all(&mut self, command: Command, ticket: Ticket, now: Timestamp) {
        self.received(&ticket);
        match command.act {
            Act::Pause if command.until.is_none_or(|until| until > now) => {
                let reason = command.reason.unwrap_or_default();
                self.paused = Some(Paused { by: command.actor, reason, until: command.until });
                self.timers.extend(command.until.map(|until| (until, None)));
            }
            Act::Pause | Act::Resume => self.paused = None,
            Act::Replay
            | Act::Resend
            | Act::Discard
            | Act::Block
            | Act::Unblock
            | Act::Resync
            | Act::Waive
            | Act::Reject
            | Act::Tombstone
            | Act::Capture
            | Act::Plan
            | Act::Run
            | Act::Cancel
            | Act::DiscardLetters
            | Act::Unknown => return self.done([ticket]),
        }
        self.start(None, [Step::Lease, Step::Done(vec![ticket])], now);
    }

    /// The payload that [`Action::Fetch`] asked for; none where it was compacted away, which means that a newer revision exists
    /// and will come by itself.
    pub fn fetched(&mut self, key: &Topical, offer: Option<Offer<P>>, now: Timestamp) {
        let Some(fetching) = self.lanes.get_mut(key).and_then(|lane| lane.fetching.take()) else { return };
        let Some(offer) = offer else {
            self.count(key, Counted::Superseded);
            self.done(fetching.tickets);
            return self.settle(key, now);
        };
        let known = self.known.get(key);
        let accepted = known.map_or(0, Known::accepted_revision);
        let seen = known.map_or(0, Known::seen_revision);
        let in_hand = self.lanes.get(key).map_or(0, |lane| lane.newest_revision());
        // Equal to the accepted one only by command; below what was taken up since, never.
        let needed = if fetching.command.is_some() { seen } else { seen.max(accepted + 1) };
        if self.is_fenced(offer.revision, needed - 1) || offer.revision <= in_hand {
            self.count(key, Counted::Stale);
            self.done(fetching.tickets);
            return self.settle(key, now);
        }
        let gives_up = fetching.gives_up && offer.operation == Operation::Upsert;
        let command = fetching.command.filter(|_| offer.revision == accepted);
        let mut queued = Queued::new(offer, fetching.tickets, fetching.cause, now);
        queued.command = command;
        queued.gives_up = gives_up;
        self.enqueue(key.clone(), queued, now);
    }

    /// Reads the payload of a waiting key again: its gate opened, its acceptance is overdue.
    pub fn wake(&mut self, key: &Topical) {
        let Some(offered) = self.known.get(key).and_then(|known| known.offered.as_ref()) else { return };
        let place = Place::Golden(offered.golden_offset);
        let lane = self.lanes.entry(key.clone()).or_insert_with(Lane::new);
        if lane.next.is_some() || lane.fetching.is_some() {
            return;
        }
        if lane.is_busy() {
            lane.wakes = true;
            return;
        }
        lane.fetching = Some(Box::new(Fetching { tickets: Vec::new(), cause: Cause::Normal, command: None, gives_up: false }));
        self.actions.push_back(Action::Fetch(key.clone(), place));
    }

    /// Carries out a command; the lane is free.
    pub(super) fn obey(&mut self, key: Topical, command: Command, ticket: Ticket, now: Timestamp) {
        if matches!(command.act, Act::Replay | Act::Resend)
            && let Some(lifted) = self.known.get(&key).and_then(lifted)
        {
            self.lanes.entry(key.clone()).or_insert_with(Lane::new).commands.push_front((command, ticket));
            return self.start(Some(key), [Step::Ledger(Box::new(lifted), None)], now);
        }
        match command.act {
            Act::Replay => self.send_again(key, command, Cause::Replay, ticket),
            Act::Resend => self.send_again(key, command, Cause::Resend, ticket),
            Act::Discard => self.discard(key, &command, ticket, now),
            Act::Block => self.block(key, command, ticket, now),
            Act::Unblock => self.unblock(key, Some(ticket), now),
            Act::Pause
            | Act::Resume
            | Act::Resync
            | Act::Waive
            | Act::Reject
            | Act::Tombstone
            | Act::Capture
            | Act::Plan
            | Act::Run
            | Act::Cancel
            | Act::DiscardLetters
            | Act::Unknown => self.done([ticket]),
        }
    }

    fn send_again(&mut self, key: Topical, command: Command, cause: Cause, ticket: Ticket) {
        let known = self.known.get(&key);
        let accepted = known.map_or(0, Known::accepted_revision);
        let is_blocked = known.is_some_and(|known| known.state() == LedgerState::Blocked);
        let Some(lane) = self.lanes.get_mut(&key) else { return self.done([ticket]) };
        if let Some(next) = &mut lane.next {
            // The newest state is about to go anyway: the command hurries it on and ends with it.
            next.tickets.push(ticket);
            next.cause = cause;
            next.due = None;
            return;
        }
        if is_blocked {
            self.count(&key, Counted::Held);
            return self.done([ticket]);
        }
        if let Some(fetching) = &mut lane.fetching {
            fetching.tickets.push(ticket);
            fetching.cause = cause;
            fetching.gives_up = false;
            return;
        }
        let offered = known.and_then(|known| known.offered.as_ref());
        let place = match (command.exact_offset, offered) {
            (Some(offset), _) => Place::Letter(offset),
            (None, Some(offered)) if offered.revision > accepted || cause == Cause::Resend => {
                Place::Golden(offered.golden_offset)
            }
            (None, _) => {
                self.count(&key, Counted::Stale);
                return self.done([ticket]);
            }
        };
        let command = (cause == Cause::Resend).then_some(command.command_id);
        lane.fetching = Some(Box::new(Fetching { tickets: vec![ticket], cause, command, gives_up: false }));
        self.actions.push_back(Action::Fetch(key, place));
    }

    /// A person decided that the refused revision need not arrive. What was accepted stays what it is.
    fn discard(&mut self, key: Topical, command: &Command, ticket: Ticket, now: Timestamp) {
        let Some(known) = self.known.get(&key).filter(|known| known.state() == LedgerState::Parked) else {
            return self.done([ticket]);
        };
        let names_another = command.letter.as_ref().is_some_and(|letter| known.letter() != Some(&letter.0));
        if names_another {
            return self.done([ticket]);
        }
        let cleared = Known { standing: None, ..known.clone() };
        self.start(Some(key), [Step::Ledger(Box::new(cleared), None), Step::Done(vec![ticket])], now);
    }

    fn block(&mut self, key: Topical, command: Command, ticket: Ticket, now: Timestamp) {
        if command.until.is_some_and(|until| until <= now) {
            return self.done([ticket]);
        }
        let before = self.known.get(&key).cloned().unwrap_or_default();
        let detail = format!("by {}: {}", command.actor, command.reason.as_deref().unwrap_or("no reason given"));
        let standing = standing(LedgerState::Blocked, Reason::Blocked, now, &before);
        let standing = Standing { detail: Some(detail), until: command.until, ..standing };
        self.timers.extend(command.until.map(|until| (until, Some(key.clone()))));
        let known = Known { standing: Some(Box::new(standing)), ..before };
        self.start(Some(key), [Step::Ledger(Box::new(known), None), Step::Done(vec![ticket])], now);
    }

    /// Opens a block. Where a revision waited behind it, the ledger says `queued` first: a crash before it is delivered must not
    /// find the key blocked again.
    pub(super) fn unblock(&mut self, key: Topical, ticket: Option<Ticket>, now: Timestamp) {
        let Some(known) = self.known.get(&key).filter(|known| known.state() == LedgerState::Blocked) else {
            return self.done(ticket);
        };
        let is_behind = known.offered.as_ref().is_some_and(|offered| offered.revision > known.accepted_revision());
        let mut opened = known.clone();
        opened.standing = is_behind.then(|| Box::new(standing(LedgerState::Waiting, Reason::Queued, now, known)));
        self.lanes.entry(key.clone()).or_insert_with(Lane::new).wakes = is_behind;
        self.start(Some(key), [Step::Ledger(Box::new(opened), None), Step::Done(ticket.into_iter().collect())], now);
    }

    /// The end of a pause that named one.
    pub(super) fn pause_ends(&mut self, now: Timestamp) {
        if self.paused.as_ref().is_some_and(|paused| paused.until.is_some_and(|until| until <= now)) {
            self.paused = None;
            self.start(None, [Step::Lease], now);
        }
    }
}

/// A key that is parked because its destination holds a revision above golden's newest: a person asks for it to be sent nevertheless,
/// so the destination is told numbers above that from here on. The ledger says so before the call.
fn lifted(known: &Known) -> Option<Known> {
    let standing = known.standing.as_deref().filter(|standing| standing.code.as_deref() == Some(REVISION_AHEAD))?;
    let there = standing.revision_there?;
    let offered = known.offered.as_ref()?;
    let lift = there.checked_add(1)?.checked_sub(offered.revision)?;
    Some(Known { lift, standing: Some(Box::new(Standing { revision_there: None, ..standing.clone() })), ..known.clone() })
}
