//! Made-up records that run every mapping once, so that one that never ends is found before the first real record.

use std::collections::{BTreeMap, BTreeSet};

use avro::fields::{Field, Kind};
use model::{Data, Domain, Golden, GoldenMeta};
use serde_json::{Map, Value, json};

/// A golden record with every field filled.
pub(crate) fn golden(domain: Domain) -> Option<Golden> {
    let data = record(domain, &filled(avro::fields::of(domain)).to_string())?;
    Some(Golden { meta: meta(&json!({}))?, data: Some(data) })
}

/// Meta as a fresh record has it, with what `given` changes of it.
pub(crate) fn meta(given: &Value) -> Option<GoldenMeta> {
    let mut meta = json!({
        "revision": 1, "change_id": "00000000-0000-7000-8000-000000000001", "operation": "UPSERT", "policy_version": "case",
        "owner": "case", "occurred_at": "2026-01-02T03:04:05Z", "accepted_at": "2026-01-02T03:04:06Z",
        "correlation_id": "00000000-0000-7000-8000-000000000001",
    });
    if let (Some(meta), Some(given)) = (meta.as_object_mut(), given.as_object()) {
        meta.extend(given.clone());
    }
    serde_json::from_value(meta).ok()
}

fn record(domain: Domain, text: &str) -> Option<Data> {
    mapping::record(domain, text).ok()
}

fn filled(fields: &[Field]) -> Value {
    Value::Object(fields.iter().map(|field| (field.name.clone(), example(&field.kind))).collect())
}

fn example(kind: &Kind) -> Value {
    match kind {
        Kind::Text | Kind::Bytes => "x".into(),
        Kind::Uuid => "00000000-0000-7000-8000-000000000001".into(),
        Kind::Boolean => true.into(),
        Kind::Int | Kind::Long => 1.into(),
        Kind::Decimal { .. } => "1".into(),
        Kind::Date => "2026-01-02".into(),
        Kind::Timestamp => "2026-01-02T03:04:05Z".into(),
        Kind::Enum(symbols) => symbols.iter().find(|symbol| *symbol != "UNKNOWN").cloned().unwrap_or_default().into(),
        Kind::Record(fields) => filled(fields),
        Kind::List(inner) => json!([example(inner)]),
        Kind::Map(inner) => json!({ "x": example(inner) }),
    }
}

/// A source's row with the columns that a mapping reads, each holding `value`.
pub(crate) fn row(columns: &BTreeSet<Vec<String>>, value: &str) -> Value {
    fn insert(row: &mut Map<String, Value>, path: &[String], value: &str) {
        let Some((name, below)) = path.split_first() else { return };
        if below.is_empty() {
            row.entry(name.clone()).or_insert_with(|| value.into());
            return;
        }
        let inner = row.entry(name.clone()).or_insert_with(|| json!({}));
        if !inner.is_object() {
            *inner = json!({});
        }
        if let Some(inner) = inner.as_object_mut() {
            insert(inner, below, value);
        }
    }
    let mut row = Map::new();
    for path in columns {
        insert(&mut row, path, value);
    }
    Value::Object(row)
}

/// Side tables that have one row for the keys a made-up row asks for.
pub(crate) fn tables(lookups: &BTreeMap<&str, Option<&[String]>>, keys: &[&str]) -> mapping::Tables {
    let mut tables = mapping::Tables::default();
    for (name, columns) in lookups {
        let row: Map<String, Value> = columns.iter().copied().flatten().map(|column| (column.clone(), "1".into())).collect();
        for key in keys {
            tables.insert(name, key, &Value::Object(row.clone()));
        }
    }
    tables
}
