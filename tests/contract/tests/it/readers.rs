//! What `schemas check --can-read` answers a subscriber is what a stock Avro reader then does.

use apache_avro::{reader::datum::GenericDatumReader, types::Value as Datum, writer::datum::GenericDatumWriter};
use avro::{
    Schema,
    reading::{Reading, can_read},
};
use contract::{arbitrary::Fill, sample::sample};
use model::Domain;
use serde_json::{Value, json};

/// Whether a stock reader reads a full and an empty record of `schema` with this reader schema. Decimals as bytes: apache-avro 0.22
/// takes the comparison of precision and bytes the wrong way round and resolves no decimal at all.
fn is_read(schema: Schema, reader: &str) -> bool {
    let parse = |text: &str| {
        let mut schema = serde_json::from_str(text).unwrap();
        without_decimals(&mut schema);
        apache_avro::Schema::parse(&schema).unwrap()
    };
    let (writer, reader) = (parse(schema.text()), parse(reader));
    let datum = GenericDatumReader::builder(&writer).reader_schema(&reader).build().unwrap();
    let full = sample(schema, Fill::All).1;
    let value = GenericDatumReader::builder(&writer).build().unwrap().read_value(&mut &full[5..]).unwrap();
    let bare = GenericDatumWriter::builder(&writer).build().unwrap().write_value_to_vec(bare(value, true)).unwrap();
    [&full[5..], &bare, &sample(schema, Fill::Nothing).1[5..]].iter().all(|bytes| datum.read_value(&mut &**bytes).is_ok())
}

/// The same record with null wherever it may be, but for the data as a whole.
fn bare(value: Datum, is_top: bool) -> Datum {
    let all = |items: Vec<(String, Datum)>, is_top| items.into_iter().map(|(name, value)| (name, bare(value, is_top))).collect();
    match value {
        Datum::Union(_, inner) if is_top => Datum::Union(1, Box::new(bare(*inner, false))),
        Datum::Union(..) => Datum::Union(0, Box::new(Datum::Null)),
        Datum::Record(fields) => Datum::Record(all(fields, is_top)),
        Datum::Array(items) => Datum::Array(items.into_iter().map(|item| bare(item, false)).collect()),
        other => other,
    }
}

fn without_decimals(node: &mut Value) {
    match node {
        Value::Object(object) => {
            if object.get("logicalType").is_some_and(|logical| logical == "decimal") {
                *node = json!("bytes");
                return;
            }
            object.iter_mut().filter(|(name, _)| *name != "default").for_each(|(_, inner)| without_decimals(inner));
        }
        Value::Array(items) => items.iter_mut().for_each(without_decimals),
        _ => {}
    }
}

fn parsed(schema: Schema) -> Value {
    serde_json::from_str(schema.text()).unwrap()
}

fn answer(schema: Schema, reader: &Value) -> Reading {
    can_read(schema.text(), &reader.to_string()).unwrap()
}

