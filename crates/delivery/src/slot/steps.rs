//! Durable steps: what has to be acknowledged, in which order, before a record counts as finished (delivery.md 6.1).

use model::{Cause, Lease, LedgerState, LetterId, Reason, Receipt, ReceiptOutcome, Timestamp, Topical, ledger::Offered};

use super::{
    Action, Counted, Job, Letter, Operation, SlotState, Ticket,
    known::{AcceptedHere, Known, Standing},
    lane::{Chained, Lane, Queued, Step},
};
use crate::{Answer, Chain, Problem};

/// From a tombstone to the erasure of its entry: well above the interval of offset commits.
const BURIAL: std::time::Duration = std::time::Duration::from_secs(60);

/// So long a destination may name a revision that golden is not known to have given, while golden is still being read.
const CATCHES_UP: std::time::Duration = std::time::Duration::from_secs(60);

/// Code of a letter: the destination holds a revision above golden's newest.
pub(super) const REVISION_AHEAD: &str = "REVISION_AHEAD";

impl<P: Clone> SlotState<P> {
    /// The write of this job was acknowledged by Kafka; its next step follows.
    pub fn acknowledged(&mut self, job: Job, now: Timestamp) {
        self.run(job, now);
    }

    /// Starts a chain of steps; the key's lane is busy until the last one was acknowledged.
    pub(super) fn start(&mut self, key: Option<Topical>, steps: impl IntoIterator<Item = Step<P>>, now: Timestamp) {
        self.next_job += 1;
        let job = Job(self.next_job);
        if let Some(key) = &key {
            self.lanes.entry(key.clone()).or_insert_with(Lane::new).job = Some(job);
        }
        self.jobs.insert(job, Chained { key, steps: steps.into_iter().collect(), sealed: None });
        self.run(job, now);
    }

