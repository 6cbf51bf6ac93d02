//! What must hold for any order, any repetition, any mix of owners. The seed of a failure is printed by proptest.

use model::{Change, Data, Domain, RecordKey};
use policy::{DomainPolicy, Group, Verdict};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{World, change};

/// CRM owns a customer but for `/legal_form` (erp) and `/search_terms` (mes).
fn policy() -> DomainPolicy {
    let mut policy = DomainPolicy::new(Domain::Customer, "crm");
    let group = |owner: &str, field: &str| Group { owner: owner.to_owned(), fields: vec![field.parse().unwrap()] };
    policy.groups = vec![group("erp", "/legal_form"), group("mes", "/search_terms")];
    policy
}

/// The `sequence`-th full state of a source.
fn state(source: usize, sequence: i64) -> Change {
    let data = match source {
        0 => json!({"customer_id": "C", "name": format!("name {sequence}")}),
        1 => json!({"customer_id": "C", "legal_form": format!("form {sequence}")}),
        _ => json!({"customer_id": "C", "search_terms": [format!("term {sequence}")]}),
    };
    change(Domain::Customer, ["crm", "erp", "mes"][source], sequence, Some(data))
}

fn result(world: &World) -> Option<Data> {
    world.golden.get(&(Domain::Customer, RecordKey::parse(Domain::Customer, "C").unwrap())).and_then(|golden| golden.data.clone())
}

fn feed(world: &mut World, changes: &[(usize, i64)]) {
    for (source, sequence) in changes {
        world.feed(&policy(), "C", &state(*source, *sequence));
    }
}

proptest! {
    #[test]
    fn fences_lead_any_order_and_repetition_to_the_same_golden(
        last in prop::array::uniform3(1_i64..6),
        noise in prop::collection::vec((0_usize..3, 1_i64..6), 0..40),
    ) {
        // Whatever came before, in whatever order: once each source's newest state was seen (the main owner's first), it stands.
        let mut world = World::default();
        let noise: Vec<_> = noise.into_iter().filter(|(source, sequence)| *sequence <= last[*source]).collect();
        feed(&mut world, &noise);
        feed(&mut world, &[(0, last[0]), (1, last[1]), (2, last[2])]);
        let mut straight = World::default();
        feed(&mut straight, &[(0, last[0]), (1, last[1]), (2, last[2])]);
        prop_assert_eq!(result(&world), result(&straight));
        // And a replay of everything changes nothing, not even the revision.
        let before = world.golden.clone();
        feed(&mut world, &noise);
        prop_assert_eq!(before, world.golden);
    }

    #[test]
    fn merge_commutes_between_owners(one in 1_i64..9, other in 1_i64..9, third in 1_i64..9) {
        let orders = [[1, 2], [2, 1]];
        let results: Vec<_> = orders
            .iter()
            .map(|order| {
                let mut world = World::default();
                feed(&mut world, &[(0, one)]);
                for source in order {
                    feed(&mut world, &[(*source, if *source == 1 { other } else { third })]);
                }
                result(&world)
            })
            .collect();
        prop_assert_eq!(&results[0], &results[1]);
    }

    #[test]
    fn a_change_of_one_owner_never_touches_the_group_of_another(
        steps in prop::collection::vec((0_usize..3, any::<bool>()), 1..40),
    ) {
        let mut world = World::default();
        feed(&mut world, &[(0, 1)]);
        for (sequence, (source, is_delete)) in (2..).zip(steps) {
            let before = result(&world);
            let mut step = state(source, sequence);
            // Another owner's delete empties its groups.
            if is_delete && source != 0 {
                step.data = None;
            }
            let verdict = world.feed(&policy(), "C", &step);
            prop_assert!(matches!(verdict, Verdict::Accept { .. }), "{:?}", verdict);
            let (Some(Data::Customer(before)), Some(Data::Customer(after))) = (before, result(&world)) else { panic!("a customer") };
            prop_assert!(source == 0 || before.name == after.name);
            prop_assert!(source == 1 || before.legal_form == after.legal_form);
            prop_assert!(source == 2 || before.search_terms == after.search_terms);
        }
    }

    #[test]
    fn revisions_rise_by_one_and_only_with_an_accepted_change(
        steps in prop::collection::vec((0_usize..3, 1_i64..6, any::<bool>()), 1..60),
    ) {
        let mut world = World::default();
        let mut revision = 0;
        for (source, sequence, is_delete) in steps {
            let mut step = state(source, sequence);
            if is_delete {
                step.data = None;
            }
            let verdict = world.feed(&policy(), "C", &step);
            if let Verdict::Accept { golden, .. } = verdict {
                prop_assert_eq!(golden.meta.revision, revision + 1);
                revision += 1;
            }
        }
    }

    #[test]
    fn no_text_makes_a_rule_panic(text in any::<String>()) {
        let world = World::with_units();
        let customer = json!({
            "customer_id": "C", "parent_customer_id": text, "marketing_segment": text,
            "tax_ids": [{"type": "EU_VAT", "country": "FR", "value": text}, {"type": "US_EIN", "country": text, "value": text}],
            "identifiers": [{"scheme": "LEI", "value": text}, {"scheme": "DUNS", "value": text}],
            "addresses": [{"address_id": text, "country": text, "region": text, "gln": text}],
            "contacts": [{"contact_id": text, "email": text, "phone": text}],
            "bank_accounts": [{"account_id": text, "iban": text, "bic": text}],
            "sales_areas": [{"sales_org": text, "channel": text, "division": text, "currency": text}],
        });
        let policy = DomainPolicy::new(Domain::Customer, "owner");
        let _verdict = world.judge(&policy, "C", &change(Domain::Customer, "owner", 1, Some(customer)), false);
        let item = json!({
            "item_id": "1", "revision": "A", "base_uom": text, "gtins": [text],
            "uom_conversions": [{"alt_uom": text, "numerator": 1, "denominator": 3, "gtin": text}],
            "compliance": {"country_of_origin": text, "commodity_code": text, "cas_numbers": [text], "un_number": text},
            "attributes": {"a": text},
        });
        let policy = DomainPolicy::new(Domain::Item, "owner");
        let _verdict = world.judge(&policy, "1/A", &change(Domain::Item, "owner", 1, Some(item)), false);
    }
}
