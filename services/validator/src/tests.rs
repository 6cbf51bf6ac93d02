mod driver;
mod large;
mod stub;

use model::{Act, LetterClass, Reason, ReceiptOutcome, Severity};
use serde_json::json;

use self::driver::{Driver, Told, customer, item, unit};

#[test]
fn a_child_that_comes_before_its_parent_is_held_and_released_once() {
    let mut driver = Driver::new();
    let held = driver.send(customer("C-2", 10).data(json!({"parent_customer_id": "C-1"})));
    assert_eq!(held, Told::Held(Reason::Record));
    assert_eq!(driver.golden("customer/C-2"), None);
    assert_eq!(driver.held("customer/C-2")[0].waits_for, "customer/C-1");

    assert_eq!(driver.send(customer("C-1", 11)), Told::Accepted);
    driver.turn();
    let child = driver.golden("customer/C-2").unwrap();
    assert_eq!((child.meta.revision, child.meta.change_id), (1, driver.change_id_of(10)));
    assert!(driver.held("customer/C-2").is_empty());
    assert_eq!(driver.writes_of("golden", "customer/C-2"), 1);
    driver.turn();
    assert_eq!(driver.writes_of("golden", "customer/C-2"), 1);
}

#[test]
fn a_parent_in_another_workers_slot_releases_by_the_view() {
    let mut driver = Driver::new();
    driver.send(customer("C-2", 10).data(json!({"parent_customer_id": "C-1"})));
    driver.followed(customer("C-1", 11));
    driver.turn();
    assert!(driver.golden("customer/C-2").is_some());
}

#[test]
fn a_conversion_of_zero_is_a_letter_with_rule_field_and_value() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    driver.send(unit("BX", 2));
    let change = item("4711/C", 3).data(json!({"uom_conversions": [{"alt_uom": "BX", "numerator": 0, "denominator": 1}]}));
    let Told::Refused(letter) = driver.send(change) else { panic!("accepted") };
    assert_eq!((letter.class, letter.code.as_str()), (LetterClass::Data, "ITM-02"));
    assert_eq!((letter.field.as_deref(), letter.observed.as_deref()), (Some("/uom_conversions/0/numerator"), Some("0")));
    assert_eq!(letter.owner.as_deref(), Some("item office"));
    assert_eq!(letter.id.0, format!("validator/erp/item/{}@{}", letter.partition.unwrap(), letter.offset.unwrap()));
    assert_eq!(driver.golden("item/4711/C"), None);
    assert_eq!(driver.writes_of("dlq.validator", "item/4711/C"), 1);
}

#[test]
fn an_unknown_unit_waits_and_then_becomes_a_letter_of_class_reference() {
    let mut driver = Driver::new();
    let waits = driver.send(item("4711/C", 3).data(json!({"base_uom": "SET"})));
    assert_eq!(waits, Told::Held(Reason::Record));
    driver.pass(9);
    driver.turn();
    assert_eq!(driver.writes_of("dlq.validator", "item/4711/C"), 0);
    driver.pass(2);
    driver.turn();
    let letter = driver.letters().pop().unwrap();
    assert_eq!((letter.class, letter.code.as_str()), (LetterClass::Reference, "ITM-01"));
    assert_eq!(letter.field.as_deref(), Some("/base_uom"));
    assert_eq!(letter.observed.as_deref(), Some("SET"));
    assert!(letter.message.ends_with("waited 11 s for reference/uom/SET"), "{}", letter.message);
    assert!(driver.held("item/4711/C").is_empty());
    driver.turn();
    assert_eq!(driver.letters().len(), 1);
}

#[test]
fn an_unknown_unit_that_arrives_in_time_releases_the_item() {
    let mut driver = Driver::new();
    driver.send(item("4711/C", 3).data(json!({"base_uom": "SET"})));
    driver.pass(5);
    driver.send(unit("SET", 4));
    driver.turn();
    assert!(driver.golden("item/4711/C").is_some());
    driver.pass(60);
    driver.turn();
    assert_eq!(driver.letters().len(), 0);
}