    fn run(&mut self, job: Job, now: Timestamp) {
        loop {
            let Some(Chained { key, steps, sealed }) = self.jobs.get_mut(&job) else { return };
            let Some(step) = steps.pop_front() else {
                let Chained { key, .. } = self.jobs.remove(&job).expect("it was there above");
                if let Some(key) = key {
                    // Two receipts of one key may be sent again: the lane is free after the last.
                    if let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.job == Some(job)) {
                        lane.job = None;
                    }
                    self.settle(&key, now);
                }
                return;
            };
            let action = match step {
                Step::Letter(letter) => Action::WriteLetter(job, letter),
                Step::Ledger(known, receipt) => {
                    let key = key.clone().expect("a ledger step belongs to a key");
                    let mut entry = known.entry(self.epoch);
                    if let Some(receipt) = receipt {
                        let receipt = self.chain.seal(*receipt);
                        *sealed = Some(Box::new(receipt.clone()));
                        self.head = Some(receipt);
                    }
                    // Invariant: the entry that holds the head of the chain never loses it to a later write of the same key.
                    entry.receipt = self.head.clone().filter(|head| head.domain == key.domain && head.key == key.key);
                    self.remember(key.clone(), Some(*known));
                    Action::WriteLedger(job, key, Box::new(entry))
                }
                Step::Erase => {
                    let key = key.clone().expect("an erased entry belongs to a key");
                    self.remember(key.clone(), None);
                    Action::EraseLedger(job, key)
                }
                Step::Receipt => Action::WriteReceipt(job, sealed.clone().expect("sealed by the ledger step before")),
                Step::Repeat(receipt) => Action::WriteReceipt(job, receipt),
                Step::Lease => Action::WriteLease(job, Box::new(self.lease(false))),
                Step::Done(tickets) => {
                    self.done(tickets);
                    continue;
                }
            };
            self.actions.push_back(action);
            return;
        }
    }

    /// A receipt lies on its topic. Told beside [`SlotState::acknowledged`], so that the lease can say up to where.
    pub fn receipt_written(&mut self, receipt: &Receipt) {
        if receipt.seq > self.receipt_acknowledged.seq() {
            self.receipt_acknowledged = Chain::at(receipt.seq, receipt.hash.clone());
        }
    }

    /// Writes the lease anew: how far receipts and reading are. After a crash only what lies behind is sent again.
    pub fn renew_lease(&mut self, now: Timestamp) {
        self.start(None, [Step::Lease], now);
    }

    /// The lease as it stands now.
    #[must_use]
    pub fn lease(&self, clean: bool) -> Lease {
        Lease {
            owner: self.owner.clone(),
            epoch: (self.epoch >= 0).then_some(self.epoch),
            clean: clean && !self.has_unnamed_doubt(),
            receipt_seq: self.receipt_acknowledged.seq(),
            receipt_hash: self.receipt_acknowledged.hash().to_owned(),
            caught_up_at: self.caught_up_at,
            doubt_epoch: self.doubt_epoch,
            paused: self.paused.clone(),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "called twice, with everything that a receipt says")]
    pub(super) fn accepted(
        &mut self,
        key: Topical,
        queued: Queued<P>,
        payload_hash: &str,
        answer: &Answer,
        outcome: ReceiptOutcome,
        offered_at: Timestamp,
        now: Timestamp,
    ) {
        let before = self.known.get(&key).cloned().unwrap_or_default();
        let external_id = answer.external_id.as_deref().map(Into::into);
        let is_removed = queued.offer.operation == Operation::Remove;
        let known = Known {
            offered: Some(offered(&queued)),
            accepted: Some(AcceptedHere {
                revision: queued.offer.revision,
                change_id: queued.offer.change_id,
                payload_hash: if is_removed { "".into() } else { payload_hash.into() },
                at: now,
                external_id: external_id.or_else(|| before.accepted.as_ref().and_then(|accepted| accepted.external_id.clone())),
            }),
            is_deleted: is_removed,
            standing: None,
            in_doubt: false,
            lift: before.lift,
            was_resent: queued.command.is_some(),
        };
        let mut receipt = self.receipt(&key, &queued, answer, outcome, offered_at, now);
        receipt.letter = before.letter().map(str::to_owned);
        if before.lift != 0 {
            receipt.note.get_or_insert_with(|| format!("sent as revision {}", queued.offer.revision.saturating_add(before.lift)));
        }
        let mut steps = vec![Step::Ledger(Box::new(known), Some(Box::new(receipt))), Step::Receipt];
        if let Some(ticket) = queued.tickets.first().filter(|_| queued.is_absent) {
            self.graves.push((key.clone(), ticket.clone()));
            self.timers.insert((now.plus(BURIAL), None));
        }
        steps.push(Step::Done(queued.tickets));
        self.start(Some(key), steps, now);
    }

    pub(super) fn has_newer(&mut self, key: Topical, queued: Queued<P>, answer: &Answer, offered_at: Timestamp, now: Timestamp) {
        self.count(&key, Counted::Superseded);
        let before = self.known.get(&key).cloned().unwrap_or_default();
        let mut receipt = self.receipt(&key, &queued, answer, ReceiptOutcome::Superseded, offered_at, now);
        receipt.letter = before.letter().map(str::to_owned);
        if let Some(revision) = answer.revision_there {
            receipt.note = Some(format!("the destination holds revision {revision}"));
        }
        let known = Known { offered: Some(offered(&queued)), standing: None, ..before };
        let steps = [Step::Ledger(Box::new(known), Some(Box::new(receipt))), Step::Receipt, Step::Done(queued.tickets)];
        self.start(Some(key), steps, now);
    }

    /// The revision above golden's newest that the destination says it holds, in its own count. What golden gave is told by what was
    /// taken up: a higher one is of a former life of the plant or of Kafka.
    pub(super) fn ahead(&self, key: &Topical, queued: &Queued<P>, answer: &Answer) -> Option<i64> {
        let known = self.known.get(key);
        let in_hand = self.lanes.get(key).map_or(0, |lane| lane.newest_revision());
        let newest = queued.offer.revision.max(in_hand).max(known.map_or(0, Known::seen_revision));
        #[cfg(test)]
        if self.bug == Some(super::tests::Bug::BelievesAnyRevision) {
            return None;
        }
        answer.revision_there.filter(|there| there.saturating_sub(known.map_or(0, |known| known.lift)) > newest)
    }

    /// True where the revision that the destination named may still come: a newer one waits, or a former owner read further than this
    /// one has.
    pub(super) fn may_be_behind(&self, key: &Topical, queued: &mut Queued<P>, now: Timestamp) -> bool {
        let since = *queued.ahead_since.get_or_insert(now);
        let is_catching_up = self.resends.is_some() && now.since(since) < CATCHES_UP;
        is_catching_up || self.lanes.get(key).is_some_and(|lane| lane.next.is_some())
    }

    /// The destination refuses everything up to a revision that golden never gave: a letter. Its replay lifts what this destination is
    /// told above that revision.
    pub(super) fn conflict(
        &mut self,
        key: Topical,
        mut queued: Queued<P>,
        mut answer: Answer,
        there: i64,
        offered_at: Timestamp,
        now: Timestamp,
    ) {
        self.count(&key, Counted::Conflict);
        queued.attempts += 1;
        let message = format!(
            "the destination holds revision {there}, golden's newest is {}: it takes nothing until a replay numbers ours above it",
            queued.offer.revision
        );
        let (class, code) = (model::LetterClass::Refused, REVISION_AHEAD.to_owned());
        answer.problem = Some(Problem { class, code, field: None, observed: Some(there.to_string()), message });
        self.park(key, queued, answer, offered_at, now);
    }

    pub(super) fn delivered(&mut self, key: Topical, queued: Queued<P>, now: Timestamp) {
        let before = self.known.get(&key).cloned().unwrap_or_default();
        let until = now.plus(self.setup.acceptance);
        let standing = Standing { until: Some(until), ..standing(LedgerState::Delivered, Reason::Receipt, now, &before) };
        let known = Known { offered: Some(offered(&queued)), standing: Some(Box::new(standing)), ..before };
        self.timers.insert((until, Some(key.clone())));
        self.start(Some(key), [Step::Ledger(Box::new(known), None), Step::Done(queued.tickets)], now);
    }

    pub(super) fn park(&mut self, key: Topical, queued: Queued<P>, answer: Answer, offered_at: Timestamp, now: Timestamp) {
        self.count(&key, Counted::DeadLettered);
        let before = self.known.get(&key).cloned().unwrap_or_default();
        let problem = answer.problem.clone().unwrap_or_else(|| Problem {
            class: model::LetterClass::Refused,
            code: "REFUSED".to_owned(),
            field: None,
            observed: None,
            message: answer.text.clone().unwrap_or_else(|| "the destination refused the record without a reason".to_owned()),
        });
        let offer = &queued.offer;
        let id = (self.setup.letter_id)(&self.setup.destination, key.domain, self.setup.slot.0, offer.golden_offset);
        let letter = Letter {
            id: id.clone(),
            key: Some(key.clone()),
            revision: Some(offer.revision),
            change_id: Some(offer.change_id),
            problem: problem.clone(),
            attempts: i32::try_from(queued.attempts).unwrap_or(i32::MAX),
            first_failed_at: queued.first_failed_at.unwrap_or(now),
            last_failed_at: now,
            replaces: before.letter().filter(|letter| *letter != id.0).map(|letter| LetterId(letter.to_owned())),
            payload: offer.payload.clone(),
        };
        let standing = Standing {
            detail: Some(problem.message.clone()),
            class: Some(problem.class),
            code: Some(problem.code),
            attempts: letter.attempts,
            letter: Some(id.0.clone()),
            revision_there: answer.revision_there,
            ..standing(LedgerState::Parked, Reason::Refused, now, &before)
        };
        let mut receipt = self.receipt(&key, &queued, &answer, ReceiptOutcome::Refused, offered_at, now);
        receipt.letter = Some(id.0);
        receipt.text = receipt.text.or(Some(problem.message));
        let known = Known { offered: Some(offered(&queued)), standing: Some(Box::new(standing)), ..before };
        let letter = Step::Letter(Box::new(letter));
        let ledger = Step::Ledger(Box::new(known), Some(Box::new(receipt)));
        #[cfg(test)]
        if self.bug == Some(super::tests::Bug::LetterAfterCommit) {
            return self.start(Some(key), [ledger, Step::Receipt, Step::Done(queued.tickets), letter], now);
        }
        self.start(Some(key), [letter, ledger, Step::Receipt, Step::Done(queued.tickets)], now);
    }

    /// The call is repeated later, and the ledger says so: for people, a record that fails for now is not one that waits for its turn.
    /// One entry per failed call, so no more than the budget of attempts.
    pub(super) fn retry(&mut self, key: Topical, queued: Queued<P>, answer: &Answer, is_new_doubt: bool, now: Timestamp) {
        let before = self.known.get(&key).cloned().unwrap_or_default();
        // A command may repeat what was accepted, or send what is older than what was offered: neither is the key's state.
        let is_own = queued.command.is_none() && !queued.is_absent && queued.offer.revision >= before.seen_revision();
        if !is_own || queued.offer.revision == before.accepted_revision() {
            return self.again(&key, queued, is_new_doubt, now);
        }
        let problem = answer.problem.as_ref();
        let standing = Standing {
            detail: problem.map(|problem| problem.message.clone()).or_else(|| answer.text.clone()),
            since: queued.first_failed_at.unwrap_or(now),
            until: queued.due,
            code: problem.map(|problem| problem.code.clone()),
            attempts: i32::try_from(queued.attempts).unwrap_or(i32::MAX),
            ..standing(LedgerState::Waiting, Reason::Retrying, now, &before)
        };
        let known = Known { offered: Some(offered(&queued)), standing: Some(Box::new(standing)), ..before };
        self.lanes.entry(key.clone()).or_insert_with(Lane::new).next = Some(queued);
        self.start(Some(key), [Step::Ledger(Box::new(known), None)], now);
    }

    /// A gate is shut or the key is blocked: it waits in the ledger, not in memory.
    pub(super) fn hold(&mut self, key: Topical, queued: Queued<P>, now: Timestamp) {
        self.count(&key, Counted::Held);
        let before = self.known.get(&key).cloned().unwrap_or_default();
        let mut known = Known { offered: Some(offered(&queued)), ..before.clone() };
        if before.state() != LedgerState::Blocked
            && let Some(closed) = queued.offer.closed
        {
            let mut standing = standing(LedgerState::Waiting, closed.reason, now, &before);
            if let Some(same) = before.standing.as_deref().filter(|same| same.reason == standing.reason) {
                standing.since = same.since;
            }
            known.standing = Some(Box::new(Standing { detail: Some(closed.detail), until: closed.until, ..standing }));
            if let Some(until) = closed.until {
                self.timers.insert((until, Some(key.clone())));
            }
        }
        if known == before {
            self.done(queued.tickets);
            return self.settle(&key, now);
        }
        self.start(Some(key), [Step::Ledger(Box::new(known), None), Step::Done(queued.tickets)], now);
    }

    /// True where a lower revision of the key could be called after a crash although this one had its effect before: it lies in
    /// front of this one in the log and may not be committed, or it waits in the ledger, or a command that is read again asks for it.
    pub(super) fn must_announce(&self, key: &Topical) -> bool {
        let Some(next) = self.lanes.get(key).and_then(|lane| lane.next.as_ref()) else { return false };
        let known = self.known.get(key);
        let could_wake = known.is_some_and(|known| {
            let is_behind = known.offered.as_ref().is_some_and(|offered| offered.revision < next.offer.revision);
            // Skipped or discarded: a replay that is read again asks for it.
            let was_left_out = known.seen_revision() > known.accepted_revision();
            is_behind && (known.standing.is_some() || known.was_resent || was_left_out)
        });
        next.has_replaced || could_wake
    }

    /// Says in the ledger which revision is about to be called.
    pub(super) fn announce(&mut self, key: Topical, now: Timestamp) {
        let Some(next) = self.lanes.get_mut(&key).and_then(|lane| lane.next.as_mut()) else { return };
        next.has_replaced = false;
        next.goes_first = true;
        let offered = Some(offered(next));
        let before = self.known.get(&key).cloned().unwrap_or_default();
        let mut standing = standing(LedgerState::Waiting, Reason::Queued, now, &before);
        // A wait for another record counts from its first revision on, or one that changes often would wait for ever.
        if let Some(waited) = before.standing.as_deref().filter(|standing| standing.waits_for_a_record()) {
            (standing.detail, standing.since) = (waited.detail.clone(), waited.since);
        }
        let known = Known { offered, standing: Some(Box::new(standing)), was_resent: false, ..before };
        self.start(Some(key), [Step::Ledger(Box::new(known), None)], now);
    }

    /// A removal of something that is not at the destination. That golden deleted it stands in the ledger, for whoever waits for every
    /// destination to be done with the record; what is only out of scope here is nobody's business.
    pub(super) fn not_needed(&mut self, key: &Topical, queued: Queued<P>, now: Timestamp) {
        self.count(key, Counted::Skipped);
        let before = self.known.get(key).cloned().unwrap_or_default();
        let is_news = before.offered.as_ref().is_none_or(|offered| offered.revision < queued.offer.revision);
        if queued.offer.is_deleted && is_news {
            let known = Known { offered: Some(offered(&queued)), is_deleted: true, standing: None, ..before };
            let steps = [Step::Ledger(Box::new(known), None), Step::Done(queued.tickets)];
            return self.start(Some(key.clone()), steps, now);
        }
        self.done(queued.tickets);
        self.settle(key, now);
    }

    /// Golden's tombstone passed and nothing of the key is on its way.
    pub(super) fn forget(&mut self, key: Topical, mut offer: super::Offer<P>, ticket: Ticket, now: Timestamp) {
        let Some(known) = self.known.get(&key) else {
            self.count(&key, Counted::Skipped);
            self.done([ticket]);
            return self.settle(&key, now);
        };
        if let Some(accepted) = known.accepted.as_ref().filter(|_| !known.is_deleted) {
            // 90 days passed before the delete was accepted: it is sent from what the ledger knows.
            offer.revision = accepted.revision;
            offer.change_id = accepted.change_id;
            let mut queued = Queued::new(offer, vec![ticket], Cause::Snapshot, now);
            queued.is_absent = true;
            return self.enqueue(key, queued, now);
        }
        self.graves.push((key.clone(), ticket.clone()));
        self.timers.insert((now.plus(BURIAL), None));
        self.done([ticket]);
        self.settle(&key, now);
    }

    /// Erases the entries of keys that golden forgot, once nothing in front of their tombstones can be read again: an older revision
    /// that came back after a crash would find no fence.
    pub(super) fn bury(&mut self, now: Timestamp) {
        for (key, ticket) in std::mem::take(&mut self.graves) {
            let next = self.outstanding.get(&ticket.topic).and_then(|tracker| tracker.committable(None));
            let is_idle = self.lanes.get(&key).is_none_or(|lane| lane.is_empty());
            let Some(known) = self.known.get(&key) else { continue };
            if known.offered.as_ref().is_some_and(|offered| offered.golden_offset > ticket.offset) {
                continue;
            }
            if !is_idle || next.is_none_or(|next| next.get() <= ticket.offset) {
                self.graves.push((key, ticket));
                self.timers.insert((now.plus(BURIAL), None));
                continue;
            }
            let is_head = self.head.as_ref().is_some_and(|head| head.domain == key.domain && head.key == key.key);
            // The lease takes the head of the chain over before the entry that holds it goes.
            let lease = is_head.then_some(Step::Lease);
            self.start(Some(key), lease.into_iter().chain([Step::Erase]), now);
        }
    }

    fn receipt(
        &self,
        key: &Topical,
        queued: &Queued<P>,
        answer: &Answer,
        outcome: ReceiptOutcome,
        offered_at: Timestamp,
        now: Timestamp,
    ) -> Receipt {
        let attempts = i32::try_from(queued.attempts).unwrap_or(i32::MAX);
        Receipt {
            destination: self.setup.destination.clone(),
            domain: key.domain,
            key: key.key.clone(),
            change_id: queued.offer.change_id,
            revision: queued.offer.revision,
            outcome,
            note: answer.note.clone(),
            attempt: if outcome == ReceiptOutcome::Refused { attempts.max(1) } else { attempts.saturating_add(1) },
            connector: self.setup.connector.clone(),
            reference: answer.reference.clone(),
            external_id: answer.external_id.clone(),
            code: answer.code.clone(),
            text: answer.text.clone(),
            occurred_at: queued.offer.occurred_at,
            offered_at,
            answered_at: now,
            cause: queued.cause,
            letter: None,
            seq: 0,
            previous_hash: String::new(),
            hash: String::new(),
        }
    }
}

pub(super) fn offered<P>(queued: &Queued<P>) -> Offered {
    let offer = &queued.offer;
    Offered { revision: offer.revision, change_id: offer.change_id, golden_offset: offer.golden_offset }
}

/// A new standing that keeps the dead letter of the one before: acceptance has to close it, whatever came in between.
pub(super) fn standing(state: LedgerState, reason: Reason, now: Timestamp, before: &Known) -> Standing {
    Standing {
        state,
        reason,
        detail: None,
        since: now,
        until: None,
        class: None,
        code: None,
        attempts: 0,
        letter: before.letter().map(str::to_owned),
        revision_there: None,
    }
}
