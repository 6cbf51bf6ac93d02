//! One table a rule: a record that passes, records that fail with their path and value.

use model::{Domain, Severity};
use policy::{DomainPolicy, RULES, Verdict};
use serde_json::{Value, json};

use crate::world::{World, change, findings, name, now};

/// `(what differs from a good record, path of the finding or "" when it passes, observed)`.
type Vector = (Value, Option<(&'static str, &'static str)>);

fn customer() -> Value {
    json!({
        "customer_id": "C-1", "name": "Mill & Sons", "status": "ACTIVE", "marketing_segment": "A",
        "addresses": [{"address_id": "1", "usage": ["LEGAL"], "country": "DE", "region": "DE-BW"}],
    })
}

fn item() -> Value {
    json!({"item_id": "4711", "revision": "C", "base_uom": "EA"})
}

fn bad(path: &'static str, observed: &'static str) -> Option<(&'static str, &'static str)> {
    Some((path, observed))
}

/// Whether exactly this rule fires, exactly as often as said, and what it does to the record.
fn check(domain: Domain, rule: &str, expected: &str, vectors: &[Vector]) {
    check_over(None, domain, rule, expected, vectors);
}

fn check_over(before: Option<Value>, domain: Domain, rule: &str, expected: &str, vectors: &[Vector]) {
    let mut base = match domain {
        Domain::Customer => customer(),
        Domain::Item => item(),
        Domain::WorkCenter => json!({"plant": "ulm", "work_center_id": "MILL-1"}),
        Domain::Reference => json!({"set": "uom", "code": "XYZ"}),
    };
    let key = crate::world::typed(domain, base.clone()).key().unwrap();
    if let Some(before) = &before {
        merge(&mut base, before);
    }
    let policy = DomainPolicy::new(domain, "owner");
    for (difference, wrong) in vectors {
        let mut world = World::with_units();
        world.put(Domain::Customer, json!({"customer_id": "P-1"}));
        if before.is_some() {
            world.put(domain, base.clone());
        }
        let mut record = base.clone();
        merge(&mut record, difference);
        let verdict = world.judge(&policy, key.as_str(), &change(domain, "owner", 9, Some(record)), false);
        let hits: Vec<_> = findings(&verdict).iter().filter(|finding| finding.rule_id == rule).collect();
        match wrong {
            None => assert!(hits.is_empty(), "{rule} {difference}: {hits:?}"),
            Some((path, observed)) => {
                assert_eq!(hits.len(), 1, "{rule} {difference}: {verdict:?}");
                assert_eq!((hits[0].path.as_str(), hits[0].observed.as_deref().unwrap_or("")), (*path, *observed), "{rule}");
                assert!(!hits[0].message.is_empty());
                assert_eq!(name(&verdict), expected, "{rule} {difference}: {verdict:?}");
            }
        }
    }
    assert!(RULES.iter().any(|row| row.id == rule));
}

fn merge(record: &mut Value, difference: &Value) {
    record.as_object_mut().unwrap().extend(difference.as_object().unwrap().clone());
}

fn tax(kind: &str, country: &str, value: &str) -> Value {
    json!({"tax_ids": [{"type": kind, "country": country, "value": value}]})
}

#[test]
fn numbers_of_the_tax_office() {
    check(
        Domain::Customer,
        "CUS-01",
        "hold",
        &[
            (tax("EU_VAT", "DE", "DE136695976"), None),
            (tax("EU_VAT", "DE", "136695976"), None),
            (tax("EU_VAT", "GR", "EL094259216"), None),
            (tax("EU_VAT", "DE", ""), None),
            (tax("DE_STEUERNUMMER", "DE", "nonsense"), None),
            (tax("EU_VAT", "DE", "DE136695977"), bad("/tax_ids/0/value", "DE136695977")),
            (tax("EU_VAT", "DE", "DE 136695976"), bad("/tax_ids/0/value", "DE 136695976")),
            (tax("EU_VAT", "FR", "DE136695976"), bad("/tax_ids/0/value", "DE136695976")),
            (tax("EU_VAT", "US", "123456789"), bad("/tax_ids/0/country", "US")),
        ],
    );
    check(
        Domain::Customer,
        "CUS-02",
        "hold",
        &[
            (tax("US_EIN", "US", "04-2103594"), None),
            (tax("US_EIN", "US", "042103594"), None),
            (tax("US_EIN", "US", "07-1234567"), bad("/tax_ids/0/value", "07-1234567")),
            (tax("US_EIN", "US", "04210359"), bad("/tax_ids/0/value", "04210359")),
        ],
    );
    check(
        Domain::Customer,
        "CUS-04",
        "accept",
        &[(tax("EU_VAT", "DE", "136695976"), None), (tax("EU_VAT", "AT", "ATU13585627"), bad("/tax_ids/0/country", "AT"))],
    );
}

