//! Single promises of a slot, each on its shortest path.

use std::sync::Arc;

use model::{Act, ChangeId, Domain, Lease, LedgerEntry, LedgerState, Receipt, ReceiptOutcome, RecordKey, Timestamp, Topical};

use super::world::{command, fresh, removal};
use crate::{Action, Answer, AnswerClass, Counted, Job, Offer, Operation, Place, Problem, SlotState, Ticket, Verdict};

pub(super) fn key() -> Topical {
    Topical::new(Domain::Item, RecordKey::new(Domain::Item, &["4711", "C"]).unwrap())
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn ticket(topic: &str, offset: i64) -> Ticket {
    Ticket { topic: Arc::from(topic), offset }
}

pub(super) fn upsert(revision: i64) -> Offer<i64> {
    let change_id = ChangeId(uuid::Uuid::from_u128(u128::try_from(revision).unwrap()));
    Offer { revision, change_id, operation: Operation::Upsert, is_deleted: false, ..removal(revision * 10) }
}

fn receipt(action: &Action<i64>) -> Option<&Receipt> {
    if let Action::WriteReceipt(_, receipt) = action { Some(receipt) } else { None }
}

pub(super) fn entry(action: &Action<i64>) -> Option<&LedgerEntry> {
    if let Action::WriteLedger(_, _, entry) = action { Some(entry) } else { None }
}

/// A slot whose writes are acknowledged at once.
pub(super) struct Hand {
    pub(super) slot: SlotState<i64>,
    pub(super) seen: Vec<Action<i64>>,
    pub(super) now: i64,
}

impl Hand {
    pub(super) fn new() -> Self {
        let mut slot = fresh(None, None);
        slot.begin(0, at(0));
        slot.caught_up(at(0));
        Self { slot, seen: Vec::new(), now: 0 }
    }

    /// Everything that follows until the slot rests.
    pub(super) fn settle(&mut self) {
        loop {
            let actions: Vec<_> = self.slot.actions().collect();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                let job: Option<Job> = match &action {
                    Action::WriteLetter(job, _)
                    | Action::WriteLedger(job, ..)
                    | Action::EraseLedger(job, _)
                    | Action::WriteReceipt(job, _)
                    | Action::WriteLease(job, _) => Some(*job),
                    Action::Fetch(..) | Action::Done(_) | Action::Count(..) => None,
                };
                if let Action::WriteReceipt(_, receipt) = &action {
                    self.slot.receipt_written(receipt);
                }
                self.seen.push(action);
                if let Some(job) = job {
                    self.slot.acknowledged(job, at(self.now));
                }
            }
        }
    }

    pub(super) fn offer(&mut self, revision: i64) {
        self.slot.offer(key(), upsert(revision), ticket("golden", revision * 10), at(self.now));
        self.settle();
    }

    pub(super) fn command(&mut self, offset: i64, act: Act) {
        self.slot.command(key(), command(offset, act, Some(key())), ticket("command", offset), at(self.now));
        self.settle();
    }

    pub(super) fn answer(&mut self, answer: Answer, counts: bool) -> i64 {
        self.settle();
        // The first attempt may find that the call has to be announced in the ledger.
        let first = self.slot.take(false, at(self.now));
        self.settle();
        let call = first.or_else(|| self.slot.take(false, at(self.now))).expect("a call may start");
        self.slot.answered(&call.key, "hash", answer, Verdict::plain(counts), 1.0, at(self.now));
        self.settle();
        call.offer.revision
    }

    pub(super) fn accept(&mut self) -> i64 {
        self.answer(Answer::bare(AnswerClass::Accepted), true)
    }

    fn refuse(&mut self) -> i64 {
        let problem = Problem {
            class: model::LetterClass::Refused,
            code: "HTTP_422".to_owned(),
            field: None,
            observed: None,
            message: "no".to_owned(),
        };
        self.answer(Answer::permanent(problem), true)
    }

    pub(super) fn receipts(&self) -> Vec<&Receipt> {
        self.seen.iter().filter_map(receipt).collect()
    }

    fn state(&self) -> LedgerState {
        self.seen.iter().rev().find_map(entry).expect("an entry was written").state
    }

    fn counted(&self, wanted: Counted) -> usize {
        self.seen.iter().filter(|action| matches!(action, Action::Count(_, counted) if *counted == wanted)).count()
    }

    pub(super) fn is_done(&self, topic: &str, offset: i64) -> bool {
        self.seen.iter().any(|action| matches!(action, Action::Done(done) if *done == ticket(topic, offset)))
    }
}