#[test]
fn a_correction_replaces_what_waits() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    driver.send(item("4711/C", 3).data(json!({"base_uom": "SET"})));
    assert_eq!(driver.send(item("4711/C", 4)), Told::Accepted);
    assert!(driver.held("item/4711/C").is_empty());
    driver.pass(60);
    driver.turn();
    assert_eq!(driver.letters().len(), 0);
    assert_eq!(driver.golden("item/4711/C").unwrap().meta.revision, 1);

    driver.send(item("4711/C", 5).data(json!({"base_uom": "SET"})));
    driver.send(item("4711/C", 6).data(json!({"base_uom": "BOX"})));
    assert_eq!(driver.held("item/4711/C").len(), 1);
    assert_eq!(driver.held("item/4711/C")[0].source_sequence, 6);
    assert_eq!(driver.send(item("4711/C", 5).data(json!({"base_uom": "SET"}))), Told::Skipped);
}

#[test]
fn two_updates_within_one_source_timestamp_both_count() {
    // The publisher gives the second one the last sequence + 1 (domain.md 1.1).
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    let told = driver.send_all(vec![
        item("4711/C", 1_000_000).data(json!({"drawing_number": "first"})),
        item("4711/C", 1_000_001).data(json!({"drawing_number": "second"})),
    ]);
    assert_eq!(told, [Told::Accepted, Told::Accepted]);
    assert_eq!(driver.golden("item/4711/C").unwrap().meta.revision, 2);
    assert_eq!(driver.writes_of("golden", "item/4711/C"), 2);
}

#[test]
fn revisions_rise_over_delete_tombstone_and_a_new_start() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    driver.send(item("4711/C", 2));
    driver.send(item("4711/C", 3).delete());
    assert_eq!(driver.golden("item/4711/C").unwrap().meta.revision, 2);
    driver.command("item/4711/C", Act::Tombstone, Some(1));
    assert!(driver.golden("item/4711/C").is_some(), "a revision that is not the newest is not buried");
    driver.command("item/4711/C", Act::Tombstone, Some(2));
    assert_eq!(driver.golden("item/4711/C"), None);
    driver.restart();
    assert_eq!(driver.send(item("4711/C", 2)), Told::Stale);
    assert_eq!(driver.send(item("4711/C", 4)), Told::Accepted);
    let golden = driver.golden("item/4711/C").unwrap();
    assert_eq!((golden.meta.revision, golden.meta.fence["erp"].sequence), (3, 4));
    driver.restart();
    assert_eq!(driver.send(item("4711/C", 5).delete()), Told::Accepted);
    assert_eq!(driver.golden("item/4711/C").unwrap().meta.revision, 4);
}

#[test]
fn repeats_and_older_changes_make_no_golden() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    driver.send(item("4711/C", 5));
    assert_eq!(driver.send(item("4711/C", 5)), Told::Skipped);
    assert_eq!(driver.send(item("4711/C", 4)), Told::Stale);
    assert_eq!(driver.writes_of("golden", "item/4711/C"), 1);
    assert_eq!(driver.writes_of("finding", "item/4711/C"), 1, "only the stale one leaves a finding");
}

#[test]
fn a_missing_marketing_segment_passes_with_a_warning() {
    let mut driver = Driver::new();
    assert_eq!(driver.send(customer("C-1", 1)), Told::Accepted);
    let golden = driver.golden("customer/C-1").unwrap();
    let findings: Vec<_> = golden.meta.findings.iter().map(|f| (f.rule_id.as_str(), f.severity)).collect();
    assert_eq!(findings, [("CUS-19", Severity::Warn)]);
}

#[test]
fn a_restart_restores_what_waits_with_its_deadline() {
    let mut driver = Driver::new();
    driver.send(item("4711/C", 3).data(json!({"base_uom": "SET"})));
    driver.pass(6);
    driver.restart();
    driver.turn();
    assert_eq!(driver.held("item/4711/C").len(), 1);
    driver.pass(6);
    driver.turn();
    assert_eq!(driver.letters().len(), 1);

    driver.send(item("4712/C", 4).data(json!({"base_uom": "SET"})));
    driver.followed(unit("SET", 5));
    driver.restart();
    driver.turn();
    assert!(driver.golden("item/4712/C").is_some(), "it had arrived while nobody looked");
}

