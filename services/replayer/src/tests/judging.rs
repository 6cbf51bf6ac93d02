//! A letter is judged again by today's policy, ledger and golden before anything is sent.

use std::time::Duration;

use model::{
    Act, Change, ChangeId, ChangeMeta, Data, DeadLetter, Domain, Golden, LedgerState, LetterClass, LetterState, Operation,
    PlanState, RecordKey, Stage,
};
use serde_json::json;

use super::bench::{Bench, START, Wrote, code, commands, golden_meta, item, place, refused, states, wish};

pub(super) fn change(number: u32, sequence: i64, conversions: &serde_json::Value) -> Change {
    let data = json!({
        "item_id": format!("P-{number}"), "revision": "A", "descriptions": [{"lang": "en", "text": "Pump"}],
        "item_type": "FINISHED", "lifecycle": "RELEASED", "make_or_buy": "MAKE", "base_uom": "H87",
        "uom_conversions": conversions,
    });
    Change {
        meta: ChangeMeta {
            change_id: ChangeId("018f0000-0000-7000-8000-000000000001".parse().unwrap()),
            source: "erp".into(),
            source_entity: "items".into(),
            source_key: format!("P-{number}/A"),
            source_version: "1".into(),
            source_epoch: 1,
            source_sequence: sequence,
            operation: Operation::Upsert,
            occurred_at: START,
            captured_at: START,
            author: None,
            approval: None,
            correlation_id: ChangeId("018f0000-0000-7000-8000-000000000002".parse().unwrap()),
            causation_id: None,
            origin: Vec::new(),
        },
        data: Some(Data::Item(Box::new(serde_json::from_value(data).unwrap()))),
    }
}

pub(super) fn letter(bench: &Bench, id: &str, number: u32, change: &Change) -> DeadLetter {
    DeadLetter {
        stage: Stage::Validate,
        system: "validator".into(),
        revision: None,
        source: Some("erp".into()),
        source_epoch: Some(1),
        source_sequence: Some(change.meta.source_sequence),
        class: LetterClass::Data,
        code: "ITM-02".into(),
        topic: Some("mdm.change.erp.item".into()),
        payload: bench.encode_change(Domain::Item, change),
        ..refused(id, number, 0)
    }
}

pub(super) fn unit(code: &str) -> (RecordKey, Golden) {
    let key = RecordKey::new(Domain::Reference, &["uom", code]).unwrap();
    let data = json!({"set": "uom", "code": code, "dimension": "piece", "base_code": "H87", "factor_num": 1, "factor_den": 1, "status": "ACTIVE"});
    let data = Data::Reference(Box::new(serde_json::from_value(data).unwrap()));
    (key, Golden { meta: golden_meta(1, &[]), data: Some(data) })
}

#[test]
fn a_broken_change_still_fails_and_is_not_sent() {
    let mut bench = Bench::new();
    bench.caught_up();
    let (key, golden) = unit("H87");
    bench.golden(Domain::Reference, &key, &golden);
    let broken = change(1, 7, &json!([{"alt_uom": "H87", "numerator": 0, "denominator": 1}]));
    let letter = letter(&bench, "validator/erp/item/3@9", 1, &broken);
    bench.letter(&letter);
    let plan = bench.planned("p-1", code("ITM-02"));
    assert_eq!((plan.would_apply, plan.still_failing), (0, 1));
    bench.command(&wish(Act::Run, "p-1"));
    let wrote = bench.run_for(Duration::from_secs(1));
    assert_eq!(states(&wrote), []);
    assert_eq!((bench.plan("p-1").state, bench.plan("p-1").sent), (PlanState::Done, 0));
}

#[test]
fn a_change_that_would_pass_today_goes_back_to_its_topic_with_its_identity_and_the_letter_as_cause() {
    let mut bench = Bench::new();
    bench.caught_up();
    let sound = change(1, 7, &json!([]));
    let letter = letter(&bench, "validator/erp/item/3@9", 1, &sound);
    bench.letter(&letter);
    // The unit is missing: it would be held again.
    assert_eq!(bench.planned("p-0", code("ITM-02")).still_failing, 1);
    let (key, golden) = unit("H87");
    bench.golden(Domain::Reference, &key, &golden);
    let plan = bench.planned("p-1", code("ITM-02"));
    assert_eq!((plan.would_apply, plan.still_failing), (1, 0), "the unit has arrived");
    bench.command(&wish(Act::Run, "p-1"));
    let wrote = bench.run_for(Duration::from_secs(1));
    assert_eq!(commands(&wrote), [], "a validator's letter goes to its topic, not by command");
    let sent: Vec<_> = wrote
        .iter()
        .filter_map(|wrote| match wrote {
            Wrote::Change(topic, slot, change) => Some((topic.as_str(), *slot, (**change).clone())),
            _ => None,
        })
        .collect();
    let mut expected = sound;
    expected.meta.causation_id = Some("validator/erp/item/3@9".into());
    assert_eq!(sent, [("mdm.change.erp.item", item(1).slot(Domain::Item, 12), expected)]);
    assert_eq!(bench.status("validator/erp/item/3@9").state, LetterState::Replaying);

    bench.golden(Domain::Item, &item(1), &Golden { meta: golden_meta(1, &[("erp", 7)]), data: None });
    bench.run_for(Duration::from_millis(100));
    assert_eq!(bench.status("validator/erp/item/3@9").state, LetterState::Resolved);
    assert_eq!((bench.plan("p-1").state, bench.plan("p-1").accepted), (PlanState::Done, 1));
}