#[test]
fn countries_regions_currencies() {
    let address = |country: &str, region: Option<&str>| json!({"addresses": [{"address_id": "1", "usage": ["LEGAL"], "country": country, "region": region}]});
    check(
        Domain::Customer,
        "CUS-05",
        "refuse",
        &[
            (address("DE", None), None),
            (address("", None), None),
            (address("UK", None), bad("/addresses/0/country", "UK")),
            (address("de", None), bad("/addresses/0/country", "de")),
            (address("DDR", None), bad("/addresses/0/country", "DDR")),
            (tax("EU_VAT", "GR", ""), None),
            (tax("EU_VAT", "EL", ""), None),
            (tax("US_EIN", "USA", ""), bad("/tax_ids/0/country", "USA")),
        ],
    );
    check(
        Domain::Customer,
        "CUS-09",
        "accept",
        &[
            (address("DE", Some("DE-BW")), None),
            (address("DE", Some("")), None),
            (address("DE", Some("US-TX")), bad("/addresses/0/region", "US-TX")),
            (address("DE", Some("Baden")), bad("/addresses/0/region", "Baden")),
        ],
    );
    let area =
        |currency: &str| json!({"sales_areas": [{"sales_org": "1", "channel": "1", "division": "1", "currency": currency}]});
    check(
        Domain::Customer,
        "CUS-17",
        "refuse",
        &[
            (area("EUR"), None),
            (area(""), None),
            (area("DEM"), bad("/sales_areas/0/currency", "DEM")),
            (area("eur"), bad("/sales_areas/0/currency", "eur")),
        ],
    );
}

#[test]
fn the_account_hierarchy() {
    check(
        Domain::Customer,
        "CUS-10",
        "refuse",
        &[
            (json!({"parent_customer_id": "P-1"}), None),
            (json!({"parent_customer_id": "C-1"}), bad("/parent_customer_id", "C-1")),
        ],
    );
    check(
        Domain::Customer,
        "CUS-11",
        "hold",
        &[
            (json!({"parent_customer_id": "P-1"}), None),
            (json!({"parent_customer_id": ""}), None),
            (json!({"parent_customer_id": "P-2"}), bad("/parent_customer_id", "P-2")),
        ],
    );
    let mut world = World::default();
    world.put(Domain::Customer, json!({"customer_id": "A", "parent_customer_id": "C"}));
    world.put(Domain::Customer, json!({"customer_id": "B", "parent_customer_id": "A"}));
    let policy = DomainPolicy::new(Domain::Customer, "owner");
    let closing = change(Domain::Customer, "owner", 9, Some(json!({"customer_id": "C", "parent_customer_id": "B"})));
    let verdict = world.judge(&policy, "C", &closing, false);
    let message = &findings(&verdict).iter().find(|finding| finding.rule_id == "CUS-10").unwrap().message;
    assert!(message.ends_with("C > B > A > C"), "{message}");
}