#[test]
fn what_was_released_does_not_come_back_with_a_process_that_must_learn_the_schemas_first() {
    let mut driver = Driver::new();
    driver.send(item("4711/C", 3).data(json!({"base_uom": "SET"})));
    driver.send(item("4712/C", 4).data(json!({"base_uom": "BOX"})));
    driver.send(unit("SET", 5));
    driver.turn();
    driver.registry().set_away(true);
    driver.restart_with_other_ids();
    driver.registry().set_away(false);
    driver.turn();
    assert_eq!(driver.waiting(), 1, "4712 waits, 4711 does not any more");
    assert_eq!(driver.held("item/4712/C").len(), 1);
}

#[test]
fn an_aborted_batch_leaves_nothing_behind_and_is_decided_the_same_again() {
    let mut driver = Driver::new();
    driver.send(customer("C-2", 10).data(json!({"parent_customer_id": "C-1"})));
    driver.abort_next();
    driver.send(customer("C-1", 11));
    assert_eq!(driver.golden("customer/C-1"), None);
    driver.send(customer("C-1", 11));
    assert_eq!(driver.golden("customer/C-1").unwrap().meta.revision, 1);
    driver.abort_next();
    driver.turn();
    assert_eq!(driver.golden("customer/C-2"), None);
    driver.turn();
    assert_eq!(driver.golden("customer/C-2").unwrap().meta.revision, 1);
}

#[test]
fn a_quarantined_change_waits_for_a_steward_who_waives_or_rejects_it() {
    let broken = || json!({"gtins": ["4006381333932"]});
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    assert_eq!(driver.send(item("4711/C", 2).data(broken())), Told::Held(Reason::Steward));
    assert_eq!(driver.held("item/4711/C")[0].waits_for, "item office");
    driver.restart();
    driver.command("item/4711/C", Act::Waive, None);
    let golden = driver.golden("item/4711/C").unwrap();
    assert_eq!((golden.meta.findings[0].rule_id.as_str(), golden.meta.findings[0].severity), ("ITM-07", Severity::Warn));

    driver.send(item("4712/C", 3).data(broken()));
    driver.command("item/4712/C", Act::Reject, None);
    assert_eq!(driver.golden("item/4712/C"), None);
    let letter = driver.letters().pop().unwrap();
    assert!(letter.code == "ITM-07" && letter.message.contains("rejected by anna"), "{}", letter.message);
    assert!(driver.held("item/4712/C").is_empty());
}

#[test]
fn an_addition_waits_for_the_main_owners_record_and_both_keep_their_groups() {
    let mut driver = Driver::new();
    let addition = customer("C-1", 7).from("erp").only(json!({"customer_id": "C-1", "bank_accounts": [{"account_id": "1"}]}));
    assert_eq!(driver.send(addition), Told::Held(Reason::Record));
    driver.send(customer("C-1", 1));
    driver.turn();
    let golden = driver.golden("customer/C-1").unwrap();
    let data = serde_json::to_value(golden.data).unwrap();
    assert_eq!((golden.meta.revision, data["bank_accounts"][0]["account_id"].as_str()), (2, Some("1")));
    driver.send(customer("C-1", 2).data(json!({"name": "Renamed"})));
    let data = serde_json::to_value(driver.golden("customer/C-1").unwrap().data).unwrap();
    assert_eq!((data["name"].as_str(), data["bank_accounts"][0]["account_id"].as_str()), (Some("Renamed"), Some("1")));
}

#[test]
fn what_cannot_be_read_is_a_letter_and_the_others_pass() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    let good = driver.record(item("4711/C", 2));
    let mut trailing = driver.record(item("4712/C", 3));
    trailing.value.as_mut().unwrap().push(0);
    let mut magic = driver.record(item("4713/C", 4));
    magic.value.as_mut().unwrap()[0] = 7;
    let mut no_key = driver.record(item("4714/C", 5));
    no_key.key = None;
    let mut no_value = driver.record(item("4715/C", 6));
    no_value.value = None;
    let mut elsewhere = driver.record(item("4716/C", 7));
    elsewhere.partition = 1 - elsewhere.partition;
    let told = driver.step(vec![good, trailing, magic, no_key, no_value, elsewhere]);
    let codes: Vec<_> = told
        .iter()
        .map(|told| match told {
            Told::Refused(letter) => letter.code.as_str(),
            _ => "",
        })
        .collect();
    assert_eq!(codes, ["", "RECORD_UNREADABLE", "RECORD_FRAMING", "RECORD_KEY", "RECORD_EMPTY", "RECORD_KEY"]);
    assert!(driver.letters().iter().all(|letter| letter.class == LetterClass::Schema));
}

