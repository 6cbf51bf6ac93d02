//! Expectation against output, place by place.

use serde_json::Value as Json;

use crate::{
    Difference,
    node::{Node, Value},
};

/// What an output may hold beyond the expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    Exact,
    /// A canonical record spells out every field; a case names those that matter, the others must be empty.
    DefaultsMayBeLeftOut,
}

pub(crate) fn trees(expected: &Node, got: &Json, strictness: Strictness) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("$", expected, Some(got), strictness, &mut found);
    found
}

fn compare(path: &str, expected: &Node, got: Option<&Json>, strictness: Strictness, found: &mut Vec<Difference>) {
    match (&expected.value, got) {
        (Value::Map(entries), Some(Json::Object(object))) => {
            for (key, node) in entries {
                compare(&format!("{path}.{}", key.text), node, object.get(&key.text), strictness, found);
            }
            for (name, value) in object {
                let is_named = entries.iter().any(|(key, _)| key.text == *name);
                let may_be_left_out = strictness == Strictness::DefaultsMayBeLeftOut && is_default(value);
                if !is_named && !may_be_left_out {
                    found.push(Difference {
                        path: format!("{path}.{name}"),
                        expected: "nothing".to_owned(),
                        got: value.to_string(),
                        line: expected.line,
                    });
                }
            }
        }
        (Value::List(nodes), Some(Json::Array(items))) => {
            for (index, node) in nodes.iter().enumerate() {
                compare(&format!("{path}[{index}]"), node, items.get(index), strictness, found);
            }
            for (index, item) in items.iter().enumerate().skip(nodes.len()) {
                found.push(Difference {
                    path: format!("{path}[{index}]"),
                    expected: "nothing".to_owned(),
                    got: item.to_string(),
                    line: expected.line,
                });
            }
        }
        (_, got) => {
            let wanted = expected.json();
            if got != Some(&wanted) && !equal_numbers(got, &wanted) {
                found.push(Difference {
                    path: path.to_owned(),
                    expected: wanted.to_string(),
                    got: got.map_or_else(|| "nothing".to_owned(), Json::to_string),
                    line: expected.line,
                });
            }
        }
    }
}

/// `5` and `5.0` are one number in JSON.
fn equal_numbers(got: Option<&Json>, wanted: &Json) -> bool {
    matches!((got, wanted), (Some(Json::Number(got)), Json::Number(wanted)) if mapping::is_same_number(&got.to_string(), &wanted.to_string()))
}

fn is_default(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::Number(number) => number.as_i64() == Some(0),
        Json::String(text) => text.is_empty() || text == "UNKNOWN",
        Json::Array(items) => items.is_empty(),
        Json::Object(object) => object.values().all(is_default),
        Json::Bool(true) => false,
    }
}