#[test]
fn acceptance_is_ledger_then_receipt_then_done() {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.accept();
    let steps: Vec<&str> = hand
        .seen
        .iter()
        .filter_map(|action| match action {
            Action::WriteLedger(..) => Some("ledger"),
            Action::WriteReceipt(..) => Some("receipt"),
            Action::Done(_) => Some("done"),
            Action::WriteLetter(..)
            | Action::EraseLedger(..)
            | Action::WriteLease(..)
            | Action::Fetch(..)
            | Action::Count(..) => None,
        })
        .collect();
    assert_eq!(steps, ["ledger", "receipt", "done"]);
}

#[test]
fn stale_revision_is_skipped_and_counted() {
    let mut hand = Hand::new();
    hand.offer(3);
    hand.accept();
    hand.slot.offer(key(), upsert(2), ticket("golden", 99), at(0));
    hand.settle();
    assert!(!hand.slot.has_ready());
    assert_eq!(hand.counted(Counted::Stale), 1);
    assert!(hand.is_done("golden", 99));
}

#[test]
fn an_unchanged_payload_needs_no_call_but_a_resend_has_one() {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.accept();
    hand.offer(2);
    let call = hand.slot.take(false, at(0)).unwrap();
    assert!(call.is_unchanged("hash") && !call.is_unchanged("other"));
    hand.slot.unchanged(&key(), "hash", at(0));
    hand.settle();
    assert_eq!(hand.receipts().last().unwrap().outcome, ReceiptOutcome::Unchanged);

    hand.command(1, Act::Resend);
    assert!(matches!(hand.seen.last(), Some(Action::Fetch(_, Place::Golden(20)))));
    hand.slot.fetched(&key(), Some(upsert(2)), at(0));
    let call = hand.slot.take(false, at(0)).unwrap();
    assert!(!call.is_unchanged("hash"), "a resend is sent");
    assert_ne!(call.idempotency_key("mes"), crate::idempotency_key("mes", &key(), 2, None));
}

#[test]
fn a_parked_key_is_replayed_from_golden_and_its_receipt_closes_the_letter() {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.refuse();
    assert_eq!(hand.state(), LedgerState::Parked);
    assert_eq!(hand.slot.parked()[&Domain::Item], 1);
    hand.command(1, Act::Replay);
    assert!(!hand.is_done("command", 1), "it ends with what it asked for");
    hand.slot.fetched(&key(), Some(upsert(1)), at(0));
    hand.accept();
    assert!(hand.is_done("command", 1));
    let closing = hand.receipts().last().copied().unwrap().clone();
    assert_eq!(closing.letter.as_deref(), Some("mes/item/3@10"));
    assert_eq!(closing.cause, model::Cause::Replay);
    assert_eq!(hand.slot.parked()[&Domain::Item], 0);
}

#[test]
fn a_discarded_revision_does_not_come_back_by_itself() {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.refuse();
    hand.command(1, Act::Discard);
    assert_eq!(hand.state(), LedgerState::Clear);
    hand.slot.offer(key(), upsert(1), ticket("golden", 99), at(0));
    hand.settle();
    assert!(!hand.slot.has_ready(), "read again after a crash, it stays discarded");
    hand.offer(20);
    assert_eq!(hand.accept(), 20);
}

#[test]
fn a_compacted_payload_means_that_a_newer_revision_will_come() {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.refuse();
    hand.command(1, Act::Replay);
    hand.slot.fetched(&key(), None, at(0));
    hand.settle();
    assert!(hand.is_done("command", 1) && !hand.slot.has_ready());
}

#[test]
fn attempts_count_only_while_the_destination_serves_others() {
    let mut hand = Hand::new();
    hand.offer(1);
    for _ in 0..50 {
        hand.answer(Answer::bare(AnswerClass::Retryable), false);
        hand.answer(Answer::bare(AnswerClass::Destination), false);
        hand.answer(Answer::bare(AnswerClass::Throttled), true);
    }
    assert!(hand.receipts().is_empty(), "an outage parks nobody");
    for _ in 0..4 {
        hand.answer(Answer::bare(AnswerClass::Retryable), true);
        hand.now += 600;
        hand.slot.tick(at(hand.now));
    }
    assert_eq!(hand.state(), LedgerState::Parked);
    let receipt = hand.receipts().last().copied().unwrap().clone();
    assert_eq!((receipt.outcome, receipt.attempt), (ReceiptOutcome::Refused, 4));
}

