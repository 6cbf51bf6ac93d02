//! Plans: preview, run at a rate, outcomes, cancel, refusals.

use std::time::Duration;

use model::{
    Act, DestinationState, DestinationStatus, Domain, Golden, LetterState, PlanFilter, PlanState, ReceiptOutcome, Stage,
};

use super::bench::{Bench, START, Wrote, audits, code, commands, golden_meta, item, receipt, refused, states, wish};

/// `count` open letters of Ulm, each at the newest golden revision.
fn with_letters(count: u32) -> Bench {
    let mut bench = Bench::new();
    bench.caught_up();
    for number in 1..=count {
        bench.golden(Domain::Item, &item(number), &Golden { meta: golden_meta(18, &[]), data: None });
    }
    for number in 1..=count {
        bench.letter(&refused(&format!("mes-ulm/item/0@{number:04}"), number, 18));
    }
    bench
}

#[test]
fn a_plan_without_a_filter_is_refused_in_words() {
    let mut bench = with_letters(3);
    let plan = bench.planned("p-1", PlanFilter::default());
    assert_eq!(plan.state, PlanState::Cancelled);
    assert_eq!(plan.error.as_deref(), Some("this would replay all 3 open letters of 1 systems; name a filter or pass --all"));
    assert_eq!(bench.command(&wish(Act::Run, "p-1")), [], "a refused plan does not run");
}

#[test]
fn a_plan_over_the_limit_is_refused_until_it_is_raised() {
    let mut bench = with_letters(5);
    let plan = bench.planned("p-1", PlanFilter { limit: 4, ..code("UNIT_UNKNOWN") });
    assert_eq!(plan.error.as_deref(), Some("5 letters match, at most 4 are allowed; narrow the filter or raise the limit"));
    assert_eq!(bench.planned("p-2", PlanFilter { limit: 5, ..code("UNIT_UNKNOWN") }).would_apply, 5);
    assert_eq!(bench.planned("p-3", code("OTHER")).error.as_deref(), Some("no open letter matches"));
}

#[test]
fn a_run_sends_each_letter_once_to_its_destination_with_an_audit_entry_and_ends_with_the_answers() {
    let mut bench = with_letters(3);
    let plan = bench.planned("p-1", code("UNIT_UNKNOWN"));
    assert_eq!((plan.state, plan.would_apply, plan.error), (PlanState::Planned, 3, None));
    assert_eq!(bench.run_for(Duration::from_secs(1)), [], "nothing is sent before the run");

    let wrote = bench.command(&wish(Act::Run, "p-1"));
    assert_eq!((audits(&wrote)[0].act.as_str(), audits(&wrote)[0].object.as_str()), ("dlq.replay", "plan/p-1"));
    let wrote = bench.run_for(Duration::from_secs(2));
    let sent = commands(&wrote);
    assert_eq!(sent.len(), 3);
    for (number, (stage, command)) in (1..).zip(sent) {
        assert_eq!((stage, command.act, command.stage), ("mes-ulm", Act::Replay, Stage::Deliver));
        assert_eq!((command.key.clone(), command.revision, command.exact_offset), (Some(item(number)), Some(18), None));
        assert_eq!(command.plan.as_deref(), Some("p-1"));
    }
    assert_eq!(bench.status("mes-ulm/item/0@0001").hops, 1);

    bench.receipt(&receipt(1, 18, ReceiptOutcome::Accepted));
    bench.receipt(&receipt(2, 19, ReceiptOutcome::Accepted));
    assert_eq!(bench.plan("p-1").state, PlanState::Running, "one answer is missing");
    bench.letter(&refused("mes-ulm/item/0@0003", 3, 18));
    bench.run_for(Duration::from_millis(100));
    let plan = bench.plan("p-1");
    assert_eq!((plan.state, plan.sent, plan.accepted, plan.refused), (PlanState::Done, 3, 2, 1));
    let state = |number: u32| bench.status(&format!("mes-ulm/item/0@{number:04}")).state;
    assert_eq!([state(1), state(2), state(3)], [LetterState::Resolved, LetterState::Superseded, LetterState::Open]);
}

