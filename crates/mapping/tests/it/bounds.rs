//! No mapping takes the process with it, whatever its text and its rows do.

use std::collections::BTreeMap;

use millrace_mapping::{Error, Mappings, Row, Tables};
use proptest::prelude::*;
use serde_json::{Value, json};

/// On the stack that a worker of a service has.
fn run(text: &str, row: &Value) -> Result<String, Error> {
    let texts = BTreeMap::from([("x.j2".to_owned(), text.to_owned())]);
    let mappings = Mappings::compile(&texts, &Tables::default()).unwrap_or_else(|problems| panic!("{problems:?}: {text}"));
    std::thread::scope(|scope| {
        let render = || mappings.canonical_text("x.j2", Row { row, source: "erp", tables: &Tables::default() });
        std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn_scoped(scope, render).unwrap().join().unwrap()
    })
}

#[test]
fn what_grows_without_steps_is_stopped() {
    let grow = |start: &str, step: &str, times: u32, end: &str| {
        format!(
            "{{% set ns = namespace(x={start}) %}}{{% for i in range({times}) %}}{{% set ns.x = {step} %}}{{% endfor %}}{end}"
        )
    };
    for (what, text) in [
        ("a list that is doubled", grow("[1]", "ns.x + ns.x", 60, "{{ ns.x }}")),
        ("and measured", grow("[1]", "ns.x + ns.x", 60, "{{ ns.x | length }}")),
        ("and made a text", grow("[1]", "ns.x + ns.x", 60, "{{ ns.x ~ '' }}")),
        ("and compared", grow("[1]", "[ns.x, ns.x]", 60, "{{ ns.x == ns.x }}")),
        ("a list that is repeated", grow("[1]", "ns.x * 1000", 60, "{{ ns.x }}")),
        ("a list in a list", grow("[]", "[ns.x]", 100_000, "")),
        ("a map in a map", grow("{}", "{'a': ns.x}", 100_000, "{{ ns.x }}")),
        ("a list cut into lists", grow("[1]", "ns.x | batch(1) | list", 1_000, "{{ ns.x }}")),
        ("a namespace in itself", grow("1", "ns", 1, "{{ ns }}")),
        ("a namespace in itself, in a list", grow("1", "[1, {'a': ns}]", 1, "{{ ns ~ '' }}")),
        ("one line after another", format!("{}{{{{ x }}}}", "{% set x = [x | default(1), x | default(1)] %}".repeat(200))),
        (
            "with in with",
            format!("{}{{{{ x ~ '' }}}}{}", "{% with x = [x | default(1)] * 9 %}".repeat(40), "{% endwith %}".repeat(40)),
        ),
        ("a macro that calls itself", "{% macro m(x) %}{{ m(x + x) }}{{ x ~ '' }}{% endmacro %}{{ m([1] * 100000) }}".to_owned()),
        (
            "a loop that calls itself",
            "{% for a in [[1] * 9000] recursive %}{{ a ~ '' }}{{ loop([a + a]) }}{% endfor %}".to_owned(),
        ),
    ] {
        let error = match run(&text, &json!({})) {
            Err(error) => error,
            Ok(text) => panic!("{what} gave {} bytes", text.len()),
        };
        assert!([Error::TOO_LARGE, Error::ENDLESS, Error::FAILED].contains(&error.code), "{what}: {error}");
    }
    for (what, text) in [
        ("a text that is doubled", grow("'x'", "ns.x ~ ns.x", 60, "{{ ns.x }}")),
        ("a text that is repeated", "{{ 'x' * 90000000 }}".to_owned()),
        ("a text that is replaced", grow("'xx'", "ns.x | replace('x', ns.x)", 60, "{{ ns.x }}")),
        (
            "what is captured",
            "{% set a %}{{ 'x' * 1000 }}{% endset %}".to_owned() + &"{% set a %}{{ a }}{{ a }}{% endset %}".repeat(40),
        ),
    ] {
        assert!([Error::TOO_LARGE, Error::ENDLESS].contains(&run(&text, &json!({})).unwrap_err().code), "{what}");
    }
}

