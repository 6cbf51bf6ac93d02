//! What a reader of the schemas may rely on: docs, defaults, enums, marks of personal data, one definition per name.

use std::collections::BTreeMap;

use avro::{
    Partitions, Schema, declared_topics,
    fields::{self, Field, Kind},
};
use model::Domain;
use serde_json::Value;

fn tree(schema: Schema) -> Vec<Field> {
    fields::tree(&serde_json::from_str(schema.text()).unwrap())
}

fn walk(path: &str, fields: &[Field], visit: &mut impl FnMut(&str, &Field)) {
    for field in fields {
        let path = format!("{path}.{}", field.name);
        visit(&path, field);
        walk(&path, field.kind.fields(), visit);
    }
}

#[test]
fn every_field_is_documented() {
    for schema in Schema::ALL {
        walk(schema.file(), &tree(*schema), &mut |path, field| {
            assert!(field.doc.len() >= 4 && field.doc.ends_with('.'), "{path} has no sentence for a doc: `{}`", field.doc);
        });
    }
}

/// Fields of internal records that name what the record is about; without them it is nobody's.
const IDENTITIES: [&str; 10] = ["destination", "domain", "key", "id", "command_id", "writer", "seq", "source", "rule_id", "lang"];

#[test]
fn only_key_components_and_identities_lack_a_default() {
    for domain in Domain::ALL {
        let keys: Vec<_> = fields::of(domain).iter().filter(|field| field.key).map(|field| field.name.as_str()).collect();
        assert_eq!(keys, domain.key_fields(), "{domain}");
        // Inside arrays the element's identity plays the part of a key component: it comes first.
        for list in fields::of(domain).iter().filter(|field| matches!(field.kind, Kind::List(_))) {
            let elements = list.kind.fields();
            let identities = elements.iter().take_while(|field| field.key).count();
            assert!(elements[identities..].iter().all(|field| !field.key), "{domain}.{}", list.name);
        }
    }
    let named =
        Schema::ALL.iter().filter(|schema| !schema.file().starts_with("change.") && !schema.file().starts_with("golden."));
    for schema in named {
        walk(schema.file(), &tree(*schema), &mut |path, field| {
            assert!(!field.key || IDENTITIES.contains(&field.name.as_str()), "{path} has no default");
        });
    }
}

fn types(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(object) => {
            visit(value);
            object.values().for_each(|inner| types(inner, visit));
        }
        Value::Array(list) => list.iter().for_each(|inner| types(inner, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn an_unknown_symbol_never_breaks_a_reader_and_null_comes_first() {
    for schema in Schema::ALL {
        types(&serde_json::from_str(schema.text()).unwrap(), &mut |value| {
            if value["type"] == "enum" {
                assert_eq!(
                    (&value["symbols"][0], &value["default"]),
                    (&Value::from("UNKNOWN"), &Value::from("UNKNOWN")),
                    "{value}"
                );
            }
            if let Some(union) = value["type"].as_array() {
                assert_eq!(
                    (union.len(), union[0].as_str(), value.get("default")),
                    (2, Some("null"), Some(&Value::Null)),
                    "{value}"
                );
            }
            if value["logicalType"] == "decimal" {
                assert_eq!(value["type"], "bytes", "{value}");
            }
        });
    }
}

#[test]
fn a_name_means_the_same_in_every_file() {
    let mut known: BTreeMap<String, (Schema, Value)> = BTreeMap::new();
    for schema in Schema::ALL {
        let top: Value = serde_json::from_str(schema.text()).unwrap();
        assert_eq!((top["namespace"].as_str(), top["name"].as_str()), (Some("mdm.v1"), Some(schema.record())), "{schema:?}");
        types(&top, &mut |value| {
            let (Some(name), Some(_)) = (value["name"].as_str(), value["type"].as_str()) else { return };
            if !matches!(value["type"].as_str(), Some("record" | "enum")) || value["namespace"].is_string() {
                return;
            }
            let mut flat = value.clone();
            // A named type is written out where it first stands in its file, and by name after that.
            names_only(&mut flat, true);
            if let Some((other, before)) = known.get(name) {
                assert_eq!(before, &flat, "`{name}` in {} and in {}", other.file(), schema.file());
            } else {
                known.insert(name.to_owned(), (*schema, flat));
            }
        });
    }
    assert!(known.contains_key("Finding") && known.contains_key("Item"));
}

fn names_only(value: &mut Value, is_top: bool) {
    if let Value::Object(object) = value {
        if !is_top && matches!(object.get("type").and_then(Value::as_str), Some("record" | "enum")) {
            *value = object["name"].clone();
            return;
        }
        object.values_mut().for_each(|inner| names_only(inner, false));
    } else if let Value::Array(list) = value {
        list.iter_mut().for_each(|inner| names_only(inner, false));
    }
}

#[test]
fn personal_fields_are_marked() {
    let personal = ["given_name", "family_name", "email", "phone", "iban", "author", "actor"];
    let mut seen = std::collections::BTreeSet::new();
    for schema in Schema::ALL {
        walk(schema.file(), &tree(*schema), &mut |path, field| {
            if personal.contains(&field.name.as_str()) {
                assert!(field.pii.is_some(), "{path} has no mdm.pii");
                seen.insert(field.name.clone());
            }
        });
    }
    assert_eq!(seen.len(), personal.len(), "every name of the list exists");
}

#[test]
fn every_topic_has_its_schema_writer_reader_and_a_sentence() {
    let mut used = std::collections::BTreeSet::new();
    for topic in declared_topics() {
        for text in [&topic.key, &topic.doc] {
            assert!(!text.trim().is_empty(), "{}", topic.name);
        }
        assert!(!topic.write.is_empty() && !topic.read.is_empty(), "{} has no writer or no reader", topic.name);
        let files = Domain::ALL.map(|domain| topic.schema.replace("<domain>", domain.name()));
        for file in files {
            assert!(Schema::ALL.iter().any(|schema| schema.file() == file), "{}: no schema {file}", topic.name);
            used.insert(file);
        }
        assert_eq!(topic.compatibility.name(), "FULL_TRANSITIVE", "{}", topic.name);
    }
    assert_eq!(used.len(), Schema::ALL.len(), "every schema belongs to a topic");
}

#[test]
fn the_page_of_topics_is_the_list_of_topics() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/topics.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 5).collect();
    let expected: Vec<String> = declared_topics()
        .iter()
        .map(|topic| {
            let partitions = if topic.partitions == Partitions::Slots { "slots" } else { "one" };
            let (policy, kept) = match topic.retention_days {
                Some(days) => ("delete", format!("{days} days")),
                None => ("compact", "the newest record of each key".to_owned()),
            };
            format!("| `{}` | {partitions} | {policy} | {kept} |", topic.name)
        })
        .collect();
    assert_eq!(rows, expected);
    let exceptions =
        declared_topics().iter().flat_map(|topic| topic.except.keys().map(|stage| topic.name.replace("<stage>", stage)));
    for name in exceptions {
        assert!(page.contains(&format!("`{name}` has one partition")), "{name} is an exception that the page does not name");
    }
}