/// JSON pointers of every field of the data record and what lies below.
fn fields(node: &Value, at: &str, found: &mut Vec<String>) {
    match node {
        Value::Object(object) => {
            for (index, field) in object.get("fields").and_then(Value::as_array).into_iter().flatten().enumerate() {
                let place = format!("{at}/fields/{index}");
                fields(&field["type"], &format!("{place}/type"), found);
                found.push(place);
            }
            for part in ["type", "items", "values"] {
                object.get(part).into_iter().for_each(|inner| fields(inner, &format!("{at}/{part}"), found));
            }
        }
        Value::Array(branches) => {
            branches.iter().enumerate().for_each(|(index, branch)| fields(branch, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// The definition of a named type.
fn definition(node: &Value, name: &str) -> Option<Value> {
    match node {
        Value::Object(object)
            if object.get("name").is_some_and(|own| own == name)
                && object.contains_key("doc")
                && node["type"] != json!(null)
                && (object.contains_key("fields") || object.contains_key("symbols")) =>
        {
            Some(node.clone())
        }
        Value::Object(object) => object.values().find_map(|inner| definition(inner, name)),
        Value::Array(items) => items.iter().find_map(|inner| definition(inner, name)),
        _ => None,
    }
}

/// The first mention of a type that is no longer defined becomes its definition.
fn mend(node: &mut Value, whole: &Value, defined: &mut Vec<String>) {
    if let Some(name) = node.as_str().map(str::to_owned) {
        if name.starts_with(char::is_uppercase) && !defined.contains(&name) {
            *node = definition(whole, &name).unwrap();
            defined.push(name);
        }
        return;
    }
    match node {
        Value::Array(branches) => branches.iter_mut().for_each(|branch| mend(branch, whole, defined)),
        Value::Object(object) => {
            if let Some(name) = object.get("name").and_then(Value::as_str) {
                defined.push(name.to_owned());
            }
            for field in object.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
                mend(&mut field["type"], whole, defined);
            }
            for part in ["items", "values"] {
                object.get_mut(part).into_iter().for_each(|inner| mend(inner, whole, defined));
            }
            if object.get("type").is_some_and(|kind| !kind.is_string()) {
                mend(&mut object["type"], whole, defined);
            }
        }
        _ => {}
    }
}

#[test]
fn a_reader_without_any_one_field_reads_everything_and_is_told_what_it_ignores() {
    for schema in Domain::ALL.map(Schema::golden) {
        let whole = parsed(schema);
        let mut places = Vec::new();
        fields(&whole, "", &mut places);
        assert!(places.len() > 40, "{schema:?}: {}", places.len());
        for place in places {
            let (list, index) = place.rsplit_once('/').unwrap();
            let mut reader = whole.clone();
            let gone = reader.pointer_mut(list).unwrap().as_array_mut().unwrap().remove(index.parse().unwrap());
            mend(&mut reader, &whole, &mut Vec::new());
            let reading = answer(schema, &reader);
            assert_eq!(reading.mismatches, [], "{schema:?} without {}", gone["name"]);
            let name = gone["name"].as_str().unwrap();
            assert!(reading.ignored.iter().any(|path| path.rsplit('.').next() == Some(name)), "{name}: {reading:?}");
            assert!(is_read(schema, &reader.to_string()), "{schema:?} without {name}");
        }
    }
}

#[test]
fn what_the_check_refuses_a_stock_reader_does_not_read_and_the_fix_helps() {
    let item = Schema::golden(Domain::Item);
    let data = |reader: &Value| reader["fields"][1]["type"][1].clone();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut reader = parsed(item);
        change(&mut reader["fields"][1]["type"][1]);
        reader
    };
    let field = |record: &mut Value, name: &str, set: Value| {
        let fields = record["fields"].as_array_mut().unwrap();
        match fields.iter_mut().find(|field| field["name"] == name) {
            Some(found) => *found = set,
            None => fields.push(set),
        }
    };
    assert_eq!(data(&parsed(item))["name"], "Item", "the place of the data in the schema");
    let own = json!({"name": "shelf_life_days", "type": "int"});
    let enumeration = |default: bool| {
        let mut kind = json!({"type": "enum", "name": "ItemType", "symbols": ["UNKNOWN", "RAW", "COMPONENT"]});
        if default {
            kind["default"] = json!("UNKNOWN");
        }
        json!({"name": "item_type", "type": kind, "default": "UNKNOWN"})
    };
    let cases: [(&str, Value, Value); 4] = [
        (
            "data.shelf_life_days",
            with(&|record| field(record, "shelf_life_days", own.clone())),
            with(&|record| {
                field(record, "shelf_life_days", json!({"name": "shelf_life_days", "type": ["null", "int"], "default": null}))
            }),
        ),
        (
            "data.base_uom",
            with(&|record| field(record, "base_uom", json!({"name": "base_uom", "type": "string"}))),
            with(&|record| field(record, "base_uom", json!({"name": "base_uom", "type": ["null", "string"], "default": null}))),
        ),
        (
            "data.item_type",
            with(&|record| field(record, "item_type", enumeration(false))),
            with(&|record| field(record, "item_type", enumeration(true))),
        ),
        (
            "data.configurable",
            with(&|record| field(record, "configurable", json!({"name": "configurable", "type": "int", "default": 0}))),
            with(&|record| field(record, "configurable", json!({"name": "configurable", "type": "boolean", "default": false}))),
        ),
    ];
    for (path, bad, good) in cases {
        let reading = answer(item, &bad);
        assert_eq!(reading.mismatches.iter().map(|found| found.path.as_str()).collect::<Vec<_>>(), [path], "{reading:?}");
        assert!(reading.mismatches.iter().all(|found| !found.fix.is_empty()));
        assert!(!is_read(item, &bad.to_string()), "{path}: a stock reader reads what the check refuses");
        assert_eq!(answer(item, &good).mismatches, [], "{path}");
        assert!(is_read(item, &good.to_string()), "{path}: the fix does not help");
    }
}

#[test]
fn a_value_that_would_be_read_as_something_else_is_refused_although_avro_allows_it() {
    let item = Schema::golden(Domain::Item);
    for (path, from, to) in [
        ("meta.occurred_at", "timestamp-micros", "timestamp-millis"),
        ("data.net_weight.value", "\"precision\": 28, \"scale\": 9", "\"precision\": 28, \"scale\": 3"),
    ] {
        let reader = item.text().replace(from, to);
        let paths: Vec<_> = can_read(item.text(), &reader).unwrap().mismatches.into_iter().map(|found| found.path).collect();
        assert!(paths.contains(&path.to_owned()), "{paths:?}");
    }
}

#[test]
fn an_enum_without_default_is_named_before_the_first_new_symbol_comes() {
    let item = Schema::golden(Domain::Item);
    let reader = item.text().replace("\"PHANTOM\"], \"default\": \"UNKNOWN\"}", "\"PHANTOM\"]}");
    let reading = can_read(item.text(), &reader).unwrap();
    assert_eq!((reading.mismatches.len(), reading.fragile), (0, vec!["data.item_type".to_owned()]));
    assert_eq!(can_read(item.text(), item.text()).unwrap(), Reading::default());
}

#[test]
fn what_is_no_schema_is_said_to_be_none() {
    let text = Schema::golden(Domain::Item).text();
    for nonsense in [
        "",
        "{}",
        "{\"type\": \"record\"}",
        "not json",
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"Nowhere\"}]}",
    ] {
        let error = can_read(text, nonsense).unwrap_err();
        assert!(error.starts_with("the reader's schema is no"), "{nonsense}: {error}");
    }
}