fn of_the_erp(sequence: i64, account: &str) -> driver::Draft {
    let data = json!({"customer_id": "C-1", "bank_accounts": [{"account_id": account}]});
    customer("C-1", sequence).from("erp").only(data)
}

#[test]
fn a_change_that_names_another_source_than_its_topics_is_a_letter_and_nothing_of_it_is_applied() {
    let mut driver = Driver::new();
    driver.send(customer("C-1", 1));
    driver.send(of_the_erp(5, "1"));
    // Whoever has the identity of the CRM's publisher, and wants another bank account: newer, older, the same number again.
    for sequence in [9, 4, 5] {
        let forged = driver.record_in("crm", of_the_erp(sequence, "2"));
        let coordinate = format!("{}@{}", forged.partition, forged.offset);
        let Told::Refused(letter) = driver.step(vec![forged]).pop().unwrap() else { panic!("applied") };
        assert_eq!((letter.code.as_str(), letter.class), ("SOURCE_DIFFERS", LetterClass::Schema));
        assert_eq!(letter.id.0, format!("validator/crm/customer/{coordinate}"));
        assert_eq!((letter.source.as_deref(), letter.owner.as_deref()), (Some("crm"), Some("crm")), "who could write there");
        assert!(letter.message.contains("\"erp\""), "{}", letter.message);
    }
    let golden = driver.golden("customer/C-1").unwrap();
    assert_eq!((golden.meta.revision, golden.meta.fence["erp"].sequence), (2, 5));
    // Nor does it stand in the ERP's own way.
    assert_eq!(driver.send(of_the_erp(6, "3")), Told::Accepted);
}

#[test]
fn what_waits_is_not_replaced_by_a_change_that_only_says_it_is_of_the_same_source() {
    let mut driver = Driver::new();
    assert_eq!(driver.send(of_the_erp(5, "1")), Told::Held(Reason::Record));
    for sequence in [9, 4, 5] {
        let forged = driver.record_in("crm", of_the_erp(sequence, "2"));
        assert!(matches!(driver.step(vec![forged]).pop(), Some(Told::Refused(_))));
    }
    assert_eq!(driver.held("customer/C-1")[0].source_sequence, 5);
}

#[test]
fn letters_of_two_sources_about_one_coordinate_are_two_and_neither_takes_the_others_id() {
    let mut driver = Driver::new();
    driver.send(customer("C-1", 1));
    let bad = |source| customer("C-1", 7).from(source).data(json!({"name": "\u{1}"}));
    let of_crm = driver.record(bad("crm"));
    let of_erp = kafka::Record { offset: of_crm.offset, ..driver.record(bad("erp").caused_by("validator/crm/customer/0@1")) };
    driver.step(vec![of_crm, of_erp]);
    let ids: Vec<_> = driver.letters().into_iter().map(|letter| letter.id.0).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(ids[0].starts_with("validator/crm/customer/") && ids[1].starts_with("validator/erp/customer/"), "{ids:?}");
}

#[test]
fn an_unknown_schema_holds_up_its_slot_alone_and_is_never_a_letter_while_the_registry_is_away() {
    let mut driver = Driver::new();
    let mut unknown = driver.record(item("4711/C", 2));
    unknown.value.as_mut().unwrap()[4] = 99;
    let other = (0..).map(|number| driver.record(unit(&format!("U{number}"), 3))).find(|record| record.slot() != unknown.slot());
    driver.registry().set_away(true);
    let waits = driver.prepare(&[unknown.clone(), other.unwrap()]);
    assert_eq!(waits.keys().collect::<Vec<_>>(), [&unknown.slot()]);
    assert_eq!(waits[&unknown.slot()].what, "registry");
    assert!(driver.named_on_readyz().unwrap().starts_with("waits: registry"));
    driver.send(unit("EA", 1));
    assert_eq!(driver.named_on_readyz(), None);
    driver.registry().set_away(false);
    let Told::Refused(letter) = driver.step(vec![unknown]).pop().unwrap() else { panic!("no letter") };
    assert_eq!(letter.code, "SCHEMA_UNKNOWN");
}