#[test]
fn a_revision_that_fails_for_now_says_so_in_the_ledger_once_per_call_and_is_tried_again_after_a_crash() {
    let mut hand = Hand::new();
    hand.now = 5;
    hand.offer(1);
    let problem = Problem {
        class: model::LetterClass::Exhausted,
        code: "HTTP_500".to_owned(),
        field: None,
        observed: None,
        message: "HTTP 500: out of paper".to_owned(),
    };
    hand.answer(Answer { problem: Some(problem), ..Answer::bare(AnswerClass::Retryable) }, true);
    let written = hand.seen.iter().filter_map(entry).cloned().collect::<Vec<_>>();
    let [entry] = written.as_slice() else { panic!("{written:?}") };
    assert_eq!((entry.state, entry.reason, entry.attempts), (LedgerState::Waiting, model::Reason::Retrying, 1));
    assert_eq!((entry.code.as_deref(), entry.detail.as_deref()), (Some("HTTP_500"), Some("HTTP 500: out of paper")));
    assert_eq!((entry.since, entry.until.is_some_and(|until| until > at(5))), (Some(at(5)), true));
    assert!(!hand.is_done("golden", 10), "its offset is not committed");
    assert!(!hand.slot.has_ready(), "not before its time");

    let mut after = Hand { slot: fresh(None, None), seen: Vec::new(), now: 600 };
    after.slot.restore(key(), Some(entry.clone()));
    after.slot.begin(0, at(600));
    after.slot.caught_up(at(600));
    after.slot.offer(key(), upsert(1), ticket("golden", 10), at(600));
    after.slot.tick(at(600));
    after.settle();
    assert!(matches!(after.seen.last(), Some(Action::Fetch(_, Place::Golden(10)))), "{:?}", after.seen.last());
    after.slot.fetched(&key(), Some(upsert(1)), at(600));
    assert_eq!(after.accept(), 1);
    assert_eq!(after.state(), LedgerState::Clear);

    hand.now = 600;
    hand.slot.tick(at(600));
    assert_eq!(hand.accept(), 1);
    assert_eq!(hand.state(), LedgerState::Clear);
}

#[test]
fn a_delivered_revision_is_asked_for_again_when_its_acceptance_is_overdue() {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.answer(Answer::bare(AnswerClass::Delivered), true);
    assert_eq!(hand.state(), LedgerState::Delivered);
    assert!(hand.is_done("golden", 10), "it waits in the ledger");
    hand.now += 61;
    hand.slot.tick(at(hand.now));
    hand.settle();
    assert!(matches!(hand.seen.last(), Some(Action::Fetch(_, Place::Golden(10)))));
    hand.slot.fetched(&key(), Some(upsert(1)), at(hand.now));
    hand.accept();
    assert_eq!(hand.state(), LedgerState::Clear);
}

#[test]
fn a_pause_with_an_end_ends_by_itself_and_stands_in_the_lease() {
    let mut hand = Hand::new();
    let mut pause = command(1, Act::Pause, None);
    pause.until = Some(at(100));
    hand.slot.command_all(pause, ticket("command", 1), at(0));
    hand.settle();
    hand.offer(1);
    assert!(hand.slot.take(false, at(0)).is_none() && hand.slot.lease(false).paused.is_some());
    hand.slot.tick(at(101));
    hand.settle();
    assert!(hand.slot.lease(false).paused.is_none());
    assert!(hand.slot.take(false, at(101)).is_some());
}

#[test]
fn an_entry_or_lease_of_a_former_owner_behind_the_new_lease_is_ignored() {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.accept();
    let entry = hand.seen.iter().find_map(entry).unwrap().clone();
    let mut next = fresh(None, None);
    let own = Lease { owner: "new".to_owned(), ..Lease::default() };
    next.restore_lease(5, own);
    next.restore(key(), Some(entry.clone()));
    assert_eq!(next.sizes().1, 0, "epoch {} lies before the lease at 5", entry.lease_epoch);
    next.restore_lease(9, Lease { owner: "former".to_owned(), epoch: Some(0), clean: true, ..Lease::default() });
    assert!(next.was_unclean(), "the former owner cannot hand over what it lost");
    next.restore(key(), Some(LedgerEntry { lease_epoch: 5, ..entry }));
    assert_eq!(next.sizes().1, 1);
}

