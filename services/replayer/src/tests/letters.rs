//! Letters open, close by themselves, and survive restarts and aborts.

use std::time::Duration;

use kafka::Processor as _;
use model::{Act, DeadLetter, Domain, Golden, LedgerState, LetterState, PlanFilter, ReceiptOutcome, Stage};

use super::bench::{Bench, START, Wrote, audits, code, commands, golden_meta, item, place, receipt, refused, states, wish};

const A: &str = "mes-ulm/item/3@1";
const B: &str = "mes-ulm/item/3@2";

#[test]
fn a_letter_opens_once_and_its_own_record_again_says_nothing() {
    let mut bench = Bench::new();
    bench.caught_up();
    let wrote = bench.letter(&refused("mes-ulm/item/3@1", 1, 18));
    assert_eq!(states(&wrote), [("mes-ulm/item/3@1", LetterState::Open)]);
    let status = bench.status("mes-ulm/item/3@1");
    assert_eq!((status.letter_topic.as_str(), status.hops), ("mdm.dlq.mes-ulm", 0));
    // A crash before the commit: the very same record comes again to a replayer that restored the state.
    let mut again = Bench::restarted(&bench.own());
    again.caught_up();
    assert_eq!(again.letter(&refused("mes-ulm/item/3@1", 1, 18)), []);
}

#[test]
fn receipts_close_letters_without_a_person() {
    for (revision, outcome, expected) in [
        (18, ReceiptOutcome::Accepted, LetterState::Resolved),
        (19, ReceiptOutcome::Accepted, LetterState::Superseded),
        (18, ReceiptOutcome::Refused, LetterState::Open),
        (17, ReceiptOutcome::Accepted, LetterState::Open),
    ] {
        let mut bench = Bench::new();
        bench.caught_up();
        bench.letter(&refused(A, 1, 18));
        bench.receipt(&receipt(1, revision, outcome));
        assert_eq!(bench.status(A).state, expected, "{revision} {outcome:?}");
    }
}

#[test]
fn a_receipt_that_is_read_before_its_letter_closes_it_all_the_same() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.receipt(&receipt(1, 19, ReceiptOutcome::Accepted));
    bench.ledger("mes-ulm", &place(1), LedgerState::Clear, Some(19));
    let wrote = bench.letter(&refused(A, 1, 18));
    assert_eq!(states(&wrote), [(A, LetterState::Superseded)]);
    let wrote = bench.letter(&refused(B, 1, 20));
    assert_eq!(states(&wrote), [(B, LetterState::Open)], "a newer refusal is a letter of its own");
}

#[test]
fn a_newer_letter_of_the_key_replaces_the_older_one() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.letter(&refused(A, 1, 18));
    let wrote = bench.letter(&refused(B, 1, 19));
    assert_eq!(states(&wrote), [(A, LetterState::Superseded), (B, LetterState::Open)]);
    assert_eq!(bench.status(A).closed_by.as_deref(), Some(B));
}

#[test]
fn golden_closes_the_validators_letter_when_its_fence_has_passed_it() {
    let validator = DeadLetter {
        stage: Stage::Validate,
        system: "validator".into(),
        source: Some("erp".into()),
        source_epoch: Some(1),
        source_sequence: Some(7),
        ..refused("validator/erp/item/3@9", 1, 0)
    };
    for (sequence, expected) in [(6, LetterState::Open), (7, LetterState::Resolved), (8, LetterState::Superseded)] {
        // Golden after the letter, and golden before it.
        for golden_first in [false, true] {
            let mut bench = Bench::new();
            bench.caught_up();
            let golden = Golden { meta: golden_meta(3, &[("erp", sequence)]), data: None };
            if golden_first {
                bench.golden(Domain::Item, &item(1), &golden);
                bench.turn();
            }
            bench.letter(&validator);
            if !golden_first {
                bench.golden(Domain::Item, &item(1), &golden);
            }
            bench.turn();
            assert_eq!(bench.status("validator/erp/item/3@9").state, expected, "{sequence}, golden first: {golden_first}");
        }
    }
}

#[test]
fn a_sources_letter_is_closed_by_the_golden_record_that_names_it_and_by_a_newer_letter_of_its_row() {
    let source = |id: &str| DeadLetter {
        stage: Stage::Capture,
        system: "erp".into(),
        key: None,
        source_key: Some("4711/C".into()),
        ..refused(id, 1, 0)
    };
    let mut bench = Bench::new();
    bench.caught_up();
    bench.letter(&source("erp/item/aa"));
    let wrote = bench.letter(&source("erp/item/bb"));
    assert_eq!(states(&wrote), [("erp/item/aa", LetterState::Superseded), ("erp/item/bb", LetterState::Open)]);
    // Only the letter's own source says that its row is right now.
    for (source, expected) in [("crm", LetterState::Open), ("erp", LetterState::Superseded)] {
        let mut meta = golden_meta(1, &[(source, 1)]);
        meta.causation_id = Some("erp/item/bb".into());
        meta.origin = vec!["erp".into(), source.into()];
        bench.golden(Domain::Item, &item(9), &Golden { meta, data: None });
        bench.turn();
        assert_eq!(bench.status("erp/item/bb").state, expected, "{source}");
    }
}