#[test]
fn identifiers_with_check_digits() {
    let id = |scheme: &str, value: &str| json!({"identifiers": [{"scheme": scheme, "value": value}]});
    check(
        Domain::Customer,
        "CUS-14",
        "hold",
        &[
            (id("LEI", "5493001KJTIIGC8Y1R12"), None),
            (id("DUNS", "123456789"), None),
            (id("GLN", "4006381333931"), None),
            (id("OTHER", "anything"), None),
            (id("LEI", "5493001KJTIIGC8Y1R13"), bad("/identifiers/0/value", "5493001KJTIIGC8Y1R13")),
            (id("DUNS", "12-345-6789"), bad("/identifiers/0/value", "12-345-6789")),
            (id("GLN", "4006381333932"), bad("/identifiers/0/value", "4006381333932")),
        ],
    );
    let account = |iban: &str, bic: &str| json!({"bank_accounts": [{"account_id": "1", "iban": iban, "bic": bic}]});
    check(
        Domain::Customer,
        "CUS-16",
        "hold",
        &[
            (account("DE89370400440532013000", "DEUTDEFF"), None),
            (account("", ""), None),
            (account("DE88370400440532013000", ""), bad("/bank_accounts/0/iban", "DE88… (22 characters)")),
            (account("", "DEUTXYFF"), bad("/bank_accounts/0/bic", "DEUTXYFF")),
        ],
    );
    check(
        Domain::Item,
        "ITM-07",
        "hold",
        &[
            (json!({"gtins": ["4006381333931", "73513537"]}), None),
            (json!({"gtins": ["4006381333931", "4006381333932"]}), bad("/gtins/1", "4006381333932")),
            (
                json!({"uom_conversions": [{"alt_uom": "BX", "numerator": 5, "denominator": 1, "gtin": "123"}]}),
                bad("/uom_conversions/0/gtin", "123"),
            ),
        ],
    );
    check(
        Domain::Item,
        "ITM-16",
        "hold",
        &[
            (json!({"compliance": {"cas_numbers": ["7732-18-5"], "un_number": "1203"}}), None),
            (json!({"compliance": {"cas_numbers": ["7732-18-4"]}}), bad("/compliance/cas_numbers/0", "7732-18-4")),
            (json!({"compliance": {"un_number": "UN1203"}}), bad("/compliance/un_number", "UN1203")),
        ],
    );
}

#[test]
fn contacts_status_and_marketing() {
    check(
        Domain::Customer,
        "CUS-15",
        "accept",
        &[
            (json!({"contacts": [{"contact_id": "1", "email": "a@b.example", "phone": "+497311234567"}]}), None),
            (json!({"contacts": [{"contact_id": "1", "email": "a b@c.example"}]}), bad("/contacts/0/email", "")),
            (json!({"contacts": [{"contact_id": "1", "phone": "0731 123"}]}), bad("/contacts/0/phone", "")),
        ],
    );
    check(
        Domain::Customer,
        "CUS-18",
        "hold",
        &[
            (json!({}), None),
            (json!({"status": "PROSPECT", "addresses": []}), None),
            (json!({"addresses": []}), bad("/addresses", "")),
            (json!({"addresses": [{"address_id": "1", "usage": ["SHIP_TO"]}]}), bad("/addresses", "")),
        ],
    );
    check(
        Domain::Customer,
        "CUS-19",
        "accept",
        &[
            (json!({}), None),
            (json!({"marketing_segment": null}), bad("/marketing_segment", "")),
            (json!({"marketing_segment": ""}), bad("/marketing_segment", "")),
        ],
    );
}

#[test]
fn units() {
    check(
        Domain::Item,
        "ITM-01",
        "hold",
        &[
            (json!({"base_uom": "KGM"}), None),
            (json!({"base_uom": null}), None),
            (json!({"base_uom": "SET"}), bad("/base_uom", "SET")),
            (json!({"plants": [{"plant": "ulm", "issue_uom": "ST"}]}), bad("/plants/0/issue_uom", "ST")),
            (json!({"costs": [{"type": "STANDARD", "per_uom": "PCE"}]}), bad("/costs/0/per_uom", "PCE")),
            (
                json!({"uom_conversions": [{"alt_uom": "CTN", "numerator": 5, "denominator": 1}]}),
                bad("/uom_conversions/0/alt_uom", "CTN"),
            ),
        ],
    );
    check(
        Domain::Item,
        "ITM-01",
        "refuse",
        &[
            (json!({"base_uom": "OLD"}), bad("/base_uom", "OLD")),
            (
                json!({"uom_conversions": [{"alt_uom": "", "numerator": 5, "denominator": 1}]}),
                bad("/uom_conversions/0/alt_uom", ""),
            ),
        ],
    );
    check(Domain::Item, "ITM-01", "accept", &[(json!({"base_uom": "DEP"}), bad("/base_uom", "DEP"))]);
}

