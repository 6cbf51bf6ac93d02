//! Fences, ownership, approval, severities, holds, deletes, revisions.

use std::time::Duration;

use model::{ApprovalState, Domain, Fence, Grave, LetterClass, Reason, RecordKey, Severity};
use policy::{ApprovalDemand, DomainPolicy, Group, RuleSetting, Verdict, confirm};
use serde_json::{Value, json};

use crate::world::{VERSION, World, approval, change, findings, name, now, rows};

fn policy(domain: Domain) -> DomainPolicy {
    DomainPolicy::new(domain, "owner")
}

/// CRM owns a customer but for its bank accounts and credit limit.
fn shared_customer() -> DomainPolicy {
    let mut policy = DomainPolicy::new(Domain::Customer, "crm");
    policy.office = Some("sales master data".to_owned());
    policy.groups = vec![Group {
        owner: "erp".to_owned(),
        fields: ["/bank_accounts", "/credit_limit"].iter().map(|field| field.parse().unwrap()).collect(),
    }];
    policy
}

fn customer(more: Value) -> Value {
    let mut record = json!({"customer_id": "C-1", "marketing_segment": "A"});
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    record
}

fn item(more: Value) -> Value {
    let mut record = json!({"item_id": "1", "revision": "A"});
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    record
}

fn data(world: &World, domain: Domain, key: &str) -> Value {
    let golden = &world.golden[&(domain, RecordKey::parse(domain, key).unwrap())];
    serde_json::to_value(&golden.data).unwrap()
}

#[test]
fn the_fence_compares_epoch_first_and_tells_a_repeat_from_other_content() {
    let (mut world, policy) = (World::default(), policy(Domain::Item));
    let first = change(Domain::Item, "owner", 10, Some(item(json!({"drawing_number": "1"}))));
    assert_eq!(name(&world.feed(&policy, "1/A", &first)), "accept");
    assert_eq!(name(&world.feed(&policy, "1/A", &first)), "duplicate");
    let mut same_content = first.clone();
    same_content.meta.change_id = model::ChangeId::default();
    assert_eq!(name(&world.feed(&policy, "1/A", &same_content)), "duplicate");
    let mut other_content = change(Domain::Item, "owner", 10, Some(item(json!({"drawing_number": "2"}))));
    other_content.meta.change_id = model::ChangeId::default();
    let verdict = world.feed(&policy, "1/A", &other_content);
    assert!(matches!(verdict, Verdict::Hold { reason: Reason::Steward, .. }), "{verdict:?}");
    assert_eq!(rows(&verdict, Severity::Quarantine), [("ENV-05", "", "1.10")]);
    let older = change(Domain::Item, "owner", 9, Some(item(json!({}))));
    assert_eq!(rows(&world.feed(&policy, "1/A", &older), Severity::Info), [("ENV-04", "", "1.9")]);
    let mut restored = change(Domain::Item, "owner", 1, Some(item(json!({}))));
    restored.meta.source_epoch = 2;
    assert_eq!(name(&world.feed(&policy, "1/A", &restored)), "accept");
    assert_eq!(name(&world.feed(&policy, "1/A", &change(Domain::Item, "owner", 11, Some(item(json!({})))))), "stale");
}

#[test]
fn a_change_that_alters_nothing_moves_the_fence() {
    let (mut world, policy) = (World::default(), policy(Domain::Item));
    world.feed(&policy, "1/A", &change(Domain::Item, "owner", 1, Some(item(json!({})))));
    let Verdict::Accept { golden, .. } = world.feed(&policy, "1/A", &change(Domain::Item, "owner", 2, Some(item(json!({})))))
    else {
        panic!("not accepted")
    };
    assert_eq!((golden.meta.revision, golden.meta.fence["owner"]), (2, Fence { epoch: 1, sequence: 2 }));
}

