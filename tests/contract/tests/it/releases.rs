//! Released versions: frozen, compatible in both directions, readable for ever.

use std::{collections::BTreeMap, fs};

use apache_avro::{reader::datum::GenericDatumReader, schema_compatibility::SchemaCompatibility};
use avro::{Reader, Schema, Wire};
use contract::{
    SAMPLES, SUMS,
    arbitrary::Fill,
    avro_folder, releases,
    sample::{ID, sample},
    sums,
};
use data_encoding::HEXLOWER;
use model::{
    AuditEntry, Command, Cursor, DeadLetter, DestinationStatus, Domain, FindingReport, Held, Ledger, LetterStatus, Plan, Receipt,
    SourceStatus,
};
use serde_json::Value;

#[test]
fn what_is_released_is_never_edited() {
    let releases = releases().unwrap();
    assert!(releases.contains_key(&1), "the first release is there");
    for (number, folder) in releases {
        let frozen = fs::read_to_string(folder.join(SUMS)).unwrap();
        assert_eq!(
            sums(&folder).unwrap(),
            frozen,
            "avro/released/{number} was edited; released schemas never change, make a new release"
        );
    }
}

/// Every version of a schema that exists: released ones, and today's.
fn versions(schema: Schema) -> BTreeMap<String, apache_avro::Schema> {
    let mut texts: BTreeMap<String, String> = releases()
        .unwrap()
        .into_iter()
        .filter_map(|(number, folder)| Some((number.to_string(), fs::read_to_string(folder.join(schema.file())).ok()?)))
        .collect();
    texts.insert("today".to_owned(), schema.text().to_owned());
    texts.into_iter().map(|(version, text)| (version, apache_avro::Schema::parse_str(&text).unwrap())).collect()
}

/// Schemas that came after the newest release.
const NEW: [Schema; 1] = [Schema::SourceStatus];

#[test]
fn every_version_reads_every_other_one() {
    for schema in Schema::ALL {
        let versions = versions(*schema);
        let is_new = versions.len() == 1;
        assert_eq!(is_new, NEW.contains(schema), "{schema:?} is in no release, or is not new any more");
        for (writer, written) in &versions {
            for (reader, reading) in &versions {
                SchemaCompatibility::can_read(written, reading)
                    .unwrap_or_else(|error| panic!("{}: {reader} cannot read {writer}: {error}", schema.file()));
            }
        }
    }
}

#[test]
fn the_embedded_schemas_are_those_of_the_folder() {
    for schema in Schema::ALL {
        assert_eq!(fs::read_to_string(avro_folder().join(schema.file())).unwrap(), schema.text());
    }
}

fn read(reader: &Reader, schema: Schema, bytes: &[u8]) -> Value {
    fn one<T: Wire>(reader: &Reader, bytes: &[u8]) -> Value {
        serde_json::to_value(reader.decode::<T>(bytes).unwrap_or_else(|error| panic!("{:?}: {error}", T::SCHEMA))).unwrap()
    }
    for domain in Domain::ALL {
        if schema == Schema::change(domain) {
            return serde_json::to_value(reader.decode_change(domain, bytes).unwrap()).unwrap();
        }
        if schema == Schema::golden(domain) {
            return serde_json::to_value(reader.decode_golden(domain, bytes).unwrap()).unwrap();
        }
    }
    match schema {
        Schema::Held => one::<Held>(reader, bytes),
        Schema::FindingReport => one::<FindingReport>(reader, bytes),
        Schema::Receipt => one::<Receipt>(reader, bytes),
        Schema::Ledger => one::<Ledger>(reader, bytes),
        Schema::DestinationStatus => one::<DestinationStatus>(reader, bytes),
        Schema::SourceStatus => one::<SourceStatus>(reader, bytes),
        Schema::Command => one::<Command>(reader, bytes),
        Schema::DeadLetter => one::<DeadLetter>(reader, bytes),
        Schema::LetterStatus => one::<LetterStatus>(reader, bytes),
        Schema::Plan => one::<Plan>(reader, bytes),
        Schema::Cursor => one::<Cursor>(reader, bytes),
        Schema::AuditEntry => one::<AuditEntry>(reader, bytes),
        other => panic!("{other:?} belongs to a domain"),
    }
}

/// What was written is still there: fields may have come, none may have gone or changed.
fn still_there(path: &str, was: &Value, now: &Value) {
    match (was, now) {
        (Value::Object(was), Value::Object(now)) => {
            for (name, value) in was {
                still_there(&format!("{path}.{name}"), value, now.get(name).unwrap_or_else(|| panic!("{path}.{name} is gone")));
            }
        }
        (Value::Array(was), Value::Array(now)) => {
            assert_eq!(was.len(), now.len(), "{path}");
            was.iter().zip(now).for_each(|(was, now)| still_there(path, was, now));
        }
        _ => assert_eq!(was, now, "{path}"),
    }
}

#[test]
fn todays_code_reads_every_released_record() {
    for (number, folder) in releases().unwrap() {
        let samples: Value = serde_json::from_str(&fs::read_to_string(folder.join(SAMPLES)).unwrap()).unwrap();
        for schema in Schema::ALL {
            let Some(all) = samples[schema.file()].as_array() else { continue };
            let reader = Reader::default();
            reader.learn(ID, &fs::read_to_string(folder.join(schema.file())).unwrap());
            for sample in all {
                let bytes = HEXLOWER.decode(sample["bytes"].as_str().unwrap().as_bytes()).unwrap();
                still_there(&format!("{number}/{}", schema.file()), &sample["record"], &read(&reader, *schema, &bytes));
            }
        }
    }
}

#[test]
fn a_stock_reader_reads_what_we_write_to_the_last_byte() {
    for schema in Schema::ALL {
        let parsed = apache_avro::Schema::parse_str(schema.text()).unwrap();
        let reader = GenericDatumReader::builder(&parsed).build().unwrap();
        for fill in [Fill::All, Fill::Nothing] {
            let (_, bytes) = sample(*schema, fill);
            let mut rest = &bytes[5..];
            reader.read_value(&mut rest).unwrap_or_else(|error| panic!("{schema:?}: {error}"));
            assert!(rest.is_empty(), "{schema:?}: {} bytes left", rest.len());
        }
    }
}