#[test]
fn an_aborted_transaction_leaves_nothing_behind_and_comes_out_the_same_again() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.letter(&refused(A, 1, 18));
    bench.letter(&refused(B, 2, 18));
    let mut discard = wish(Act::DiscardLetters, "d-1");
    discard.filter = Some(PlanFilter { all: true, ..PlanFilter::default() });
    let record = bench.command_record(&discard);
    let first = bench.process(&record);
    assert_eq!(bench.status(A).state, LetterState::Discarded);
    bench.replayer.aborted();
    assert_eq!(bench.status(A).state, LetterState::Open);
    let second = bench.commit(&record);
    assert_eq!(audits(&first), audits(&second), "the chain goes on from the same head");
    assert_eq!(states(&first), states(&second));
    assert_eq!(bench.status(B).state, LetterState::Discarded);
}

#[test]
fn a_restart_knows_letters_plans_and_the_head_of_its_audit_chain() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.golden(Domain::Item, &item(1), &Golden { meta: golden_meta(18, &[]), data: None });
    bench.letter(&refused(A, 1, 18));
    bench.planned("p-1", PlanFilter { ids: vec![A.into()], ..PlanFilter::default() });
    let first = bench.command(&wish(Act::Run, "p-1"));
    let mut again = Bench::restarted(&bench.own());
    again.caught_up();
    assert_eq!((again.status(A), again.plan("p-1")), (bench.status(A), bench.plan("p-1")));
    let second = again.command(&wish(Act::Cancel, "p-1"));
    let (first, second) = (audits(&first)[0].clone(), audits(&second)[0].clone());
    assert_eq!((first.seq, second.seq), (1, 2));
    assert_eq!(second.previous_hash, first.hash);
    assert_eq!(deadletter::audit::hash_of(&second), second.hash);
}

#[test]
fn a_discard_needs_a_reason_ends_the_park_and_is_audited() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.letter(&refused(A, 1, 18));
    let mut discard = wish(Act::DiscardLetters, "d-1");
    discard.filter = Some(PlanFilter { ids: vec![A.into()], ..PlanFilter::default() });
    let mut silent = discard.clone();
    silent.reason = None;
    let wrote = bench.command(&silent);
    assert!(matches!(&wrote[..], [Wrote::Plan(plan)] if plan.error.as_deref() == Some("a discard needs a reason")), "{wrote:?}");
    assert_eq!(bench.status(A).state, LetterState::Open);

    let wrote = bench.command(&discard);
    assert_eq!(states(&wrote), [(A, LetterState::Discarded)]);
    let sent = commands(&wrote);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0, sent[0].1.act, sent[0].1.key.clone()), ("mes-ulm", Act::Discard, Some(item(1))));
    assert_eq!((audits(&wrote)[0].act.as_str(), audits(&wrote)[0].object.as_str()), ("dlq.discard", "letter/mes-ulm/item/3@1"));
    assert_eq!(bench.status(A).reason.as_deref(), Some("because"));
}

#[test]
fn a_discarded_letter_is_sent_again_when_it_is_asked_for_and_resolved_when_it_arrives() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.golden(Domain::Item, &item(1), &Golden { meta: golden_meta(18, &[]), data: None });
    bench.letter(&refused(A, 1, 18));
    let mut discard = wish(Act::DiscardLetters, "d-1");
    discard.filter = Some(PlanFilter { ids: vec![A.into()], ..PlanFilter::default() });
    discard.reason = Some("scrapped".into());
    bench.command(&discard);
    assert_eq!(bench.planned("p-1", code("UNIT_UNKNOWN")).error.as_deref(), Some("no open letter matches"));
    assert_eq!(bench.planned("p-2", PlanFilter { discarded: true, ..code("UNIT_UNKNOWN") }).would_apply, 1);
    assert_eq!(bench.planned("p-3", PlanFilter { ids: vec![A.into()], ..PlanFilter::default() }).would_apply, 1);
    bench.command(&wish(Act::Run, "p-3"));
    let sent = bench.run_for(Duration::from_secs(1));
    assert_eq!(states(&sent), [(A, LetterState::Replaying)]);
    assert_eq!(commands(&sent).iter().map(|(to, command)| (*to, command.act)).collect::<Vec<_>>(), [("mes-ulm", Act::Replay)]);
    bench.receipt(&receipt(1, 18, ReceiptOutcome::Accepted));
    assert_eq!(bench.status(A).state, LetterState::Resolved);
    assert_eq!(bench.plan("p-3").accepted, 1);
}

