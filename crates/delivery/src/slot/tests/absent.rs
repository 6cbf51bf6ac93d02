//! A record that waits for another one at the destination.

use std::time::Duration;

use model::{LedgerEntry, LedgerState, LetterClass, Reason, Topical};

use super::cases::{Hand, at, entry, key, upsert};
use crate::{ABSENT_THERE, Absence, Action, Answer, AnswerClass, Problem, Verdict};

fn unit() -> Topical {
    Topical::parse("reference/uom/KI8").unwrap()
}

fn lacks(record: Topical, is_there: bool) -> Answer {
    let problem = Problem {
        class: LetterClass::Refused,
        code: "UNIT_UNKNOWN".to_owned(),
        field: Some("unit".to_owned()),
        observed: Some("KI8".to_owned()),
        message: "HTTP 422: no such unit".to_owned(),
    };
    let absence = Absence { record, hold: Duration::from_secs(3600), is_there };
    Answer { absence: Some(absence), ..Answer::permanent(problem) }
}

fn last(hand: &Hand) -> LedgerEntry {
    hand.seen.iter().rev().find_map(entry).expect("an entry was written").clone()
}

fn fetches(hand: &Hand) -> usize {
    hand.seen.iter().filter(|action| matches!(action, Action::Fetch(..))).count()
}

fn fetched(hand: &mut Hand, revision: i64) {
    hand.slot.fetched(&key(), Some(upsert(revision)), at(hand.now));
    hand.settle();
}

/// A slot in which revision 1 was refused for want of the unit.
fn waiting() -> Hand {
    let mut hand = Hand::new();
    hand.offer(1);
    hand.answer(lacks(unit(), false), true);
    hand
}

fn problem(hand: &Hand) -> Option<Problem> {
    hand.seen.iter().find_map(|action| match action {
        Action::WriteLetter(_, letter) => Some(letter.problem.clone()),
        _ => None,
    })
}

#[test]
fn it_waits_without_a_letter_and_says_for_what() {
    let hand = waiting();
    let entry = last(&hand);
    assert_eq!((entry.state, entry.reason), (LedgerState::Waiting, Reason::Dependency));
    assert_eq!((entry.detail.as_deref(), entry.code.as_deref()), (Some("reference/uom/KI8"), Some("UNIT_UNKNOWN")));
    assert_eq!(entry.until, Some(at(3600)));
    assert_eq!((problem(&hand), hand.receipts().len()), (None, 0));
    assert!(hand.is_done("golden", 10), "the ledger keeps it");
    assert_eq!(hand.slot.awaited().collect::<Vec<_>>(), [&unit()]);
}

#[test]
fn it_is_tried_again_when_exactly_that_arrived() {
    let mut hand = waiting();
    hand.slot.arrived(&Topical::parse("reference/uom/KGM").unwrap(), at(5));
    hand.slot.tick(at(3599));
    hand.settle();
    assert_eq!((fetches(&hand), hand.slot.has_ready()), (0, false));
    hand.slot.arrived(&unit(), at(6));
    hand.settle();
    assert_eq!(last(&hand).reason, Reason::Queued, "a crash from here on finds it queued");
    assert_eq!(fetches(&hand), 1);
    fetched(&mut hand, 1);
    assert_eq!(hand.accept(), 1);
    assert_eq!((last(&hand).state, hand.slot.awaited().count()), (LedgerState::Clear, 0));
    hand.slot.arrived(&unit(), at(7));
    hand.settle();
    assert_eq!(fetches(&hand), 1, "once");
}

#[test]
fn what_arrives_while_the_wait_is_written_is_not_missed() {
    let mut hand = Hand::new();
    hand.offer(1);
    let call = hand.slot.take(false, at(0)).unwrap();
    hand.slot.answered(&call.key, "hash", lacks(unit(), false), Verdict::plain(true), 1.0, at(0));
    // The ledger step is on its way.
    hand.slot.arrived(&unit(), at(0));
    hand.settle();
    assert_eq!(fetches(&hand), 1);
}