fn conversions(base: &str, list: &[(&str, i64, i64)]) -> Value {
    let list: Vec<_> =
        list.iter().map(|(unit, num, den)| json!({"alt_uom": unit, "numerator": num, "denominator": den})).collect();
    json!({"base_uom": base, "uom_conversions": list})
}

#[test]
fn conversions_are_exact() {
    check(
        Domain::Item,
        "ITM-02",
        "refuse",
        &[
            (conversions("EA", &[("BX", 10, 1)]), None),
            (conversions("EA", &[("BX", 0, 1)]), bad("/uom_conversions/0/numerator", "0")),
            (conversions("EA", &[("BX", 10, -1)]), bad("/uom_conversions/0/denominator", "-1")),
        ],
    );
    check(
        Domain::Item,
        "ITM-03",
        "refuse",
        &[
            (conversions("EA", &[("BX", 10, 1), ("BX", 20, 2)]), None),
            (conversions("EA", &[("EA", 7, 7)]), None),
            // 1 kg = 3 pieces and 1 g = 3/1000 pieces agree; 1/3 is never rounded.
            (conversions("EA", &[("KGM", 3, 1), ("GRM", 3, 1000)]), None),
            (conversions("EA", &[("KGM", 1, 3), ("GRM", 1, 3000)]), None),
            (conversions("EA", &[("BX", 10, 1), ("BX", 10, 3)]), bad("/uom_conversions/1", "10/1 and 10/3")),
            (conversions("EA", &[("EA", 2, 1)]), bad("/uom_conversions/0", "2/1")),
            (conversions("EA", &[("KGM", 2, 1), ("GRM", 1, 400)]), bad("/uom_conversions/1", "1/400")),
            (
                conversions("EA", &[("BX", i64::MAX, 1), ("BX", i64::MAX - 1, 1)]),
                bad("/uom_conversions/1", "9223372036854775807/1 and 9223372036854775806/1"),
            ),
        ],
    );
    check(
        Domain::Item,
        "ITM-04",
        "refuse",
        &[
            (conversions("KGM", &[("GRM", 1, 1000)]), None),
            (conversions("GRM", &[("KGM", 1000, 1), ("TNE", 1_000_000, 1)]), None),
            (conversions("KGM", &[("LBR", 45_359_237, 100_000_000)]), None),
            // The table has ONZ with seven digits; the exact factor must pass, and so must the rounded one.
            (conversions("GRM", &[("ONZ", 28_349_523_125, 1_000_000_000)]), None),
            (conversions("GRM", &[("ONZ", 2_834_952, 100_000)]), None),
            (conversions("MTR", &[("INH", 127, 5000)]), None),
            (conversions("EA", &[("KGM", 17, 1)]), None),
            (conversions("KGM", &[("GRM", 1000, 1)]), bad("/uom_conversions/0", "1000/1")),
            (conversions("KGM", &[("GRM", 1001, 1_000_000)]), bad("/uom_conversions/0", "1001/1000000")),
            (conversions("GRM", &[("ONZ", 2835, 100)]), bad("/uom_conversions/0", "2835/100")),
            (conversions("KGM", &[("LBR", 45_359, 100_000)]), bad("/uom_conversions/0", "45359/100000")),
        ],
    );
    check(
        Domain::Item,
        "ITM-05",
        "hold",
        &[
            (json!({"base_uom": "KGM", "plants": [{"plant": "ulm", "issue_uom": "GRM"}]}), None),
            (json!({"base_uom": "EA", "plants": [{"plant": "ulm", "issue_uom": "GRM"}]}), None),
            (
                json!({"base_uom": "KGM", "uom_conversions": [{"alt_uom": "MTR", "numerator": 2, "denominator": 1}],
            "plants": [{"plant": "ulm", "issue_uom": "MTR"}]}),
                None,
            ),
            (json!({"base_uom": "KGM", "plants": [{"plant": "ulm", "issue_uom": "MTR"}]}), bad("/plants/0/issue_uom", "MTR")),
        ],
    );
}