#[test]
fn the_head_of_the_chain_outlives_later_writes_and_the_erasure_of_its_key() {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.accept();
    hand.command(1, Act::Block);
    let kept = hand.seen.iter().rev().find_map(entry).unwrap().receipt.clone();
    assert_eq!(kept.map(|receipt| receipt.seq), Some(1), "blocked, and still the head");

    hand.command(2, Act::Unblock);
    hand.slot.offer(key(), Offer { revision: 2, golden_offset: 20, ..removal(20) }, ticket("golden", 20), at(0));
    hand.accept();
    assert_eq!(hand.state(), LedgerState::Deleted);
    hand.slot.tombstone(key(), removal(30), ticket("golden", 30), at(0));
    hand.settle();
    assert_eq!(hand.slot.sizes().1, 1, "erased only when nothing in front of it can be read again");
    hand.now += 120;
    hand.slot.tick(at(hand.now));
    hand.settle();
    assert_eq!(hand.slot.sizes(), (0, 0));
    let tail: Vec<_> = hand.seen.iter().rev().take(2).collect();
    assert!(
        matches!(tail[0], Action::EraseLedger(..)) && matches!(tail[1], Action::WriteLease(_, lease) if lease.receipt_seq == 2)
    );
}

/// The next life of the slot, from what this one wrote.
fn next_life(hand: &Hand, lease: Lease) -> Hand {
    let mut slot = fresh(Some(&lease), None);
    for entry in hand.seen.iter().filter_map(entry) {
        slot.restore(key(), Some(entry.clone()));
    }
    slot.restore_lease(1, lease);
    slot.begin(2, at(hand.now));
    slot.caught_up(at(hand.now));
    Hand { slot, seen: Vec::new(), now: hand.now }
}

#[test]
fn what_a_lost_answer_left_behind_is_called_again_whatever_happens_in_between() {
    for life in ["goes on", "clean stop", "kill -9"] {
        for class in [AnswerClass::Retryable, AnswerClass::Delivered, AnswerClass::Throttled] {
            let mut hand = Hand::new();
            hand.offer(1);
            hand.accept();
            hand.offer(2);
            if life == "kill -9" {
                // Not even the answer is seen.
                hand.slot.take(false, at(0)).expect("a call may start");
            } else {
                hand.answer(Answer::bare(class), false);
            }
            let lease = hand.slot.lease(life == "clean stop");
            let mut hand = if life == "goes on" { hand } else { next_life(&hand, lease) };
            // Revision 2 is compacted away; revision 3 has the payload of revision 1 again.
            hand.offer(3);
            let first = hand.slot.take(false, at(0));
            hand.settle();
            let call = first.or_else(|| hand.slot.take(false, at(0))).expect("a call may start");
            assert!(!call.is_unchanged("hash"), "{life}, {class:?}: the destination may hold revision 2");
            hand.slot.answered(&call.key, "hash", Answer::bare(AnswerClass::Accepted), Verdict::plain(true), 1.0, at(0));
            hand.settle();
            hand.offer(4);
            assert!(hand.slot.take(false, at(0)).unwrap().is_unchanged("hash"), "{life}, {class:?}: accepted, the doubt is gone");
        }
    }
}

#[test]
fn a_delete_that_nobody_needs_stands_in_the_ledger_and_one_out_of_scope_does_not() {
    for (is_deleted, state) in [(true, Some(LedgerState::Deleted)), (false, None)] {
        let mut hand = Hand::new();
        hand.slot.offer(key(), Offer { revision: 3, golden_offset: 30, is_deleted, ..removal(30) }, ticket("golden", 30), at(0));
        hand.settle();
        assert!(hand.slot.take(false, at(0)).is_none() && hand.is_done("golden", 30));
        let written = hand.seen.iter().find_map(entry);
        assert_eq!(written.map(|entry| entry.state), state);
        assert!(written.is_none_or(|entry| entry.offered.as_ref().is_some_and(|offered| offered.revision == 3)));
        // Golden forgets it, and so does the ledger.
        hand.slot.tombstone(key(), removal(40), ticket("golden", 40), at(0));
        hand.settle();
        hand.now += 120;
        hand.slot.tick(at(hand.now));
        hand.settle();
        assert_eq!(hand.slot.sizes(), (0, 0));
    }
}

#[test]
fn a_tombstone_that_is_read_again_does_not_remove_a_record_that_came_back() {
    let mut hand = Hand::new();
    hand.offer(4);
    hand.accept();
    let mut hand = next_life(&hand, hand.slot.lease(false));
    hand.slot.tombstone(key(), removal(30), ticket("golden", 30), at(0));
    hand.settle();
    assert!(!hand.slot.has_ready() && hand.is_done("golden", 30));
    assert_eq!(hand.counted(Counted::Stale), 1);
}

/// A plant that was there before: it knows the key at this revision and refuses whatever is not above.
struct FormerLife {
    revision: i64,
}