#[test]
fn a_run_keeps_to_its_rate() {
    let mut bench = with_letters(40);
    bench.planned("p-1", code("UNIT_UNKNOWN"));
    bench.command(&wish(Act::Run, "p-1"));
    let in_two_seconds = commands(&bench.run_for(Duration::from_secs(2))).len();
    assert!((20..=21).contains(&in_two_seconds), "10 a second: {in_two_seconds}");
    // A loop that stood still does not make up for more than a second.
    bench.now = bench.now.plus(Duration::from_secs(30));
    let after_a_stall = commands(&bench.turn()).len();
    assert!(after_a_stall <= 11, "{after_a_stall}");
}

#[test]
fn after_five_replays_a_letter_needs_again() {
    let mut bench = with_letters(1);
    for round in 1..=5 {
        let id = format!("p-{round}");
        assert_eq!(bench.planned(&id, code("UNIT_UNKNOWN")).would_apply, 1);
        bench.command(&wish(Act::Run, &id));
        bench.run_for(Duration::from_millis(200));
        bench.letter(&refused("mes-ulm/item/0@0001", 1, 18));
        bench.run_for(Duration::from_millis(200));
        assert_eq!(bench.status("mes-ulm/item/0@0001").hops, round);
    }
    let plan = bench.planned("p-6", code("UNIT_UNKNOWN"));
    assert_eq!((plan.would_apply, plan.exhausted), (0, 1));
    bench.command(&wish(Act::Run, "p-6"));
    assert_eq!(commands(&bench.run_for(Duration::from_secs(1))), []);
    assert_eq!(bench.plan("p-6").state, PlanState::Done);
    assert_eq!(bench.planned("p-7", PlanFilter { again: true, ..code("UNIT_UNKNOWN") }).would_apply, 1);
}

#[test]
fn cancel_stops_the_rest_and_undoes_nothing() {
    let mut bench = with_letters(30);
    bench.planned("p-1", code("UNIT_UNKNOWN"));
    bench.command(&wish(Act::Run, "p-1"));
    let before = commands(&bench.run_for(Duration::from_secs(1))).len();
    let wrote = bench.command(&wish(Act::Cancel, "p-1"));
    assert_eq!(audits(&wrote)[0].act, "dlq.cancel");
    assert_eq!(commands(&bench.run_for(Duration::from_secs(3))), []);
    let plan = bench.plan("p-1");
    assert_eq!((plan.state, plan.sent), (PlanState::Cancelled, i32::try_from(before).unwrap()));
    // An answer that comes later still counts.
    bench.receipt(&receipt(1, 18, ReceiptOutcome::Accepted));
    assert_eq!(bench.plan("p-1").accepted, 1);
}

#[test]
fn one_plan_at_a_time_runs_for_a_destination() {
    let mut bench = with_letters(20);
    bench.planned("p-1", code("UNIT_UNKNOWN"));
    bench.planned("p-2", PlanFilter { key: Some(item(20).to_string()), ..PlanFilter::default() });
    bench.command(&wish(Act::Run, "p-1"));
    bench.command(&wish(Act::Run, "p-2"));
    let plan = bench.plan("p-2");
    assert_eq!(plan.error.as_deref(), Some("plan p-1 is running for mes-ulm; wait for it or cancel it"));
    assert_eq!(plan.state, PlanState::Planned);
    bench.command(&wish(Act::Cancel, "p-1"));
    bench.command(&wish(Act::Run, "p-2"));
    assert_eq!((bench.plan("p-2").state, bench.plan("p-2").error), (PlanState::Running, None));
}

#[test]
fn a_plan_is_made_anew_after_thirty_minutes_or_under_another_policy() {
    let mut bench = with_letters(1);
    bench.planned("p-1", code("UNIT_UNKNOWN"));
    bench.now = bench.now.plus(Duration::from_secs(31 * 60));
    bench.command(&wish(Act::Run, "p-1"));
    assert_eq!(bench.plan("p-1").error.as_deref(), Some("the plan is older than 30 minutes; make it anew"));
    let mut other = bench.planned("p-2", code("UNIT_UNKNOWN"));
    other.policy_version = "older".into();
    bench.replayer.book.restore_plan("p-2".into(), Some(other));
    bench.command(&wish(Act::Run, "p-2"));
    assert_eq!(bench.plan("p-2").error.as_deref(), Some("the plan was made under policy older; make it anew"));
}