#[test]
fn dates_weights_trade_and_the_life_of_an_item() {
    check(
        Domain::Item,
        "ITM-09",
        "refuse",
        &[
            (json!({"valid_from": "2026-01-01", "valid_to": "2026-01-02"}), None),
            (json!({"valid_from": "2026-01-01"}), None),
            (json!({"valid_from": "2026-01-01", "valid_to": "2026-01-01"}), bad("/valid_to", "2026-01-01")),
            (
                json!({"costs": [{"type": "STANDARD", "valid_from": "2026-02-01", "valid_to": "2026-01-01"}]}),
                bad("/costs/0/valid_to", "2026-01-01"),
            ),
        ],
    );
    let weights = |net: (&str, &str), gross: (&str, &str)| json!({"net_weight": {"value": net.0, "uom": net.1}, "gross_weight": {"value": gross.0, "uom": gross.1}});
    check(
        Domain::Item,
        "ITM-13",
        "hold",
        &[
            (weights(("1", "KGM"), ("1", "KGM")), None),
            (weights(("900", "GRM"), ("1", "KGM")), None),
            (weights(("5", "EA"), ("1", "KGM")), None),
            (weights(("1.1", "KGM"), ("1", "KGM")), bad("/net_weight/value", "1.1")),
            (weights(("1001", "GRM"), ("1", "KGM")), bad("/net_weight/value", "1001")),
            (json!({"net_weight": {"value": "0", "uom": "KGM"}}), bad("/net_weight/value", "0")),
            (json!({"gross_weight": {"value": "-1", "uom": "KGM"}}), bad("/gross_weight/value", "-1")),
        ],
    );
    let trade = |origin: &str, code: &str, export: bool| json!({"compliance": {"country_of_origin": origin, "commodity_code": code, "export_relevant": export}});
    check(
        Domain::Item,
        "ITM-15",
        "hold",
        &[
            (trade("DE", "8413 70 21", true), None),
            (json!({"compliance": {}}), None),
            (trade("XX", "84137021", false), bad("/compliance/country_of_origin", "XX")),
            (trade("DE", "pump", false), bad("/compliance/commodity_code", "pump")),
            (
                json!({"compliance": {"commodity_code": "84137021", "export_relevant": true}}),
                bad("/compliance/country_of_origin", ""),
            ),
        ],
    );
    for (from, steps) in [
        ("DESIGN", [("RELEASED", true), ("OBSOLETE", true), ("DESIGN", true)]),
        ("RELEASED", [("PHASE_OUT", true), ("PROTOTYPE", false), ("DESIGN", false)]),
        ("PHASE_OUT", [("RELEASED", true), ("OBSOLETE", true), ("PROTOTYPE", false)]),
        ("OBSOLETE", [("OBSOLETE", true), ("RELEASED", false), ("PHASE_OUT", false)]),
    ] {
        for (to, is_legal) in steps {
            let wrong = (!is_legal).then_some(("/lifecycle", to));
            check_over(Some(json!({"lifecycle": from})), Domain::Item, "ITM-12", "refuse", &[(json!({"lifecycle": to}), wrong)]);
        }
    }
}

#[test]
fn editions_never_go_back() {
    check_over(
        Some(json!({"edition": "rec20-rev17"})),
        Domain::Reference,
        "REF-01",
        "refuse",
        &[
            (json!({"edition": "rec20-rev17"}), None),
            (json!({"edition": "rec20-rev18"}), None),
            (json!({"edition": null}), None),
            (json!({"edition": "rec20-rev9"}), bad("/edition", "rec20-rev9")),
        ],
    );
}

#[test]
fn texts_are_free_of_control_characters() {
    for domain in Domain::ALL {
        let field = if domain == Domain::Item { "drawing_number" } else { "name" };
        if domain == Domain::Reference {
            continue;
        }
        let path = if domain == Domain::Item { "/drawing_number" } else { "/name" };
        check(
            domain,
            "ENV-11",
            "refuse",
            &[
                (json!({field: "Mühle, Größe 3 – ½″"}), None),
                (json!({field: "two\nlines"}), bad(path, "two\\nlines")),
                (json!({field: "nul\u{0}"}), bad(path, "nul\\0")),
            ],
        );
    }
    check(
        Domain::Item,
        "ENV-11",
        "refuse",
        &[(json!({"attributes": {"co/lour": "re\td"}}), bad("/attributes/co~1lour", "re\\td"))],
    );
}