#[test]
fn a_restart_keeps_the_wait() {
    let hand = waiting();
    let mut next = Hand::new();
    next.slot.restore(key(), Some(last(&hand)));
    next.slot.begin(1, at(10));
    next.settle();
    assert_eq!(fetches(&next), 0, "it still waits");
    assert_eq!(next.slot.awaited().collect::<Vec<_>>(), [&unit()]);
    next.slot.arrived(&unit(), at(11));
    next.settle();
    assert_eq!(fetches(&next), 1);
}

#[test]
fn when_its_time_is_over_it_is_a_letter_without_another_call() {
    let mut hand = waiting();
    hand.now = 3601;
    hand.slot.tick(at(3601));
    hand.settle();
    fetched(&mut hand, 1);
    assert!(!hand.slot.has_ready(), "nothing is called");
    let problem = problem(&hand).expect("a letter");
    assert_eq!((problem.class, problem.code.as_str()), (LetterClass::Reference, ABSENT_THERE));
    assert_eq!(problem.observed.as_deref(), Some("reference/uom/KI8"), "it leads to the office");
    assert!(problem.message.contains("UNIT_UNKNOWN"), "{}", problem.message);
    assert_eq!((last(&hand).state, hand.slot.awaited().count()), (LedgerState::Parked, 0));
}

#[test]
fn what_arrives_at_the_last_moment_wins_over_the_letter() {
    let mut hand = waiting();
    hand.now = 3601;
    hand.slot.tick(at(3601));
    hand.settle();
    hand.slot.arrived(&unit(), at(3601));
    fetched(&mut hand, 1);
    assert_eq!((hand.accept(), problem(&hand)), (1, None));
}

#[test]
fn newer_revisions_do_not_prolong_a_wait() {
    let mut hand = waiting();
    for revision in 2..5 {
        hand.now += 1000;
        hand.offer(revision);
        assert_eq!(hand.answer(lacks(unit(), false), true), revision);
        assert_eq!(last(&hand).until, Some(at(3600)), "{revision}");
    }
    hand.now = 3700;
    hand.offer(5);
    hand.answer(lacks(unit(), false), true);
    assert_eq!(problem(&hand).expect("a letter").code, ABSENT_THERE);
    assert_eq!(last(&hand).state, LedgerState::Parked);
}

#[test]
fn waiting_for_another_record_begins_anew() {
    let mut hand = waiting();
    hand.now = 100;
    hand.offer(2);
    hand.answer(lacks(Topical::parse("reference/uom/XYZ").unwrap(), false), true);
    assert_eq!(last(&hand).until, Some(at(3700)));
    hand.slot.arrived(&unit(), at(101));
    hand.settle();
    assert_eq!(fetches(&hand), 0);
}

#[test]
fn a_destination_that_accepted_it_before_is_asked_again_and_then_has_a_letter() {
    let mut hand = Hand::new();
    hand.offer(1);
    for _ in 0..4 {
        hand.answer(lacks(unit(), true), true);
        hand.now += 600;
        hand.slot.tick(at(hand.now));
    }
    let problem = problem(&hand).expect("a letter");
    assert_eq!((problem.class, problem.code.as_str()), (LetterClass::Exhausted, "UNIT_UNKNOWN"));
    assert!(problem.message.contains("accepted reference/uom/KI8 before"), "{}", problem.message);
    assert_eq!(hand.receipts().len(), 1);
}

#[test]
fn a_removal_does_not_wait() {
    let mut hand = waiting();
    let mut offer = upsert(2);
    offer.operation = crate::Operation::Remove;
    hand.slot.offer(key(), offer, crate::Ticket { topic: "golden".into(), offset: 20 }, at(1));
    assert_eq!(hand.answer(Answer::bare(AnswerClass::Accepted), true), 2);
    assert_eq!((last(&hand).state, hand.slot.awaited().count()), (LedgerState::Deleted, 0));
}