#[test]
fn a_source_that_owns_nothing_is_refused_whatever_the_landscape_lowers() {
    let world = World::default();
    let mut policy = policy(Domain::Item);
    policy.rules.insert("ENV-02".into(), RuleSetting { severity: Some(Severity::Warn), ..RuleSetting::default() });
    let verdict = world.judge(&policy, "1/A", &change(Domain::Item, "stranger", 1, Some(item(json!({})))), false);
    assert!(matches!(verdict, Verdict::Refuse { class: LetterClass::Data, .. }), "{verdict:?}");
}

#[test]
fn owners_write_their_own_groups_and_keep_those_of_others() {
    let (mut world, policy) = (World::default(), shared_customer());
    let account = json!({"bank_accounts": [{"account_id": "1"}]});
    let early = change(Domain::Customer, "erp", 1, Some(json!({"customer_id": "C-1", "bank_accounts": [{"account_id": "1"}]})));
    let Verdict::Hold { reason: Reason::Record, waits_for, hold_for, .. } = world.feed(&policy, "C-1", &early) else {
        panic!("the main owner's record is missing")
    };
    assert_eq!((waits_for.as_str(), hold_for), ("customer/C-1", Some(Duration::from_secs(48 * 3600))));
    world.feed(&policy, "C-1", &change(Domain::Customer, "crm", 1, Some(customer(json!({"name": "One"})))));
    assert_eq!(name(&world.feed(&policy, "C-1", &early)), "accept");
    assert_eq!(name(&world.feed(&policy, "C-1", &early)), "duplicate");
    world.feed(&policy, "C-1", &change(Domain::Customer, "crm", 2, Some(customer(json!({"name": "Two"})))));
    let record = data(&world, Domain::Customer, "C-1");
    assert_eq!((record["name"].as_str(), record["bank_accounts"][0]["account_id"].as_str()), (Some("Two"), Some("1")));

    let trespass = change(Domain::Customer, "crm", 3, Some(customer(account)));
    assert_eq!(rows(&world.feed(&policy, "C-1", &trespass), Severity::Block), [("ENV-02", "/bank_accounts/0/account_id", "1")]);
    let trespass = change(Domain::Customer, "erp", 2, Some(json!({"customer_id": "C-1", "name": "Three"})));
    assert_eq!(rows(&world.feed(&policy, "C-1", &trespass), Severity::Block), [("ENV-02", "/name", "Three")]);

    world.feed(&policy, "C-1", &change(Domain::Customer, "erp", 3, None));
    let record = data(&world, Domain::Customer, "C-1");
    assert_eq!((record["name"].as_str(), record["bank_accounts"].as_array().unwrap().len()), (Some("Two"), 0));
}

#[test]
fn groups_below_a_star_merge_by_the_identity_of_the_element() {
    let mut world = World::default();
    let mut policy = policy(Domain::Item);
    policy.groups = vec![Group { owner: "wms".to_owned(), fields: vec!["/plants/*/storage_location".parse().unwrap()] }];
    let main = |plants: Value, sequence| change(Domain::Item, "owner", sequence, Some(item(json!({ "plants": plants }))));
    world.feed(&policy, "1/A", &main(json!([{"plant": "ulm", "status": "x"}, {"plant": "pune"}]), 1));
    let addition =
        item(json!({"plants": [{"plant": "pune", "storage_location": "P1"}, {"plant": "oslo", "storage_location": "O1"}]}));
    let verdict = world.feed(&policy, "1/A", &change(Domain::Item, "wms", 1, Some(addition)));
    assert_eq!(name(&verdict), "accept");
    assert_eq!(rows(&verdict, Severity::Warn), [("ENV-02", "/plants/1", "")], "the main owner lists no oslo");
    // Another order of the list, one element gone, one new.
    world.feed(&policy, "1/A", &main(json!([{"plant": "pune", "status": "y"}, {"plant": "bern"}]), 2));
    let plants = data(&world, Domain::Item, "1/A")["plants"].clone();
    assert_eq!((plants[0]["plant"].as_str(), plants[0]["storage_location"].as_str()), (Some("pune"), Some("P1")));
    assert_eq!((plants[0]["status"].as_str(), plants[1]["storage_location"].as_str()), (Some("y"), None));
}

