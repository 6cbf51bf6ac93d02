//! Whatever a publisher can send, and what others can write into its topic: what is written about it fits into a record. The driver
//! looks at the size of everything that is written.

use model::{LONGEST_KEY, Outgoing, ReceiptOutcome, Severity};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::driver::{Driver, Told, customer, item, unit};

/// What a publisher lets through.
const LARGEST_CHANGE: usize = 900 * 1024;

fn addresses(count: usize) -> Value {
    let one = |number: usize| json!({"address_id": number.to_string(), "country": "DE", "region": "nowhere at all"});
    json!({"addresses": (0..count).map(one).collect::<Vec<_>>()})
}

#[test]
fn thousands_of_warnings_are_counted_and_never_too_large() {
    let mut driver = Driver::new();
    assert_eq!(driver.send(customer("C-1", 1).data(addresses(5_000))), Told::Accepted);
    let findings = driver.golden("customer/C-1").unwrap().meta.findings;
    let last = findings.iter().rfind(|finding| finding.rule_id == "CUS-09").unwrap();
    assert!(last.message.starts_with("and 4,") && last.message.ends_with(" more"), "{}", last.message);
    assert_eq!(last.severity, Severity::Warn);
    assert_eq!(driver.writes_of("finding", "customer/C-1"), 1);
}

#[test]
fn one_cell_that_breaks_a_rule_thousands_of_times_is_one_small_letter() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    let one = |_| json!({"alt_uom": "EA", "numerator": 0, "denominator": 1});
    let conversions: Vec<Value> = (0..5_000).map(one).collect();
    let Told::Refused(letter) = driver.send(item("4711/C", 2).data(json!({"uom_conversions": conversions}))) else {
        panic!("accepted")
    };
    assert_eq!(letter.code, "ITM-02");
    assert!(letter.findings.last().unwrap().message.ends_with(" more"));
    assert_eq!(driver.send(item("4711/D", 3)), Told::Accepted);
}

#[test]
fn two_owners_whose_parts_are_too_large_together_keep_what_was_there_and_get_a_letter() {
    let mut driver = Driver::new();
    let name = "x".repeat(600 * 1024);
    assert_eq!(driver.send(customer("C-1", 1).data(json!({"name": name}))), Told::Accepted);
    let accounts = json!({"customer_id": "C-1", "bank_accounts": [{"account_id": "y".repeat(600 * 1024)}]});
    let Told::Refused(letter) = driver.send(customer("C-1", 7).from("erp").only(accounts)) else { panic!("accepted") };
    assert_eq!((letter.code.as_str(), letter.truncated), ("TOO_LARGE", true));
    assert!(letter.message.contains("at most"), "{}", letter.message);
    assert_eq!(driver.golden("customer/C-1").unwrap().meta.revision, 1);
}

#[test]
fn what_cannot_wait_beside_another_change_is_a_letter_and_the_other_waits_on() {
    let mut driver = Driver::new();
    let accounts = json!({"customer_id": "C-1", "bank_accounts": [{"account_id": "y".repeat(600 * 1024)}]});
    assert!(matches!(driver.send(customer("C-1", 7).from("erp").only(accounts)), Told::Held(_)));
    let child = customer("C-1", 8).data(json!({"parent_customer_id": "C-0", "name": "x".repeat(600 * 1024)}));
    let Told::Refused(letter) = driver.send(child) else { panic!("accepted") };
    assert_eq!(letter.code, "TOO_LARGE");
    assert_eq!(driver.held("customer/C-1").len(), 1);
    assert_eq!(driver.held("customer/C-1")[0].source, "erp");
}

#[test]
fn the_largest_change_can_be_held_released_and_confirmed() {
    let mut driver = Driver::new();
    let largest = json!({"parent_customer_id": "C-0", "name": "x".repeat(LARGEST_CHANGE - 400)});
    assert!(matches!(driver.send(customer("C-1", 1).data(largest)), Told::Held(_)));
    driver.send(customer("C-0", 2));
    driver.turn();
    assert_eq!(driver.golden("customer/C-1").unwrap().meta.revision, 1);
    let told = driver.receipt("customer/C-1", 1, ReceiptOutcome::Accepted, Some(&"9".repeat(256)));
    assert_eq!(told, Told::Accepted);
}