#[test]
fn mandatory_fields_are_asked_of_the_merged_record() {
    let mut policy = DomainPolicy::new(Domain::Item, "owner");
    policy.mandatory = ["/base_uom", "/lifecycle", "/descriptions", "/plants/*/storage_location"]
        .iter()
        .map(|pointer| pointer.parse().unwrap())
        .collect();
    let world = World::with_units();
    let full = json!({"item_id": "1", "revision": "A", "base_uom": "EA", "lifecycle": "DESIGN", "descriptions": [{"lang": "en", "text": "x"}]});
    assert_eq!(name(&world.judge(&policy, "1/A", &change(Domain::Item, "owner", 1, Some(full.clone())), false)), "accept");
    for (field, value, path) in [
        ("base_uom", json!(null), "/base_uom"),
        ("base_uom", json!(""), "/base_uom"),
        ("lifecycle", json!("UNKNOWN"), "/lifecycle"),
        ("descriptions", json!([]), "/descriptions"),
        ("plants", json!([{"plant": "ulm", "storage_location": "A1"}, {"plant": "pune"}]), "/plants/1/storage_location"),
    ] {
        let mut record = full.clone();
        record[field] = value;
        let verdict = world.judge(&policy, "1/A", &change(Domain::Item, "owner", 1, Some(record)), false);
        let rows = crate::world::rows(&verdict, Severity::Block);
        assert_eq!(rows, [("ENV-01", path, "")]);
        assert!(matches!(verdict, Verdict::Refuse { .. }));
    }
}

#[test]
fn what_the_change_says_about_itself() {
    let policy = DomainPolicy::new(Domain::Item, "owner");
    let world = World::with_units();
    let mut cases = Vec::new();
    let mut case = |rule: &'static str, expected: &'static str, alter: &dyn Fn(&mut model::Change)| {
        let mut change = change(Domain::Item, "owner", 1, Some(item()));
        alter(&mut change);
        cases.push((rule, expected, change));
    };
    use model::ApprovalState::Approved;
    case("", "accept", &|_| {});
    case("ENV-07", "hold", &|change| {
        change.meta.author = Some("anna".into());
        change.meta.approval = crate::world::approval(Approved, Some("anna"));
    });
    case("", "accept", &|change| {
        change.meta.author = Some("anna".into());
        change.meta.approval = crate::world::approval(Approved, Some("berta"));
    });
    case("ENV-07", "hold", &|change| {
        change.meta.approval = crate::world::approval(Approved, Some("berta"));
        change.meta.approval.as_mut().unwrap().at = Some(now().plus(std::time::Duration::from_secs(301)));
    });
    case("ENV-08", "refuse", &|change| change.meta.origin = vec!["crm".into(), "owner".into()]);
    case("", "accept", &|change| change.meta.origin = vec!["crm".into()]);
    case("ENV-09", "accept", &|change| change.meta.occurred_at = now().plus(std::time::Duration::from_secs(301)));
    case("ENV-09", "accept", &|change| change.meta.occurred_at = "2026-08-01T00:00:00Z".parse().unwrap());
    case("", "accept", &|change| {
        change.meta.occurred_at = "2020-08-01T00:00:00Z".parse().unwrap();
        change.meta.operation = model::Operation::Snapshot;
    });
    case("ENV-10", "hold", &|change| {
        let model::Data::Item(item) = change.data.as_mut().unwrap() else { panic!("an item") };
        item.revision = "D".into();
    });
    for (rule, expected, change) in cases {
        let verdict = world.judge(&policy, "4711/C", &change, false);
        assert_eq!(name(&verdict), expected, "{rule} {verdict:?}");
        let fired: Vec<_> = findings(&verdict).iter().map(|finding| finding.rule_id.as_str()).collect();
        assert_eq!(fired, if rule.is_empty() { vec![] } else { vec![rule] });
    }
}

#[test]
fn a_very_long_value_is_shortened_before_it_is_shown() {
    let world = World::with_units();
    let policy = DomainPolicy::new(Domain::Item, "owner");
    let mut record = item();
    record["drawing_number"] = json!(format!("\u{1}{}", "x".repeat(2_000_000)));
    let verdict = world.judge(&policy, "4711/C", &change(Domain::Item, "owner", 1, Some(record)), false);
    let observed = findings(&verdict)[0].observed.clone().unwrap();
    assert!(observed.chars().count() <= 201, "{}", observed.len());
}