#[test]
fn one_owners_old_data_never_blocks_another_owners_change() {
    let (mut world, mut policy) = (World::default(), shared_customer());
    policy.rules.insert("CUS-16".into(), RuleSetting { severity: Some(Severity::Block), raise: true, ..RuleSetting::default() });
    world.feed(&policy, "C-1", &change(Domain::Customer, "crm", 1, Some(customer(json!({})))));
    let broken = json!({"customer_id": "C-1", "bank_accounts": [{"account_id": "1", "iban": "DE00"}]});
    let lenient = shared_customer();
    let old = change(Domain::Customer, "erp", 1, Some(broken.clone()));
    assert!(matches!(world.judge(&lenient, "C-1", &old, true), Verdict::Accept { .. }));
    world.feed(
        &{
            let mut p = lenient;
            p.rules.insert("CUS-16".into(), RuleSetting { severity: Some(Severity::Warn), ..RuleSetting::default() });
            p
        },
        "C-1",
        &old,
    );

    // CRM's change carries ERP's old finding along as a warning; ERP's own change with the same content is refused.
    let verdict = world.feed(&policy, "C-1", &change(Domain::Customer, "crm", 2, Some(customer(json!({"name": "New"})))));
    assert_eq!(name(&verdict), "accept");
    assert_eq!(findings(&verdict)[0].severity, Severity::Warn);
    assert_eq!(name(&world.feed(&policy, "C-1", &change(Domain::Customer, "erp", 2, Some(broken)))), "refuse");
}

#[test]
fn approval_waits_passes_or_refuses() {
    let world = World::default();
    let mut policy = policy(Domain::Item);
    policy.approval = ApprovalDemand::Required;
    for (state, expected) in [
        (Some(ApprovalState::Approved), "accept"),
        (Some(ApprovalState::Draft), "hold"),
        (Some(ApprovalState::Pending), "hold"),
        (None, "hold"),
        (Some(ApprovalState::Rejected), "refuse"),
        (Some(ApprovalState::Retired), "refuse"),
    ] {
        let mut change = change(Domain::Item, "owner", 1, Some(item(json!({}))));
        change.meta.approval = state.and_then(|state| approval(state, None));
        let verdict = world.judge(&policy, "1/A", &change, false);
        assert_eq!(name(&verdict), expected, "{state:?}");
        if let Verdict::Hold { reason, hold_for, findings, .. } = verdict {
            assert_eq!((reason, hold_for, findings[0].rule_id.as_str()), (Reason::Approval, None, "ENV-06"));
        }
    }
    assert_eq!(name(&world.judge(&policy, "1/A", &change(Domain::Item, "owner", 1, None), false)), "accept");
    policy.rules.insert("ENV-06".into(), RuleSetting { severity: Some(Severity::Warn), ..RuleSetting::default() });
    let mut draft = change(Domain::Item, "owner", 1, Some(item(json!({}))));
    draft.meta.approval = approval(ApprovalState::Draft, None);
    let Verdict::Accept { golden, .. } = world.judge(&policy, "1/A", &draft, false) else { panic!("lowered") };
    assert_eq!(golden.meta.approval.unwrap().state, ApprovalState::Draft, "the sinks' gate decides");
}

#[test]
fn block_beats_hold_and_hold_beats_quarantine() {
    let (world, policy) = (World::with_units(), policy(Domain::Item));
    let judge = |more: Value| world.judge(&policy, "1/A", &change(Domain::Item, "owner", 1, Some(item(more))), false);
    let quarantined = json!({"base_uom": "EA", "gtins": ["1"]});
    assert!(matches!(judge(quarantined), Verdict::Hold { reason: Reason::Steward, hold_for: None, .. }));
    let held = judge(json!({"base_uom": "SET", "gtins": ["1"]}));
    assert!(matches!(held, Verdict::Hold { reason: Reason::Record, .. }));
    assert_eq!(findings(&held)[0].rule_id, "ITM-01", "a letter is titled by what it waited for");
    let blocked = judge(json!({"base_uom": "SET", "gtins": ["1"], "uom_conversions": [{"alt_uom": "EA"}]}));
    assert_eq!(name(&blocked), "refuse");
    assert_eq!(findings(&blocked)[0].severity, Severity::Block);
}

