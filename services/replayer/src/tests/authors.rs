//! Whose a letter or a receipt is, its topic says. What says otherwise moves nothing, and a person hears of it.

use std::time::Duration;

use model::{Act, DeadLetter, Domain, Golden, LetterId, LetterState, PlanFilter, Receipt, ReceiptOutcome, Stage};
use serde_json::json;

use super::{
    bench::{Bench, Wrote, code, commands, golden_meta, item, receipt, refused, states, wish},
    judging::{change, letter, unit},
};

/// Whoever may write the CRM's letters.
const THIEF: &str = "crm";

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.caught_up();
    let (key, golden) = unit("H87");
    bench.golden(Domain::Reference, &key, &golden);
    bench.golden(Domain::Item, &item(1), &Golden { meta: golden_meta(18, &[]), data: None });
    bench
}

fn row(system: &str, id: &str) -> DeadLetter {
    DeadLetter {
        stage: Stage::Capture,
        system: system.into(),
        key: None,
        revision: None,
        source_key: Some("4711/C".into()),
        code: "MAPPING_VALUE".into(),
        ..refused(id, 1, 0)
    }
}

/// Everything that is sent when a person replays all that is open.
fn replayed(bench: &mut Bench) -> Vec<Wrote> {
    bench.planned("p-1", PlanFilter { all: true, ..PlanFilter::default() });
    bench.command(&wish(Act::Run, "p-1"));
    let wrote = bench.run_for(Duration::from_secs(2));
    wrote.into_iter().filter(|wrote| matches!(wrote, Wrote::Change(..) | Wrote::Command(..))).collect()
}

#[test]
fn a_letter_that_claims_to_be_anothers_is_a_letter_of_its_writer_and_is_never_replayed() {
    let sound = change(1, 7, &json!([]));
    let validators = letter(&bench(), "validator/erp/item/3@9", 1, &sound);
    for forged in [
        // The validator's, with a change of the ERP: a replay would put it into the ERP's topic.
        validators.clone(),
        DeadLetter { system: THIEF.into(), ..validators.clone() },
        DeadLetter { system: THIEF.into(), id: LetterId("crm/item/3@9".into()), ..validators.clone() },
        // A destination's.
        refused("mes-ulm/item/3@9", 1, 18),
        DeadLetter { system: THIEF.into(), ..refused("crm/item/3@9", 1, 18) },
        // Another source's, by name, by id or by what it is about.
        row("erp", "erp/item/aa"),
        row(THIEF, "erp/item/aa"),
        row(THIEF, "crm-2/item/aa"),
        row(THIEF, "crm"),
        row(THIEF, "crm/customer/aa"),
        row(THIEF, "crm/dlq/0@0"),
        DeadLetter { source: Some("erp".into()), ..row(THIEF, "crm/item/aa") },
    ] {
        let mut bench = bench();
        let wrote = bench.letter_in(THIEF, &forged);
        let slot = forged.key.as_ref().map_or(0, |key| key.slot(Domain::Item, 12).0);
        let id = format!("crm/dlq/{slot}@0");
        assert_eq!(states(&wrote), [(id.as_str(), LetterState::Open)], "{forged:?}");
        let status = bench.status(&id);
        assert_eq!((status.system.as_str(), status.stage, status.code.as_str()), (THIEF, Stage::Capture, "WRITER_DIFFERS"));
        assert_eq!((status.domain, status.key.clone(), status.source.clone()), (None, None, None), "{status:?}");
        assert_eq!(replayed(&mut bench), [], "{forged:?}");
        assert_eq!(bench.plan("p-1").unreadable, 1, "{forged:?}");
        // Nothing but a person ends it.
        let mut discard = wish(Act::DiscardLetters, "d-1");
        discard.filter = Some(code("WRITER_DIFFERS"));
        bench.command(&discard);
        assert_eq!(bench.status(&id).state, LetterState::Discarded);
    }
}

#[test]
fn an_honest_letter_stays_as_it_is_whatever_another_one_writes_under_its_id_or_names_as_replaced() {
    let mut bench = bench();
    bench.letter(&refused("mes-ulm/item/3@1", 1, 18));
    let before = bench.status("mes-ulm/item/3@1");
    bench.letter_in(THIEF, &DeadLetter { message: "all is well".into(), ..refused("mes-ulm/item/3@1", 1, 18) });
    let replaces = |letter| DeadLetter { replaces: Some(LetterId("mes-ulm/item/3@1".into())), ..letter };
    bench.letter(&replaces(row(THIEF, "crm/item/aa")));
    bench.letter(&replaces(DeadLetter { system: "mes-pune".into(), ..refused("mes-pune/item/3@1", 1, 18) }));
    assert_eq!(bench.status("mes-ulm/item/3@1"), before);
    // Its own destination's newer letter does, and the validator's replaces that of the row that its change came from.
    bench.letter(&replaces(refused("mes-ulm/item/3@2", 1, 18)));
    assert_eq!(bench.status("mes-ulm/item/3@1").state, LetterState::Superseded);
    let sound = change(1, 7, &json!([]));
    for (source, expected) in [("erp", LetterState::Open), (THIEF, LetterState::Superseded)] {
        let id = format!("validator/{source}/item/3@9");
        let cause = Some(LetterId("crm/item/aa".into()));
        bench.letter(&DeadLetter { source: Some(source.into()), replaces: cause, ..letter(&bench, &id, 2, &sound) });
        assert_eq!(bench.status("crm/item/aa").state, expected, "{source}");
    }
}

#[test]
fn a_letter_that_was_believed_before_is_not_replayed_either() {
    let sound = change(1, 7, &json!([]));
    let forged = letter(&bench(), "validator/erp/item/3@9", 1, &sound);
    for (stage, sent) in [("validator", 1), (THIEF, 0)] {
        let mut bench = bench();
        bench.letter_in(stage, &forged);
        let slot = item(1).slot(Domain::Item, 12).0;
        let status = deadletter::opened(&forged, &format!("mdm.dlq.{stage}"), slot, 0, bench.now);
        bench.replayer.book.restore_letter(status.id.clone(), Some(status));
        assert_eq!(replayed(&mut bench).len(), sent, "{stage}");
    }
}

#[test]
fn a_receipt_in_the_topic_of_another_destination_closes_nothing_and_is_a_letter_of_its_writer() {
    let mut bench = bench();
    bench.letter(&refused("mes-ulm/item/3@1", 1, 18));
    let answer = receipt(1, 18, ReceiptOutcome::Accepted);
    let wrote = bench.receipt_in("mes-pune", &answer);
    assert_eq!(states(&wrote), [("mes-pune/receipt/0@0", LetterState::Open)]);
    assert_eq!(bench.status("mes-ulm/item/3@1").state, LetterState::Open);
    let status = bench.status("mes-pune/receipt/0@0");
    assert_eq!((status.system.as_str(), status.stage, status.code.as_str()), ("mes-pune", Stage::Deliver, "WRITER_DIFFERS"));
    assert!(status.message.contains("mes-ulm"), "{}", status.message);
    assert_eq!(commands(&replayed(&mut bench)).len(), 1, "Ulm's own letter alone");
    bench.receipt(&Receipt { revision: 19, ..answer });
    assert_eq!(bench.status("mes-ulm/item/3@1").state, LetterState::Superseded);
}
