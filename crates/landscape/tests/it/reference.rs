//! The reference page and the editors' schemas say what the code reads: no key more, no key less.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::folder;

/// Keys that the readers ask for, taken from their source.
fn asked() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for file in ["check", "domains", "sources", "stream", "destinations", "answers", "cases"] {
        let text = fs::read_to_string(folder::of_repository(&format!("crates/landscape/src/{file}.rs"))).unwrap();
        for call in ["get(\"", "get(reader, \"", "need(reader, \"", ".text(reader, \"", "&mut keys, \""] {
            keys.extend(text.split(call).skip(1).filter_map(|rest| rest.split_once('"')).map(|(key, _)| key.to_owned()));
        }
    }
    // Asked for only to be refused.
    keys.remove("password");
    keys
}

fn properties(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                found.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| properties(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| properties(item, found)),
        _ => {}
    }
}

#[test]
fn the_schemas_for_editors_hold_exactly_the_keys_that_are_read() {
    let mut found = BTreeSet::new();
    for name in ["millrace", "domain", "source", "destination", "case"] {
        let text = fs::read_to_string(folder::of_repository(&format!("docs/schema/{name}.schema.json"))).unwrap();
        properties(&serde_json::from_str(&text).unwrap(), &mut found);
    }
    let asked = asked();
    assert!(asked.len() > 50, "{asked:?}");
    assert_eq!(found.difference(&asked).collect::<Vec<_>>(), Vec::<&String>::new(), "in a schema, but never read");
    assert_eq!(asked.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new(), "read, but in no schema");
}

#[test]
fn the_reference_page_names_every_key() {
    let page = fs::read_to_string(folder::of_repository("docs/landscape.md")).unwrap();
    let words: BTreeSet<&str> = page.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').collect();
    let missing: Vec<_> = asked().into_iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "docs/landscape.md does not name {missing:?}");
}