#[test]
fn a_discarded_letter_whose_record_arrived_since_is_closed_and_not_sent_also_after_a_restart() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.letter(&refused(A, 1, 18));
    let mut discard = wish(Act::DiscardLetters, "d-1");
    discard.filter = Some(PlanFilter { ids: vec![A.into()], ..PlanFilter::default() });
    discard.reason = Some("scrapped".into());
    bench.command(&discard);
    let mut bench = Bench::restarted(&bench.own());
    bench.golden(Domain::Item, &item(1), &Golden { meta: golden_meta(19, &[]), data: None });
    bench.ledger("mes-ulm", &place(1), LedgerState::Clear, Some(19));
    bench.caught_up();
    assert_eq!(bench.planned("p-1", PlanFilter { discarded: true, ..code("UNIT_UNKNOWN") }).superseded, 1);
    bench.command(&wish(Act::Run, "p-1"));
    let sent = bench.run_for(Duration::from_secs(1));
    assert_eq!(states(&sent), [(A, LetterState::Superseded)]);
    assert!(commands(&sent).iter().all(|(_, command)| command.act != Act::Replay), "{sent:?}");
}

#[test]
fn an_empty_filter_discards_nothing() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.letter(&refused(A, 1, 18));
    let wrote = bench.command(&wish(Act::DiscardLetters, "d-1"));
    let [Wrote::Plan(plan)] = &wrote[..] else { panic!("{wrote:?}") };
    assert!(plan.error.as_deref().unwrap().starts_with("this would discard all 1 open letters of 1 systems"), "{plan:?}");
    assert_eq!(bench.status(A).state, LetterState::Open);
}

#[test]
fn ninety_days_open_is_expired_and_400_days_closed_is_forgotten() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.letter(&refused(A, 1, 18));
    bench.now = START.plus(Duration::from_secs(90 * 86_400));
    assert_eq!(states(&bench.turn()), [(A, LetterState::Expired)]);
    bench.receipt(&receipt(1, 18, ReceiptOutcome::Accepted));
    assert_eq!(bench.status(A).state, LetterState::Resolved);
    bench.now = bench.now.plus(Duration::from_secs(400 * 86_400));
    assert!(bench.turn().contains(&Wrote::Tombstone(A.into())));
}

#[test]
fn a_deleted_records_tombstone_is_asked_for_once_every_receiver_took_the_delete() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.turn();
    let mut meta = golden_meta(5, &[]);
    meta.operation = model::Operation::Delete;
    bench.golden(Domain::Item, &item(1), &Golden { meta, data: None });
    bench.ledger("mes-ulm", &place(1), LedgerState::Deleted, Some(5));
    bench.ledger("mes-pune", &place(1), LedgerState::Parked, Some(4));
    assert_eq!(commands(&bench.run_for(Duration::from_secs(6))), [], "Pune has not taken it");
    bench.ledger("mes-pune", &place(1), LedgerState::Deleted, Some(5));
    let wrote = bench.run_for(Duration::from_secs(60));
    let sent = commands(&wrote);
    assert_eq!(sent.len(), 1, "asked once");
    assert_eq!((sent[0].0, sent[0].1.act, sent[0].1.revision), ("validator", Act::Tombstone, Some(5)));
}

#[test]
fn a_destination_that_never_had_the_record_is_done_with_its_delete_once_its_sink_passed_it_over() {
    let mut bench = Bench::new();
    bench.caught_up();
    bench.turn();
    let mut meta = golden_meta(5, &[]);
    meta.operation = model::Operation::Delete;
    bench.golden(Domain::Item, &item(1), &Golden { meta, data: None });
    bench.ledger("mes-ulm", &place(1), LedgerState::Deleted, Some(5));
    assert_eq!(commands(&bench.run_for(Duration::from_secs(6))), [], "nothing is known of Pune");
    for (revision, expected) in [(4, 0), (5, 1)] {
        bench.passed_over("mes-pune", &place(1), revision);
        assert_eq!(commands(&bench.run_for(Duration::from_secs(6))).len(), expected, "{revision}");
    }
}

#[test]
fn at_start_a_destination_that_still_has_the_record_holds_its_tombstone_up_and_one_that_never_had_it_does_not() {
    for (ulm, expected) in [(Some(4), 0), (None, 1)] {
        let mut bench = Bench::new();
        // The ledger lies there before golden is read; which entries matter is known only after it.
        if let Some(revision) = ulm {
            bench.ledger("mes-ulm", &place(1), LedgerState::Clear, Some(revision));
        }
        let mut meta = golden_meta(5, &[]);
        meta.operation = model::Operation::Delete;
        bench.golden(Domain::Item, &item(1), &Golden { meta, data: None });
        bench.caught_up();
        assert_eq!(commands(&bench.run_for(Duration::from_secs(6))).len(), expected, "{ulm:?}");
    }
}