#[test]
fn many_unknown_schemas_are_asked_for_at_once() {
    let mut driver = Driver::new();
    let records: Vec<_> = (50..90)
        .map(|id| {
            let mut record = driver.record(item(&format!("{id}/C"), i64::from(id)));
            record.value.as_mut().unwrap()[4] = id;
            record
        })
        .collect();
    let before = driver.registry().asked();
    let waits = driver.prepare(&records);
    assert_eq!(waits.len(), 2, "both slots");
    assert!(driver.registry().asked() - before >= 40, "{} questions", driver.registry().asked() - before);
    let told = driver.step(records);
    assert!(told.iter().all(|told| matches!(told, Told::Refused(letter) if letter.code == "SCHEMA_UNKNOWN")));
}

#[test]
fn a_confirmation_after_a_start_is_a_revision_whatever_the_process_has_read() {
    let mut driver = Driver::new();
    driver.send(customer("C-1", 1));
    driver.restart_with_other_ids();
    assert_eq!(driver.receipt("customer/C-1", 1, ReceiptOutcome::Accepted, Some("100045")), Told::Accepted);
    let golden = driver.golden("customer/C-1").unwrap();
    assert_eq!((golden.meta.revision, golden.meta.confirmations["ledger"].external_id.as_deref()), (2, Some("100045")));
}

#[test]
fn a_tombstone_after_a_start_ends_the_record_whatever_the_process_has_read() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    driver.send(item("4711/C", 2));
    driver.send(item("4711/C", 3).delete());
    driver.restart_with_other_ids();
    driver.command("item/4711/C", Act::Tombstone, Some(2));
    assert_eq!(driver.golden("item/4711/C"), None);
}

#[test]
fn a_steward_after_a_start_finds_what_waits() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    driver.send(item("4711/C", 2).data(json!({"gtins": ["4006381333932"]})));
    driver.restart_with_other_ids();
    driver.command("item/4711/C", Act::Waive, None);
    assert!(driver.golden("item/4711/C").is_some());
}

#[test]
fn references_of_an_older_build_are_there_after_a_start() {
    let mut driver = Driver::new();
    driver.send(customer("C-1", 1));
    driver.send(unit("EA", 2));
    driver.restart_with_other_ids();
    assert_eq!(driver.send(customer("C-2", 3).data(json!({"parent_customer_id": "C-1"}))), Told::Accepted);
    assert_eq!(driver.send(item("4711/C", 4)), Told::Accepted);
}

#[test]
fn a_waiting_change_whose_golden_record_cannot_be_read_is_one_letter() {
    let mut driver = Driver::new();
    driver.send(item("4711/C", 3).data(json!({"base_uom": "SET"})));
    driver.find("golden.item", "item/4711/C", vec![0, 0, 0, 0, 99, 1]);
    driver.restart();
    driver.pass(60);
    for _ in 0..3 {
        driver.turn();
    }
    let codes: Vec<_> = driver.letters().into_iter().map(|letter| letter.code).collect();
    assert_eq!(codes, ["STATE_UNREADABLE"]);
    assert_eq!(driver.waiting(), 0);
}

#[test]
fn a_confirmation_is_a_revision_of_its_own_that_the_owners_next_change_keeps() {
    let mut driver = Driver::new();
    driver.send(customer("C-1", 1));
    assert_eq!(driver.receipt("customer/C-1", 1, ReceiptOutcome::Refused, None), Told::Skipped);
    assert_eq!(driver.receipt_of("mes", "customer/C-1", 1, ReceiptOutcome::Accepted, Some("100044")), Told::Skipped);
    assert_eq!(driver.receipt("customer/C-1", 1, ReceiptOutcome::Accepted, Some("100045")), Told::Accepted);
    assert_eq!(driver.receipt("customer/C-1", 1, ReceiptOutcome::Accepted, Some("100045")), Told::Skipped);
    driver.send(customer("C-1", 2).data(json!({"name": "Renamed"})));
    let golden = driver.golden("customer/C-1").unwrap();
    assert_eq!(golden.meta.revision, 3);
    assert_eq!(golden.meta.confirmations["ledger"].external_id.as_deref(), Some("100045"));
    let data = serde_json::to_value(golden.data).unwrap();
    assert_eq!(data["external_ids"][0]["id"], "100045");
}