#[test]
fn a_change_that_lay_where_its_source_does_not_write_is_never_sent_again() {
    let mut bench = Bench::new();
    bench.caught_up();
    let (key, golden) = unit("H87");
    bench.golden(Domain::Reference, &key, &golden);
    let sound = change(1, 7, &json!([]));
    for (number, topic, still_failing, unreadable) in [
        (1, "mdm.change.crm.item", 0, 1),
        (2, "mdm.change.gone.item", 0, 1),
        (3, "mdm.golden.item", 0, 1),
        (4, "mdm.change.crm.customer", 0, 1),
    ] {
        let id = format!("validator/x/item/3@{number}");
        let letter = DeadLetter { code: format!("X-{number}"), topic: Some(topic.into()), ..letter(&bench, &id, number, &sound) };
        bench.letter(&letter);
        let plan = bench.planned(&format!("p-{number}"), code(&format!("X-{number}")));
        assert_eq!((plan.would_apply, plan.still_failing, plan.unreadable), (0, still_failing, unreadable), "{topic}");
    }
    let forged = Change { meta: ChangeMeta { source: "crm".into(), ..sound.meta.clone() }, ..sound };
    let letter = DeadLetter { code: "SOURCE_DIFFERS".into(), ..letter(&bench, "validator/erp/item/3@9", 9, &forged) };
    bench.letter(&letter);
    let plan = bench.planned("p-9", code("SOURCE_DIFFERS"));
    assert_eq!((plan.would_apply, plan.still_failing), (0, 1));
}

#[test]
fn a_letter_whose_bytes_are_no_change_is_unreadable() {
    let mut bench = Bench::new();
    bench.caught_up();
    let sound = change(1, 7, &json!([]));
    let letter = DeadLetter { payload: b"junk".to_vec(), ..letter(&bench, "validator/erp/item/3@9", 1, &sound) };
    bench.letter(&letter);
    let plan = bench.planned("p-1", code("ITM-02"));
    assert_eq!((plan.would_apply, plan.unreadable), (0, 1));
}

#[test]
fn what_has_moved_on_is_superseded_not_sent() {
    let mut bench = Bench::new();
    bench.caught_up();
    for number in 1..=2 {
        bench.golden(Domain::Item, &item(number), &Golden { meta: golden_meta(19, &[]), data: None });
        bench.letter(&refused(&format!("mes-ulm/item/3@{number}"), number, 18));
    }
    // Accepted at the destination, but the receipt is still on its way.
    bench.ledger("mes-ulm", &place(1), LedgerState::Clear, Some(19));
    let plan = bench.planned("p-1", code("UNIT_UNKNOWN"));
    assert_eq!((plan.would_apply, plan.superseded), (1, 1));
    bench.command(&wish(Act::Run, "p-1"));
    let wrote = bench.run_for(Duration::from_secs(1));
    assert_eq!(commands(&wrote).len(), 1);
    assert_eq!(bench.status("mes-ulm/item/3@1").state, LetterState::Superseded);
    assert_eq!(bench.status("mes-ulm/item/3@2").state, LetterState::Replaying);
}

#[test]
fn a_mapping_that_still_fails_is_found_by_mapping_again() {
    let mut bench = Bench::new();
    bench.caught_up();
    let data = change(1, 7, &json!([])).data;
    bench.golden(Domain::Item, &item(1), &Golden { meta: golden_meta(18, &[]), data });
    let failed =
        DeadLetter { class: LetterClass::Mapping, code: "MAPPING_UNDEFINED".into(), ..refused("mes-ulm/item/3@1", 1, 18) };
    bench.letter(&failed);
    let plan = bench.planned("p-1", code("MAPPING_UNDEFINED"));
    assert_eq!(plan.would_apply + plan.still_failing, 1, "the sample mapping decides: {plan:?}");
}
