//! Mappings over whole records: what is taken, what is refused and how the refusal reads.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is wrong")]

mod bounds;

use std::collections::BTreeMap;

use millrace_mapping::{Error, Expression, Mappings, Row, Tables, View};
use model::{Data, Domain, Golden, RecordKey};
use serde_json::{Value, json};

const ITEM: &str = r#"{
  "item_id": {{ row.id | text }},
  "revision": {{ row.rev | text }},
  BODY
}"#;

fn mappings(body: &str) -> Mappings {
    let mut tables = Tables::default();
    tables.insert("units", "ST", &json!("H87"));
    let texts = BTreeMap::from([("m.j2".to_owned(), ITEM.replace("BODY", body))]);
    Mappings::compile(&texts, &tables).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn map(body: &str, row: Value) -> Result<model::Item, Error> {
    let mut row = row;
    row["id"] = "4711".into();
    row["rev"] = "C".into();
    match mappings(body).to_canonical("m.j2", Domain::Item, &row, "erp")? {
        Data::Item(item) => Ok(*item),
        other => panic!("{other:?}"),
    }
}

#[test]
fn texts_are_trimmed_and_empty_ones_are_null() {
    let body = r#""base_uom": {{ row.a | text }}, "item_group": {{ row.b | text }}, "drawing_number": {{ row.c | text }}"#;
    let item = map(body, json!({"a": " KGM ", "b": "  ", "c": null})).unwrap();
    assert_eq!((item.base_uom.as_deref(), item.item_group, item.drawing_number), (Some("KGM"), None, None));
}

#[test]
fn quotes_line_breaks_and_umlauts_survive_the_json() {
    let text = "Bolt \"M8\" <ä>\\\u{1F600}\nsecond line";
    let item = map(r#""base_uom": {{ row.a }}"#, json!({"a": text})).unwrap();
    assert_eq!(item.base_uom.as_deref(), Some(text));
}

#[test]
fn numbers_are_taken_exactly_or_refused() {
    let body = r#""net_weight": {"value": {{ row.a | decimal(",", ".") }}, "uom": "KGM"}"#;
    for (written, exact) in [("1.234,5", "1234.5"), ("0,000000001", "0.000000001"), ("-7", "-7"), ("12,50", "12.5")] {
        assert_eq!(map(body, json!({"a": written})).unwrap().net_weight.unwrap().value.to_string(), exact, "{written}");
    }
    for written in ["1,2,3", "abc", "1 000", "0,0000000001"] {
        let error = map(body, json!({"a": written})).unwrap_err();
        assert_eq!(error.code, Error::VALUE, "{written}: {error}");
    }
    let error = map(body, json!({"a": "0,0000000001"})).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/net_weight/value"));
    assert!(error.message.contains("has 10 decimals, decimal(28,9) holds 9; it is never rounded"), "{error}");
    let error = map(r#""net_weight": {"value": {{ row.a }}, "uom": "KGM"}"#, json!({"a": 1.5})).unwrap_err();
    assert!(error.message.contains("floating-point number; write decimals as text"), "{error}");
}

#[test]
fn a_number_is_read_by_its_declared_signs_or_not_at_all() {
    let body = r#""net_weight": {"value": {{ row.a | decimal(",", ".") }}, "uom": "KGM"}"#;
    for (written, exact) in [
        ("1.234", "1234"),
        ("12.345.678,9", "12345678.9"),
        ("1234567,5", "1234567.5"),
        ("12,5-", "-12.5"),
        ("\u{2212}12,5", "-12.5"),
        ("+7", "7"),
        (",5", "0.5"),
        (" 7,25 ", "7.25"),
    ] {
        assert_eq!(map(body, json!({"a": written})).unwrap().net_weight.unwrap().value.to_string(), exact, "{written}");
    }
    for written in [
        "1.5",
        "12.50",
        "1,234.50",
        "1234.567",
        "1.2345",
        "0.123",
        ".123",
        "1..234",
        "1.234.",
        "1,5.000",
        "1E+05",
        "1,2E+03",
        "1\u{a0}234,5",
        "-12,5-",
        "--1",
        "-",
        "",
        "5,",
        "12 ,5",
    ] {
        let Err(error) = map(body, json!({"a": written})) else { panic!("`{written}` was taken") };
        assert_eq!(error.code, Error::VALUE, "{written}: {error}");
    }
    let error = map(body, json!({"a": "1.5"})).unwrap_err();
    assert_eq!(error.message, "`1.5` is not a decimal number with `,`, and `.` before each group of three digits");
    let item = map(body, json!({"a": 1.234})).unwrap();
    assert_eq!(item.net_weight.unwrap().value.to_string(), "1.234", "a number of JSON has no thousands separator");
}

#[test]
fn an_open_end_is_no_date() {
    let body = r#""valid_to": {{ row.a | date("%d.%m.%Y", empty=["31.12.2999", "leer"]) | exclusive_end }}"#;
    for open in ["31.12.9999", "31.12.2999", "leer", "00.00.0000", "00000000", ""] {
        assert_eq!(map(body, json!({"a": open})).unwrap().valid_to, None, "{open}");
    }
    assert_eq!(map(body, json!({"a": "30.12.9999"})).unwrap().valid_to.unwrap().to_string(), "9999-12-31");
}

#[test]
fn a_factor_that_nobody_wrote_is_never_one() {
    let body = r#""uom_conversions": [{"alt_uom": "SZ", "numerator": {{ row.n | integer }}, "denominator": {{ row.d | int }}}]"#;
    let item = map(body, json!({"n": "25", "d": "1"})).unwrap();
    assert_eq!((item.uom_conversions[0].numerator, item.uom_conversions[0].denominator), (25, 1));
    for (numerator, denominator, field) in
        [("", "1", "numerator"), ("25", "", "denominator"), ("", "", "numerator"), ("2,5", "1", "row.n"), ("25", "1.5", "row.d")]
    {
        let error = map(body, json!({"n": numerator, "d": denominator})).unwrap_err();
        assert_eq!(error.code, Error::VALUE, "{numerator}/{denominator}: {error}");
        assert!(error.field.as_deref().unwrap().ends_with(field), "{error:?}");
    }
    // Not mapped at all it is 0, which rule ITM-02 stops.
    let item = map(r#""uom_conversions": [{"alt_uom": "SZ"}]"#, json!({})).unwrap();
    assert_eq!((item.uom_conversions[0].numerator, item.uom_conversions[0].denominator), (0, 0));
}

#[test]
fn the_examples_of_the_documentation_are_true() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/landscape.md");
    let page = std::fs::read_to_string(page).unwrap();
    let examples: Vec<(&str, &str)> =
        page.lines().filter(|line| line.starts_with("{{ ")).map(|line| line.rsplit_once("  ").unwrap()).collect();
    assert!(examples.len() > 20, "{examples:?}");
    for (template, expected) in examples {
        let texts = BTreeMap::from([("x.j2".to_owned(), template.trim().to_owned())]);
        let mappings = Mappings::compile(&texts, &Tables::default()).unwrap();
        let row = json!({});
        let printed = mappings.canonical_text("x.j2", Row { row: &row, source: "erp", tables: &Tables::default() });
        match expected.trim() {
            "refused" => assert_eq!(printed.unwrap_err().code, Error::VALUE, "{template}"),
            expected => assert_eq!(printed.as_deref(), Ok(expected), "{template}"),
        }
    }
}

#[test]
fn dates_are_read_by_their_declared_form_only() {
    let body =
        r#""valid_from": {{ row.a | date("%d.%m.%Y", empty="00.00.0000") }}, "valid_to": {{ row.b | date | exclusive_end }}"#;
    let item = map(body, json!({"a": "29.02.2024", "b": "2026-12-31"})).unwrap();
    assert_eq!(
        (item.valid_from.unwrap().to_string(), item.valid_to.unwrap().to_string()),
        ("2024-02-29".into(), "2027-01-01".into())
    );
    assert_eq!(map(body, json!({"a": "00.00.0000", "b": ""})).unwrap().valid_from, None);
    for wrong in ["30.02.2026", "2026-02-28", "29.02.2023", "1.1.26 8:00"] {
        let error = map(body, json!({"a": wrong, "b": ""})).unwrap_err();
        assert_eq!((error.code, error.observed.as_deref()), (Error::VALUE, Some(wrong)), "{error}");
        assert_eq!(error.field.as_deref(), Some("row.a"));
    }
}

#[test]
fn stamps_become_utc() {
    let body = r#""base_uom": {{ row.a | instant("%Y-%m-%d %H:%M:%S%.f") }}, "item_group": {{ row.b | instant }}"#;
    let item = map(body, json!({"a": "2022-05-30 01:02:03.500", "b": "2026-11-20T09:30:00+01:00"})).unwrap();
    assert_eq!(item.base_uom.unwrap(), "2022-05-30T01:02:03.5Z");
    assert_eq!(item.item_group.unwrap(), "2026-11-20T08:30:00Z");
}

#[test]
fn an_undefined_name_is_named_with_its_line() {
    for (body, name) in [
        (r#""base_uom": {{ row.NOPE }}"#, "row.NOPE"),
        (r#""base_uom": {{ row.NOPE | text }}"#, "row.NOPE"),
        (r#""base_uom": {{ nope }}"#, "nope"),
        (r#""base_uom": {{ row.deep.er }}"#, "row.deep"),
    ] {
        let error = map(body, json!({})).unwrap_err();
        assert_eq!((error.code, error.field.as_deref(), error.line), (Error::UNDEFINED, Some(name), Some(4)), "{error}");
        assert_eq!(error.to_string(), format!("`{name}` is undefined (m.j2:4)"));
    }
}

#[test]
fn fields_and_symbols_that_the_model_lacks_are_refused_with_their_path() {
    let error = map(r#""plants": [{"plant": "ulm", "lotmin": "1"}]"#, json!({})).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref(), error.observed.as_deref()),
        (Error::OUTPUT, Some("/plants/0/lotmin"), Some("1"))
    );
    let error = map(r#""lifecycle": "RELASED""#, json!({})).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref(), error.observed.as_deref()),
        (Error::VALUE, Some("/lifecycle"), Some("RELASED"))
    );
    assert!(map(r#""lifecycle": "UNKNOWN""#, json!({})).is_ok());
    let error = map(r#""uom_conversions": [{"alt_uom": "PR", "numerator": "two"}]"#, json!({})).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Error::VALUE, Some("/uom_conversions/0/numerator")));
}

#[test]
fn output_that_is_no_json_shows_the_line() {
    let error = map(r#""gtins": ["1",]"#, json!({})).unwrap_err();
    assert_eq!(error.code, Error::OUTPUT);
    assert!(error.message.contains("trailing comma in `\"gtins\": [\"1\",]`"), "{error}");
}

#[test]
fn a_mapping_that_never_ends_is_stopped() {
    let body = r#"{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %} "gtins": []"#;
    assert_eq!(map(body, json!({})).unwrap_err().code, Error::ENDLESS);
}

#[test]
fn tables_answer_and_a_missing_code_is_named() {
    let body = r#""base_uom": {{ row.a | lookup("units") }}"#;
    assert_eq!(map(body, json!({"a": "ST"})).unwrap().base_uom.as_deref(), Some("H87"));
    let error = map(body, json!({"a": "FASS"})).unwrap_err();
    assert_eq!((error.code, error.observed.as_deref()), (Error::VALUE, Some("FASS")));
    assert_eq!(error.message, "`FASS` is not in table `units`");
    assert_eq!(
        map(r#""base_uom": {{ row.a | lookup("units", default=row.a) }}"#, json!({"a": "FASS"})).unwrap().base_uom.as_deref(),
        Some("FASS")
    );
    assert_eq!(map(r#""base_uom": {{ row.a | lookup("units", default=none) }}"#, json!({"a": "FASS"})).unwrap().base_uom, None);
}

#[test]
fn a_record_is_found_by_either_spelling_of_its_key() {
    let (composed, decomposed) = ("Ger\u{e4}t", "Gera\u{308}t");
    let mut tables = Tables::default();
    tables.insert("kinds", decomposed, &json!("TOOL"));
    let texts = BTreeMap::from([("m.j2".to_owned(), ITEM.replace("BODY", r#""item_group": {{ row.id | lookup("kinds") }}"#))]);
    let mappings = Mappings::compile(&texts, &tables).unwrap();
    let map = |id: &str| mappings.to_canonical("m.j2", Domain::Item, &json!({"id": id, "rev": "A"}), "erp").unwrap();
    assert_eq!(map(composed), map(decomposed));
    let Data::Item(item) = map(decomposed) else { panic!("an item") };
    assert_eq!((item.item_id.as_str(), item.item_group.as_deref()), (composed, Some("TOOL")));
}

#[test]
fn a_decimal_goes_from_golden_to_a_payload_digit_by_digit() {
    let weight = "1234567890123456789.123456789";
    let (golden, key) = golden(json!({"item_id": "1", "revision": "C", "net_weight": {"value": weight, "uom": "KGM"}}));
    let payload = |text: &str| {
        let texts = BTreeMap::from([("p.j2".to_owned(), text.to_owned())]);
        Mappings::compile(&texts, &Tables::default()).unwrap().to_payload("p.j2", &golden, Domain::Item, &key)
    };
    assert_eq!(payload("{{ item.net_weight.value }}").unwrap(), format!("\"{weight}\""));
    assert_eq!(payload(r#"{"w": {{ item.net_weight.value | number }}}"#).unwrap(), format!("{{\"w\": {weight}}}"));
    assert_eq!(payload("{{ item.net_weight.value | float }}").unwrap_err().code, Error::VALUE);
}

#[test]
fn a_streams_own_tables_come_before_the_landscapes() {
    let mut tables = Tables::default();
    tables.insert("units", "ST", &json!({"code": "EA"}));
    tables.insert("units", "ST", &json!({"code": "H87"}));
    let mappings = mappings(
        r#""base_uom": {{ lookup("units", "ST").code }}, "gtins": {{ lookup_all("units", "ST") | map(attribute="code") | list }}"#,
    );
    let row = json!({"id": "1", "rev": "A"});
    let data = mappings.to_canonical_with("m.j2", Domain::Item, Row { row: &row, source: "erp", tables: &tables }).unwrap();
    let Data::Item(item) = data else { panic!("{data:?}") };
    assert_eq!((item.base_uom.as_deref(), item.gtins), (Some("EA"), vec!["EA".to_owned(), "H87".to_owned()]));
}

#[test]
fn factors_become_exact_rationals() {
    let body = r#"{% set f = row.a | rational(",") %} "uom_conversions": [{"alt_uom": "PR", "numerator": {{ f.num }}, "denominator": {{ f.den }}}]"#;
    let item = map(body, json!({"a": "12,5"})).unwrap();
    assert_eq!((item.uom_conversions[0].numerator, item.uom_conversions[0].denominator), (25, 2));
}

fn golden(data: Value) -> (Golden, RecordKey) {
    let data = millrace_mapping::record(Domain::Item, &data.to_string()).unwrap();
    let key = data.key().unwrap();
    let meta = serde_json::from_value(json!({
        "revision": 7, "change_id": "00000000-0000-7000-8000-000000000001", "operation": "UPSERT", "policy_version": "p", "owner": "erp",
        "occurred_at": "2026-01-02T03:04:05Z", "accepted_at": "2026-01-02T03:04:06Z", "correlation_id": "00000000-0000-7000-8000-000000000001"
    }));
    (Golden { meta: meta.unwrap(), data: Some(data) }, key)
}

#[test]
fn a_payload_sees_record_meta_and_key() {
    let texts = BTreeMap::from([
        ("p.j2".to_owned(), r#"{"k": {{ key }}, "r": {{ meta.revision }}, "w": {{ item.net_weight.value }}, "p": {{ item.plants | map(attribute="plant") | list }}}"#.to_owned()),
        ("p.xml.j2".to_owned(), "<item>{{ item.base_uom }}</item>".to_owned()),
        ("p.csv.j2".to_owned(), "{{ item.item_id }};{{ item.base_uom }}".to_owned()),
        ("broken.j2".to_owned(), "{{ item.item_id }} and more".to_owned()),
    ]);
    let mappings = Mappings::compile(&texts, &Tables::default()).unwrap();
    let (golden, key) = golden(
        json!({"item_id": "P/1", "revision": "C", "base_uom": "<&>", "net_weight": {"value": "1.50", "uom": "KGM"}, "plants": [{"plant": "ulm"}]}),
    );
    let text = |name: &str| mappings.to_payload(name, &golden, Domain::Item, &key);
    assert_eq!(
        serde_json::from_str::<Value>(&text("p.j2").unwrap()).unwrap(),
        json!({"k": "P%2F1/C", "r": 7, "w": "1.5", "p": ["ulm"]})
    );
    assert_eq!(text("p.xml.j2").unwrap(), "<item>&lt;&amp;&gt;</item>");
    assert_eq!(text("p.csv.j2").unwrap(), "P/1;<&>");
    assert_eq!(text("broken.j2").unwrap_err().code, Error::OUTPUT);
    assert_eq!(text("absent.j2").unwrap_err().code, Error::FAILED);
}

#[test]
fn a_guard_changes_neither_lines_nor_what_a_mapping_says() {
    let text = "{% macro name(text, lang=\"en\") %}{\"lang\": {{ lang }}, \"text\": {{ text | default(\"-\") }}}{% endmacro %}{% macro each(list) %}{{ caller(list | length) }}{% endmacro %}\n\
        {% set ns = namespace(found=false, names=[]) %}\n\
        {% for plant in row.plants if not plant is none %}\n\
        {% set ns.found = true %}{%- set ns.names = ns.names + [plant.name, (\"x\", \"y\")[0]] %}\n\
        {% endfor %}\n\
        {% set a, b = 1, [2] %}{% with c = a, d = {\"k\": [b, 3]} %}{% set text %}{{ c }}{% endset %}\n\
        [{{ name(row.id, lang=\"de\") }}, {{ name(text=a) }}, {{ ns.found }}, {{ ns.names | list }}, {{ d.k[0] }}, {{ range(2) | list }}, \
        {% call(x) each(row.plants) %}{{ x }}{% endcall %}, {{ \"q\" if row.id in (\"7\", \"8\") else (1, 2) }}, {{ row.plants | map(attribute=\"name\") | join(\",\") }}]\n\
        {% endwith %}";
    let texts =
        BTreeMap::from([("x.j2".to_owned(), text.to_owned()), ("y.j2".to_owned(), "\n{% set x = [row.no.more] %}".to_owned())]);
    let mappings = Mappings::compile(&texts, &Tables::default()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let row = json!({"id": "7", "plants": [{"name": "ulm"}, null, {"name": "pune"}]});
    let run = |name: &str| mappings.canonical_text(name, Row { row: &row, source: "erp", tables: &Tables::default() });
    let mut plain = millrace_mapping::environment(&Tables::default());
    plain.set_fuel(None);
    let plain = plain.render_named_str("x.j2", text, minijinja::context! { row => minijinja::value::Serde(&row) });
    assert_eq!(
        run("x.j2").map_err(|error| error.to_string()),
        plain.map(|text| text.trim().to_owned()).map_err(|error| format!("{error:?}"))
    );
    let error = run("y.j2").unwrap_err();
    assert_eq!((error.line, error.field.as_deref()), (Some(2), Some("row.no")), "{error:?}");
}

#[test]
fn scopes_say_yes_no_or_which_name_is_missing() {
    let (golden, key) = golden(json!({"item_id": "1", "revision": "C", "item_type": "RAW", "plants": [{"plant": "ulm"}]}));
    let view = View::new(&golden, Domain::Item, &key);
    for (text, expected) in [
        ("'ulm' in item.plants | map(attribute='plant')", true),
        ("'pune' in item.plants | map(attribute='plant')", false),
        ("item.item_type == 'RAW' and meta.revision > 3", true),
        ("item.plants | selectattr('plant', 'eq', 'pune') | list", false),
    ] {
        assert_eq!(Expression::compile(text).unwrap().matches_view(&view).unwrap(), expected, "{text}");
    }
    let error = Expression::compile("item.nope.more == 1").unwrap().matches_view(&view).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Error::UNDEFINED, Some("item.nope")));
    assert!(Expression::compile("item.x ==").is_err());
    let deleted = Golden { data: None, ..golden };
    assert!(
        Expression::compile("false").unwrap().matches(&deleted, Domain::Item, &key).unwrap(),
        "deletes are the ledger's question"
    );
}

#[test]
fn every_code_has_its_page() {
    let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    for code in Error::CODES {
        assert!(pages.join(format!("{code}.md")).exists(), "{code}");
    }
}