#[test]
fn a_replay_that_is_refused_again_is_the_same_letter() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    driver.send(unit("BX", 2));
    let bad = || item("4711/C", 3).data(json!({"uom_conversions": [{"alt_uom": "BX"}]}));
    let Told::Refused(first) = driver.send(bad()) else { panic!("accepted") };
    let Told::Refused(again) = driver.send(bad().caused_by(&first.id.0)) else { panic!("accepted") };
    assert_eq!(again.id, first.id);
    let Told::Refused(other) = driver.send(bad().caused_by("erp/item/0123456789abcdef")) else { panic!("accepted") };
    assert_eq!(other.replaces.unwrap().0, "erp/item/0123456789abcdef");
}

fn top(driver: &Driver, id: &str) -> Option<String> {
    match driver.golden(&format!("customer/{id}")).unwrap().data.unwrap() {
        model::Data::Customer(customer) => customer.ultimate_parent_id,
        _ => panic!("not a customer"),
    }
}

#[test]
fn a_customer_that_moves_takes_all_below_it_along() {
    let mut driver = Driver::new();
    let below = |id: &str, parent: &str, sequence| customer(id, sequence).data(json!({"parent_customer_id": parent}));
    driver.send(customer("A", 1));
    driver.send(customer("B", 2));
    driver.send(below("C", "A", 3));
    driver.send(below("D", "C", 4));
    driver.send(below("E", "D", 5));
    assert_eq!(top(&driver, "E").as_deref(), Some("A"));
    let before = driver.golden("customer/E").unwrap().meta;

    driver.send(below("C", "B", 6));
    (0..4).for_each(|_| driver.turn());
    for id in ["C", "D", "E"] {
        assert_eq!(top(&driver, id).as_deref(), Some("B"), "{id}");
    }
    let after = driver.golden("customer/E").unwrap().meta;
    assert_eq!((after.revision, &after.fence), (2, &before.fence));
    assert_eq!(after.causation_id, Some(before.change_id.to_string()));
    let writes = driver.writes_of("golden", "customer/D");
    (0..4).for_each(|_| driver.turn());
    assert_eq!(driver.writes_of("golden", "customer/D"), writes, "once");
    assert_eq!(driver.send(below("E", "D", 5)), Told::Skipped, "its source's change is still the same one");

    // One below a customer of somebody else's slot, and one that moved while nobody looked.
    driver.followed(below("B", "X", 7));
    (0..4).for_each(|_| driver.turn());
    assert_eq!(top(&driver, "E").as_deref(), Some("X"));
    driver.followed(below("B", "Y", 8));
    driver.restart_with_other_ids();
    (0..6).for_each(|_| driver.turn());
    assert_eq!(top(&driver, "E").as_deref(), Some("Y"));
}

#[test]
fn a_receipt_or_command_that_says_nothing_is_a_letter_of_its_own() {
    let mut driver = Driver::new();
    driver.send(customer("C-1", 1));
    let mut letters = Vec::new();
    for topic in ["receipt.ledger", "command.validator"] {
        let record = driver.raw_record(topic, "customer/C-1", vec![0, 0, 0, 0, 99, 1]);
        let Told::Refused(letter) = driver.step(vec![record]).pop().unwrap() else { panic!("{topic} is passed over") };
        assert_eq!((letter.code.as_str(), letter.key.as_ref().map(model::RecordKey::as_str)), ("SCHEMA_UNKNOWN", Some("C-1")));
        assert!(letter.id.0.starts_with(&format!("validator/{topic}/")), "{}", letter.id);
        letters.push(letter.id);
    }
    assert_eq!(driver.letters().len(), 2);

    driver.find("golden.customer", "customer/C-1", vec![0, 0, 0, 0, 99, 1]);
    driver.restart();
    let Told::Refused(letter) = driver.receipt("customer/C-1", 1, ReceiptOutcome::Accepted, None) else { panic!("passed over") };
    assert_eq!(letter.code, "STATE_UNREADABLE");
}
