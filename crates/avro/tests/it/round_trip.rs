//! What is written is read back equal, and the schema has exactly the model's fields.

use std::fmt::Debug;

use avro::{Reader, Schema, Wire, Writer, fields};
use model::{
    AuditEntry, Change, ChangeMeta, Command, Cursor, Customer, Data, DeadLetter, DestinationStatus, Domain, FindingReport,
    Golden, GoldenMeta, Held, Item, Ledger, LetterStatus, Plan, Receipt, Reference, SourceStatus, WorkCenter, data::Versioned,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::arbitrary::{Choices, Fill, record};

pub(crate) fn writer() -> Writer {
    Writer::new(Schema::ALL.iter().zip(1..).map(|(schema, id)| (*schema, id)).collect())
}

pub(crate) fn reader() -> Reader {
    let reader = Reader::default();
    for (schema, id) in Schema::ALL.iter().zip(1..) {
        reader.learn(id, schema.text());
    }
    reader
}

fn sample<T: DeserializeOwned + Serialize>(schema: Schema, fill: Fill, seed: u64) -> T {
    let tree = fields::tree(&serde_json::from_str(schema.text()).unwrap());
    let json = record(&tree, fill, &mut Choices(seed));
    let sample: T = serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{schema:?} from {json:#}: {error}"));
    same_names(&format!("{schema:?}"), &json, &serde_json::to_value(&sample).unwrap());
    sample
}

/// Every field of the schema is one of the struct and the other way round, at every level.
fn same_names(path: &str, schema: &Value, model: &Value) {
    match (schema, model) {
        (Value::Object(schema), Value::Object(model)) => {
            let names =
                |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(names(schema), names(model), "{path}: schema on the left, model on the right");
            for (name, value) in schema {
                same_names(&format!("{path}.{name}"), value, &model[name]);
            }
        }
        (Value::Array(schema), Value::Array(model)) => {
            assert_eq!(schema.len(), model.len(), "{path}");
            schema.iter().zip(model).for_each(|(schema, model)| same_names(path, schema, model));
        }
        _ => assert_eq!(schema.is_null(), model.is_null(), "{path}"),
    }
}

fn comes_back<T: Wire + PartialEq + Debug>(fill: Fill, seed: u64) {
    let sample: T = sample(T::SCHEMA, fill, seed);
    let bytes = writer().encode(&sample).unwrap_or_else(|error| panic!("{sample:#?}: {error}"));
    let back: T = reader().decode(&bytes).unwrap_or_else(|error| panic!("{sample:#?}: {error}"));
    assert_eq!(back, sample);
}

fn versioned_come_back<R: DeserializeOwned + Serialize>(domain: Domain, data: fn(Box<R>) -> Data, fill: Fill, seed: u64) {
    let half: Versioned<ChangeMeta, R> = sample(Schema::change(domain), fill, seed);
    let change = Change { meta: half.meta, data: half.data.map(|record| data(Box::new(record))) };
    let bytes = writer().encode_change(domain, &change).unwrap_or_else(|error| panic!("{change:#?}: {error}"));
    assert_eq!(reader().decode_change(domain, &bytes).unwrap(), change);

    let half: Versioned<GoldenMeta, R> = sample(Schema::golden(domain), fill, seed);
    let golden = Golden { meta: half.meta, data: half.data.map(|record| data(Box::new(record))) };
    let bytes = writer().encode_golden(domain, &golden).unwrap_or_else(|error| panic!("{golden:#?}: {error}"));
    assert_eq!(reader().decode_golden_meta(domain, &bytes).unwrap(), (golden.meta.clone(), golden.data.is_some()));
    assert_eq!(reader().decode_golden(domain, &bytes).unwrap(), golden);
}

fn all_come_back(fill: Fill, seed: u64) {
    versioned_come_back::<Customer>(Domain::Customer, Data::Customer, fill, seed);
    versioned_come_back::<Item>(Domain::Item, Data::Item, fill, seed);
    versioned_come_back::<WorkCenter>(Domain::WorkCenter, Data::WorkCenter, fill, seed);
    versioned_come_back::<Reference>(Domain::Reference, Data::Reference, fill, seed);
    comes_back::<Held>(fill, seed);
    comes_back::<FindingReport>(fill, seed);
    comes_back::<Receipt>(fill, seed);
    comes_back::<Ledger>(fill, seed);
    comes_back::<DestinationStatus>(fill, seed);
    comes_back::<SourceStatus>(fill, seed);
    comes_back::<Command>(fill, seed);
    comes_back::<DeadLetter>(fill, seed);
    comes_back::<LetterStatus>(fill, seed);
    comes_back::<Plan>(fill, seed);
    comes_back::<Cursor>(fill, seed);
    comes_back::<AuditEntry>(fill, seed);
}

#[test]
fn every_record_with_all_fields_set_comes_back() {
    all_come_back(Fill::All, 1);
}

#[test]
fn every_record_with_nothing_but_defaults_comes_back() {
    all_come_back(Fill::Nothing, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_record_at_random_comes_back(seed: u64) {
        all_come_back(Fill::Some, seed);
    }
}

#[test]
fn a_symbol_of_a_newer_build_reads_as_unknown() {
    let text = Schema::DestinationStatus.text().replace("\"RESYNCING\"", "\"RESYNCING\", \"DREAMING\"");
    let reader = Reader::default();
    reader.learn(1, Schema::DestinationStatus.text());
    reader.learn(2, &text);
    let sample: DestinationStatus = sample(Schema::DestinationStatus, Fill::All, 3);
    let mut bytes = writer_of(Schema::DestinationStatus, 2).encode(&sample).unwrap();
    // The state's discriminant is the last of five symbols: zig-zag 4 = 8; the newer build writes the sixth.
    let known = symbol_position(&bytes, &sample);
    bytes[known] = 10;
    let back: DestinationStatus = reader.decode(&bytes).unwrap();
    assert_eq!(back.state, model::DestinationState::Unknown);
    assert_eq!(back.destination, sample.destination);
}

fn writer_of(schema: Schema, id: i32) -> Writer {
    Writer::new([(schema, id)].into())
}

/// Where the one byte of `state` lies: the only one that changes with it.
fn symbol_position(bytes: &[u8], sample: &DestinationStatus) -> usize {
    let mut other = sample.clone();
    other.state = model::DestinationState::Ok;
    let changed = writer_of(Schema::DestinationStatus, 2).encode(&other).unwrap();
    bytes.iter().zip(&changed).position(|(left, right)| left != right).unwrap()
}

#[test]
fn a_newer_schemas_extra_field_is_skipped_and_an_older_ones_missing_field_is_its_default() {
    let extra = Schema::Cursor.text().replacen(
        "\"fields\": [",
        "\"fields\": [{\"name\": \"novelty\", \"type\": [\"null\", \"string\"], \"default\": null, \"doc\": \"new\"},",
        1,
    );
    let reader = Reader::default();
    reader.learn(7, &extra);
    let sample: Cursor = sample(Schema::Cursor, Fill::All, 5);
    let mut bytes = writer_of(Schema::Cursor, 7).encode(&sample).unwrap();
    // Branch 1 of the union, then a string of one byte.
    bytes.splice(5..5, [2, 2, b'x']);
    assert_eq!(reader.decode::<Cursor>(&bytes).unwrap(), sample);

    let older = r#"{"type": "record", "namespace": "mdm.v1", "name": "Cursor", "fields": [{"name": "epoch", "type": "long", "default": 0}]}"#;
    reader.learn(8, older);
    let back: Cursor = reader.decode(&[0, 0, 0, 0, 8, 6]).unwrap();
    assert_eq!(back, Cursor { position: None, sent: None, epoch: 3 });
}

#[test]
fn data_of_another_domain_is_not_written() {
    let half: Versioned<ChangeMeta, Item> = sample(Schema::ItemChange, Fill::All, 1);
    let change = Change { meta: half.meta, data: half.data.map(|item| Data::Item(Box::new(item))) };
    assert!(writer().encode_change(Domain::Customer, &change).is_err());
}