impl FormerLife {
    fn answer(&mut self, revision: i64) -> Answer {
        if revision <= self.revision {
            return Answer { revision_there: Some(self.revision), ..Answer::bare(AnswerClass::HasNewer) };
        }
        self.revision = revision;
        Answer { revision_there: Some(revision), ..Answer::bare(AnswerClass::Accepted) }
    }
}

#[test]
fn a_plant_that_is_ahead_of_golden_is_a_conflict_and_a_replay_numbers_ours_above_it() {
    let mut hand = Hand::new();
    let mut plant = FormerLife { revision: 999 };
    let call = |hand: &mut Hand, plant: &mut FormerLife| {
        let first = hand.slot.take(false, at(0));
        hand.settle();
        let call = first.or_else(|| hand.slot.take(false, at(0))).expect("a call may start");
        let answer = plant.answer(call.revision());
        hand.slot.answered(&call.key, "hash", answer, Verdict::plain(true), 1.0, at(0));
        hand.settle();
        call
    };
    hand.offer(5);
    let refused = call(&mut hand, &mut plant);
    assert_eq!(hand.state(), LedgerState::Parked);
    assert_eq!(hand.counted(Counted::Conflict), 1);
    let parked = hand.seen.iter().rev().find_map(entry).unwrap().clone();
    assert_eq!((parked.code.as_deref(), parked.revision_there), (Some("REVISION_AHEAD"), Some(999)));
    assert_eq!(hand.receipts().last().unwrap().outcome, ReceiptOutcome::Refused, "never a yes");

    hand.command(1, Act::Replay);
    hand.slot.fetched(&key(), Some(upsert(5)), at(0));
    hand.settle();
    let lifted = call(&mut hand, &mut plant);
    assert_eq!(lifted.revision(), 1000);
    assert_ne!(lifted.idempotency_key("mes"), refused.idempotency_key("mes"), "the plant may remember its refusal");
    assert_eq!(hand.state(), LedgerState::Clear);
    let receipt = hand.receipts().last().copied().unwrap().clone();
    assert_eq!((receipt.revision, receipt.note.as_deref()), (5, Some("sent as revision 1000")));

    // A newer one follows in the same count, also in the next life.
    let mut hand = next_life(&hand, Lease { clean: true, ..Lease::default() });
    hand.offer(6);
    assert_eq!(call(&mut hand, &mut plant).revision(), 1001);
    assert_eq!((hand.state(), plant.revision), (LedgerState::Clear, 1001));
}

#[test]
fn a_sink_behind_golden_waits_for_the_newer_revision_before_it_calls_it_a_conflict() {
    let ahead = || Answer { revision_there: Some(9), ..Answer::bare(AnswerClass::HasNewer) };
    let mut slot = fresh(None, None);
    slot.begin(0, at(0));
    let mut hand = Hand { slot, seen: Vec::new(), now: 0 };
    hand.offer(1);
    for _ in 0..60 {
        hand.answer(ahead(), true);
        assert!(hand.receipts().is_empty());
        hand.now += 1;
        hand.slot.tick(at(hand.now));
    }
    hand.offer(9);
    assert_eq!((hand.accept(), hand.counted(Counted::Conflict)), (9, 0));
}

#[test]
fn a_destination_that_holds_a_newer_revision_closes_the_offer_as_superseded() {
    let mut hand = Hand::new();
    hand.offer(1);
    let call = hand.slot.take(false, at(0)).unwrap();
    hand.offer(9);
    hand.slot.answered(
        &call.key,
        "hash",
        Answer { revision_there: Some(9), ..Answer::bare(AnswerClass::HasNewer) },
        Verdict::plain(true),
        1.0,
        at(0),
    );
    hand.settle();
    let receipt = hand.receipts().last().copied().unwrap().clone();
    assert_eq!(receipt.outcome, ReceiptOutcome::Superseded);
    assert_eq!(receipt.note.as_deref(), Some("the destination holds revision 9"));
}

#[test]
fn exact_bytes_go_only_above_what_was_accepted() {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.refuse();
    hand.offer(2);
    hand.accept();
    let mut replay = command(1, Act::Replay, Some(key()));
    replay.exact_offset = Some(0);
    hand.slot.command(key(), replay, ticket("command", 1), at(0));
    hand.settle();
    assert!(matches!(hand.seen.last(), Some(Action::Fetch(_, Place::Letter(0)))));
    hand.slot.fetched(&key(), Some(upsert(1)), at(0));
    hand.settle();
    assert!(!hand.slot.has_ready() && hand.is_done("command", 1));
    assert!(hand.slot.is_quiet());
}