#[test]
fn a_key_that_is_too_long_is_a_letter_under_a_key_that_is_not() {
    let mut driver = Driver::new();
    let mut record = driver.record(item("4711/C", 2));
    record.key = Some(format!("{}/C", "x".repeat(700_000)).into_bytes());
    let Told::Refused(letter) = driver.step(vec![record]).pop().unwrap() else { panic!("accepted") };
    assert_eq!((letter.code.as_str(), letter.key), ("RECORD_KEY", None));
    assert!(letter.message.contains(&format!("at most {LONGEST_KEY}")), "{}", letter.message);
}

#[test]
fn what_was_too_large_all_the_same_is_a_letter_when_it_is_asked_again() {
    let mut driver = Driver::new();
    driver.send(unit("EA", 1));
    let record = driver.record(item("4711/C", 2));
    let large =
        Outgoing { topic: "mdm.golden.item".into(), slot: record.slot(), key: "4711/C".into(), value: None, headers: Vec::new() };
    driver.hand_back(&large, Some(&record));
    let Told::Refused(letter) = driver.step(vec![record]).pop().unwrap() else { panic!("accepted") };
    assert_eq!(letter.code, "TOO_LARGE");

    driver.send(item("4712/C", 3).data(json!({"base_uom": "SET"})));
    driver.hand_back(&Outgoing { key: "item/4712/C".into(), topic: "mdm.held".into(), ..large }, None);
    driver.send(unit("SET", 4));
    driver.turn();
    assert_eq!(driver.letters().last().unwrap().code, "TOO_LARGE");
    assert!(driver.held("item/4712/C").is_empty());
}

/// Texts as hostile as a cell can be.
fn text() -> impl Strategy<Value = String> {
    let sizes = prop_oneof![Just(1_usize), Just(40), Just(2_000), Just(60_000), Just(400_000)];
    (sizes, prop_oneof![Just("x"), Just("ä"), Just("\u{7}"), Just("管"), Just("\\n;")]).prop_map(|(size, unit)| unit.repeat(size))
}

fn many(max: usize) -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), Just(40), Just(max)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_change_yields_records_that_can_be_written(
        name in text(),
        other in text(),
        stranger in prop::option::of(text()),
        cause in prop::option::of(text()),
        addresses in many(2_000),
        contacts in many(2_000),
        accounts in many(1_000),
        parent in prop::option::of(text()),
        is_second in any::<bool>(),
    ) {
        let mut driver = Driver::new();
        driver.send(customer("C-0", 1));
        let list = |count: usize, one: &Value| Value::Array(vec![one.clone(); count]);
        let data = json!({
            "name": name,
            "status": "ACTIVE",
            "parent_customer_id": parent,
            "search_terms": [other],
            "addresses": list(addresses, &json!({"address_id": "1", "country": "??", "region": "x"})),
            "contacts": list(contacts, &json!({"contact_id": "1", "email": "nobody", "phone": "0"})),
            "bank_accounts": list(accounts, &json!({"account_id": "1", "iban": "DE00", "country": "XX"})),
        });
        let mut draft = customer("C-1", 5).data(data);
        if let Some(stranger) = &stranger {
            draft = draft.from(Box::leak(stranger.clone().into_boxed_str()));
        } else if is_second {
            draft = draft.from("erp");
        }
        if let Some(cause) = &cause {
            draft = draft.caused_by(&format!("validator/{cause}"));
        }
        // A stranger's name is what the record says: a topic has none that no landscape would take.
        let record = if stranger.is_some() { driver.record_in("crm", draft) } else { driver.record(draft) };
        // The driver looks at every record that is written.
        driver.step(vec![record]);
        driver.turn();
        driver.pass(3 * 24 * 3600);
        driver.turn();
        driver.restart();
        driver.turn();
    }
}