#[test]
fn what_ordinary_mappings_collect_is_let_through() {
    let rows: Vec<Value> = (0..200).map(|n| json!({"plant": format!("p{n}"), "fields": vec![n; 20]})).collect();
    let text = "{% set ns = namespace(list=[]) %}{% for p in row.plants %}{% set ns.list = ns.list + [p] %}{% endfor %}{{ ns.list | length }}";
    assert_eq!(run(text, &json!({"plants": rows})).unwrap(), "200");
    let text = "{% set ns = namespace(text='') %}{% for i in range(1000) %}{% set ns.text = ns.text ~ i %}{% endfor %}{{ ns.text | length }}";
    assert!(run(text, &json!({})).is_ok());
}

#[test]
fn a_deep_row_is_mapped_or_refused() {
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    assert!(run("{{ row.deep }}", &json!({"deep": deep})).is_ok());
}

/// Texts out of everything that combines values.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("ns.x".to_owned()),
        Just("ns.y".to_owned()),
        Just("a".to_owned()),
        Just("row".to_owned()),
        Just("'text'".to_owned()),
        Just("7".to_owned()),
        Just("[]".to_owned()),
        Just("ns".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} ~ {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            inner.clone().prop_map(|a| format!("{{'k': {a}}}")),
            (inner.clone(), 1..2000_u32).prop_map(|(a, n)| format!("({a} * {n})")),
            inner.clone().prop_map(|a| format!("m({a}, b={a})")),
            (
                inner,
                prop_oneof![
                    Just("list"),
                    Just("tojson"),
                    Just("batch(2) | list"),
                    Just("join"),
                    Just("unique | list"),
                    Just("length"),
                    Just("string"),
                    Just("items | list"),
                    Just("reverse"),
                    Just("first"),
                    Just("text"),
                    Just("sort"),
                ]
            )
                .prop_map(|(a, filter)| format!("({a} | {filter})")),
        ]
    })
}

fn statement() -> impl Strategy<Value = String> {
    prop_oneof![
        expression().prop_map(|e| format!("{{% set ns.x = {e} %}}")),
        expression().prop_map(|e| format!("{{% set ns.y = {e} %}}")),
        expression().prop_map(|e| format!("{{% set a = {e} %}}")),
        expression().prop_map(|e| format!("{{% set a %}}{{{{ {e} }}}}{{% endset %}}")),
        expression().prop_map(|e| format!("{{% with a = {e} %}}{{{{ a == ns.x }}}}{{% endwith %}}")),
        expression().prop_map(|e| format!("{{% for b in {e} recursive %}}{{{{ loop([b, b]) }}}}{{% endfor %}}")),
        expression().prop_map(|e| format!("{{{{ {e} }}}}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_mapping_ends_with_a_text_or_a_code(
        head in prop::collection::vec(statement(), 0..3),
        body in prop::collection::vec(statement(), 1..5),
        times in prop_oneof![1..40_u32, Just(3_000_u32)],
        recursive in any::<bool>(),
    ) {
        let call = if recursive { "m([x, b])" } else { "b" };
        let text = format!(
            "{{% macro m(x, b=1) %}}{{{{ {call} }}}}{{% endmacro %}}{{% set ns = namespace(x=[1], y='t') %}}{{% set a = [row] %}}{}\
             {{% for i in range({times}) %}}{}{{% endfor %}}{{{{ ns.x }}}}{{{{ ns.y ~ '' }}}}",
            head.concat(), body.concat()
        );
        if let Err(error) = run(&text, &json!({"a": "b", "list": [1, {"c": [2]}]})) {
            prop_assert!(Error::CODES.contains(&error.code), "{error}");
        }
    }
}