#[test]
fn a_waiver_lets_quarantined_changes_pass_and_nothing_else() {
    let (world, policy) = (World::with_units(), policy(Domain::Item));
    let judge = |more: Value| world.judge(&policy, "1/A", &change(Domain::Item, "owner", 1, Some(item(more))), true);
    let Verdict::Accept { golden, .. } = judge(json!({"base_uom": "EA", "gtins": ["1"]})) else { panic!("waived") };
    assert_eq!((golden.meta.findings[0].rule_id.as_str(), golden.meta.findings[0].severity), ("ITM-07", Severity::Warn));
    assert_eq!(name(&judge(json!({"base_uom": "SET"}))), "hold");
    assert_eq!(name(&judge(json!({"base_uom": "EA", "uom_conversions": [{"alt_uom": "EA"}]}))), "refuse");
}

#[test]
fn severities_are_lowered_for_a_while_and_never_raised_silently() {
    let world = World::with_units();
    let mut policy = policy(Domain::Item);
    let bad = change(Domain::Item, "owner", 1, Some(item(json!({"uom_conversions": [{"alt_uom": "EA"}]}))));
    let setting = |severity, until: Option<&str>, raise| RuleSetting {
        severity: Some(severity),
        until: until.map(|date| date.parse().unwrap()),
        raise,
        hold: None,
    };
    for (set, expected) in [
        (setting(Severity::Warn, None, false), "accept"),
        (setting(Severity::Quarantine, None, false), "hold"),
        (setting(Severity::Warn, Some("2026-11-26"), false), "accept"),
        (setting(Severity::Warn, Some("2026-11-25"), false), "refuse"),
    ] {
        policy.rules.insert("ITM-02".into(), set);
        assert_eq!(name(&world.judge(&policy, "1/A", &bad, false)), expected);
    }
    policy.rules.clear();
    let gtin = change(Domain::Item, "owner", 1, Some(item(json!({"gtins": ["1"]}))));
    policy.rules.insert("ITM-07".into(), setting(Severity::Block, None, false));
    assert_eq!(name(&world.judge(&policy, "1/A", &gtin, false)), "hold");
    policy.rules.insert("ITM-07".into(), setting(Severity::Block, None, true));
    assert_eq!(name(&world.judge(&policy, "1/A", &gtin, false)), "refuse");

    let checked = |id: &str, set: RuleSetting| policy.check_setting(id, &set);
    assert!(checked("ITM-07", setting(Severity::Warn, None, false)).is_ok());
    assert!(checked("ITM-07", setting(Severity::Block, None, false)).unwrap_err().contains("raise: true"));
    assert!(checked("CUS-19", setting(Severity::Warn, None, false)).unwrap_err().contains("does not judge"));
    assert!(checked("ITM-99", setting(Severity::Warn, None, false)).unwrap_err().contains("not a rule"));
    assert!(checked("ITM-02", RuleSetting { hold: Some(Duration::from_secs(1)), ..RuleSetting::default() }).is_err());
}

#[test]
fn a_missing_marketing_segment_never_blocks_whatever_a_landscape_says() {
    let world = World::default();
    let mut policy = policy(Domain::Customer);
    policy.rules.insert("CUS-19".into(), RuleSetting { severity: Some(Severity::Block), raise: true, ..RuleSetting::default() });
    let verdict = world.judge(&policy, "C-1", &change(Domain::Customer, "owner", 1, Some(json!({"customer_id": "C-1"}))), false);
    assert_eq!(name(&verdict), "accept");
    assert_eq!(rows(&verdict, Severity::Warn), [("CUS-19", "/marketing_segment", "")]);
    assert!(policy.check_setting("CUS-19", &policy.rules["CUS-19"]).unwrap_err().contains("heavier than warn"));
}