#[test]
fn a_destination_that_takes_nothing_is_named_and_needs_queue() {
    let mut bench = with_letters(1);
    let paused = DestinationStatus {
        destination: "mes-ulm".into(),
        domains: vec!["item".into()],
        state: DestinationState::Paused,
        since: START,
        reason: Some("inventory".into()),
        code: None,
        next_at: None,
        by: None,
        until: None,
        policy_version: "1".into(),
        at: START,
    };
    bench.destination_under("mes-pune", &paused);
    assert!(bench.planned("p-0", code("UNIT_UNKNOWN")).not_ready.is_empty(), "said under another one's key");
    bench.destination(&paused);
    assert_eq!(bench.planned("p-1", code("UNIT_UNKNOWN")).not_ready, ["mes-ulm"]);
    bench.command(&wish(Act::Run, "p-1"));
    assert!(bench.plan("p-1").error.unwrap().contains("mes-ulm takes no records now"));
    bench.planned("p-2", PlanFilter { queue: true, ..code("UNIT_UNKNOWN") });
    bench.command(&wish(Act::Run, "p-2"));
    assert_eq!(commands(&bench.run_for(Duration::from_secs(1))).len(), 1);
}

#[test]
fn a_plan_covers_the_letters_that_were_open_when_it_was_made() {
    let mut bench = with_letters(1);
    bench.planned("p-1", PlanFilter { all: true, ..PlanFilter::default() });
    bench.now = bench.now.plus(Duration::from_secs(1));
    bench.golden(Domain::Item, &item(2), &Golden { meta: golden_meta(18, &[]), data: None });
    bench.letter(&refused("mes-ulm/item/0@late", 2, 18));
    bench.command(&wish(Act::Run, "p-1"));
    let wrote = bench.run_for(Duration::from_secs(1));
    assert_eq!(states(&wrote), [("mes-ulm/item/0@0001", LetterState::Replaying)]);
}

#[test]
fn a_crash_in_a_run_sends_nothing_twice() {
    let mut bench = with_letters(10);
    bench.planned("p-1", code("UNIT_UNKNOWN"));
    bench.command(&wish(Act::Run, "p-1"));
    let before = commands(&bench.run_for(Duration::from_millis(500))).len();
    let mut again = Bench::restarted(&bench.own());
    for number in 1..=10 {
        again.golden(Domain::Item, &item(number), &Golden { meta: golden_meta(18, &[]), data: None });
    }
    again.caught_up();
    again.now = bench.now;
    // The golden records of this test are deletes, so the validator is asked for their tombstones, too.
    let wrote = again.run_for(Duration::from_secs(2));
    let after = commands(&wrote).iter().filter(|(stage, _)| *stage == "mes-ulm").count();
    assert_eq!((before, after), (5, 5));
    assert!(before > 0 && after > 0);
}

#[test]
fn an_exact_replay_names_where_the_bytes_lie() {
    let mut bench = with_letters(1);
    let plan = bench.planned("p-1", PlanFilter { exact: true, ..code("UNIT_UNKNOWN") });
    assert_eq!(plan.would_apply, 1);
    bench.command(&wish(Act::Run, "p-1"));
    let wrote = bench.run_for(Duration::from_secs(1));
    assert_eq!(commands(&wrote)[0].1.exact_offset, Some(bench.status("mes-ulm/item/0@0001").letter_offset));
}

#[test]
fn a_sources_letter_asks_that_source_to_capture_the_row_again() {
    let mut bench = Bench::new();
    bench.caught_up();
    let letter = model::DeadLetter {
        stage: Stage::Capture,
        system: "erp".into(),
        key: None,
        revision: None,
        source_key: Some("4711/C".into()),
        code: "MAPPING_VALUE".into(),
        ..refused("erp/item/aa", 1, 0)
    };
    bench.letter(&letter);
    assert_eq!(bench.planned("p-1", code("MAPPING_VALUE")).would_apply, 1);
    bench.command(&wish(Act::Run, "p-1"));
    let wrote = bench.run_for(Duration::from_secs(1));
    let Some(Wrote::Command(stage, slot, command)) = wrote.iter().find(|wrote| matches!(wrote, Wrote::Command(..))) else {
        panic!("{wrote:?}")
    };
    assert_eq!((stage.as_str(), command.act, command.source_key.as_deref()), ("erp", Act::Capture, Some("4711/C")));
    assert_eq!(*slot, model::Slot::of("item/4711/C", 12));
}