#[test]
fn a_hold_of_zero_does_not_wait() {
    let world = World::with_units();
    let mut policy = policy(Domain::Item);
    let unknown = change(Domain::Item, "owner", 1, Some(item(json!({"base_uom": "SET"}))));
    let Verdict::Hold { hold_for, waits_for, .. } = world.judge(&policy, "1/A", &unknown, false) else { panic!("held") };
    assert_eq!((hold_for, waits_for.as_str()), (Some(Duration::from_secs(10)), "reference/uom/SET"));
    policy.rules.insert("ITM-01".into(), RuleSetting { hold: Some(Duration::ZERO), ..RuleSetting::default() });
    assert_eq!(name(&world.judge(&policy, "1/A", &unknown, false)), "refuse");
    // Where nobody keeps units, nobody can know which are right.
    assert_eq!(name(&World::default().judge(&policy, "1/A", &unknown, false)), "accept");
}

#[test]
fn revisions_rise_over_deletes_and_graves() {
    let (mut world, policy) = (World::default(), policy(Domain::Item));
    let key = RecordKey::parse(Domain::Item, "1/A").unwrap();
    world.feed(&policy, "1/A", &change(Domain::Item, "owner", 1, Some(item(json!({"valid_from": "2026-01-01"})))));
    let Verdict::Accept { golden, .. } = world.feed(&policy, "1/A", &change(Domain::Item, "owner", 2, None)) else {
        panic!("deleted")
    };
    assert_eq!((golden.meta.revision, golden.data.is_none(), golden.meta.valid_from), (2, true, None));
    assert_eq!(name(&world.feed(&policy, "1/A", &change(Domain::Item, "owner", 2, None))), "duplicate");
    let grave = Grave { revision: 2, fence: golden.meta.fence.clone() };
    let again = change(Domain::Item, "owner", 3, Some(item(json!({}))));
    let Verdict::Accept { golden, .. } = world.judge_over(&policy, &key, &again, None, Some(&grave), false) else {
        panic!("again")
    };
    assert_eq!(golden.meta.revision, 3);
    let late = change(Domain::Item, "owner", 1, Some(item(json!({}))));
    assert_eq!(name(&world.judge_over(&policy, &key, &late, None, Some(&grave), false)), "stale");
}

#[test]
fn the_top_of_the_hierarchy_is_computed_not_believed() {
    let (mut world, policy) = (World::default(), policy(Domain::Customer));
    world.put(Domain::Customer, json!({"customer_id": "TOP"}));
    world.put(Domain::Customer, json!({"customer_id": "MID", "parent_customer_id": "TOP"}));
    for (parent, top) in [(Some("MID"), Some("TOP")), (Some("TOP"), Some("TOP")), (None, None)] {
        let sent = customer(json!({"parent_customer_id": parent, "ultimate_parent_id": "LIE"}));
        let Verdict::Accept { golden, .. } =
            world.judge(&policy, "C-1", &change(Domain::Customer, "owner", 1, Some(sent)), false)
        else {
            panic!("accepted")
        };
        assert_eq!(serde_json::to_value(golden.data).unwrap()["ultimate_parent_id"].as_str(), top);
    }
}

#[test]
fn a_confirmation_is_a_revision_once() {
    let (mut world, policy) = (World::default(), policy(Domain::Item));
    world.feed(&policy, "1/A", &change(Domain::Item, "owner", 1, Some(item(json!({})))));
    let golden = world.golden.values().next().unwrap().clone();
    let said = |id: Option<&str>| model::Confirmation { at: now(), external_id: id.map(str::to_owned) };
    let confirmed = confirm(&golden, "erp", said(Some("7")), model::ChangeId::default(), VERSION, now()).unwrap();
    assert_eq!((confirmed.meta.revision, confirmed.meta.causation_id), (2, Some(golden.meta.change_id.to_string())));
    let confirmed = confirm(&golden, "erp", said(Some("7")), model::ChangeId::default(), VERSION, now()).unwrap();
    assert!(confirm(&confirmed, "erp", said(Some("7")), model::ChangeId::default(), VERSION, now()).is_none());
    assert!(confirm(&confirmed, "erp", said(None), model::ChangeId::default(), VERSION, now()).is_none());
}
