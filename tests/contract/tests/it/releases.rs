//! Released versions: frozen, compatible in both directions, readable for ever.

use std::{collections::BTreeMap, fs, path::Path};

use apache_avro::{reader::datum::GenericDatumReader, schema_compatibility::SchemaCompatibility};
use avro::{Reader, Schema, Wire, Writer, fields};
use contract::{avro_folder, releases};
use data_encoding::HEXLOWER;
use model::{
    AuditEntry, Change, ChangeMeta, Command, Cursor, Customer, Data, DeadLetter, DestinationStatus, Domain, FindingReport,
    Golden, GoldenMeta, Held, Item, Ledger, LetterStatus, Plan, Receipt, Reference, WorkCenter, data::Versioned,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::arbitrary::{Choices, Fill, record};

const SUMS: &str = "SHA256SUMS";
const SAMPLES: &str = "samples.json";
const ID: i32 = 7;

fn sums(folder: &Path) -> String {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .filter(|path| path.file_name().unwrap() != SUMS)
        .map(|path| {
            format!("{}  {}\n", HEXLOWER.encode(&Sha256::digest(fs::read(path).unwrap())), path.file_name().unwrap().display())
        })
        .collect()
}

#[test]
fn what_is_released_is_never_edited() {
    let releases = releases().unwrap();
    assert!(releases.contains_key(&1), "the first release is there");
    for (number, folder) in releases {
        let frozen = fs::read_to_string(folder.join(SUMS)).unwrap();
        assert_eq!(sums(&folder), frozen, "avro/released/{number} was edited; released schemas never change, make a new release");
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

#[test]
fn every_version_reads_every_other_one() {
    for schema in Schema::ALL {
        let versions = versions(*schema);
        assert!(versions.len() >= 2, "{schema:?} is in no release");
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

fn generated<T: DeserializeOwned>(schema: Schema, fill: Fill) -> T {
    let tree = fields::tree(&serde_json::from_str(schema.text()).unwrap());
    serde_json::from_value(record(&tree, fill, &mut Choices(1))).unwrap()
}

fn plain<T: Wire>(fill: Fill) -> (Value, Vec<u8>) {
    let sample: T = generated(T::SCHEMA, fill);
    let bytes = Writer::new([(T::SCHEMA, ID)].into()).encode(&sample).unwrap();
    (serde_json::to_value(&sample).unwrap(), bytes)
}

fn of_domain<R: DeserializeOwned + Serialize>(
    domain: Domain,
    is_change: bool,
    data: fn(Box<R>) -> Data,
    fill: Fill,
) -> (Value, Vec<u8>) {
    if is_change {
        let half: Versioned<ChangeMeta, R> = generated(Schema::change(domain), fill);
        let change = Change { meta: half.meta, data: half.data.map(|record| data(Box::new(record))) };
        let bytes = Writer::new([(Schema::change(domain), ID)].into()).encode_change(domain, &change).unwrap();
        (serde_json::to_value(&change).unwrap(), bytes)
    } else {
        let half: Versioned<GoldenMeta, R> = generated(Schema::golden(domain), fill);
        let golden = Golden { meta: half.meta, data: half.data.map(|record| data(Box::new(record))) };
        let bytes = Writer::new([(Schema::golden(domain), ID)].into()).encode_golden(domain, &golden).unwrap();
        (serde_json::to_value(&golden).unwrap(), bytes)
    }
}

/// A sample of a schema as JSON and as framed bytes.
fn sample(schema: Schema, fill: Fill) -> (Value, Vec<u8>) {
    match schema {
        Schema::CustomerChange => of_domain::<Customer>(Domain::Customer, true, Data::Customer, fill),
        Schema::ItemChange => of_domain::<Item>(Domain::Item, true, Data::Item, fill),
        Schema::WorkCenterChange => of_domain::<WorkCenter>(Domain::WorkCenter, true, Data::WorkCenter, fill),
        Schema::ReferenceChange => of_domain::<Reference>(Domain::Reference, true, Data::Reference, fill),
        Schema::CustomerGolden => of_domain::<Customer>(Domain::Customer, false, Data::Customer, fill),
        Schema::ItemGolden => of_domain::<Item>(Domain::Item, false, Data::Item, fill),
        Schema::WorkCenterGolden => of_domain::<WorkCenter>(Domain::WorkCenter, false, Data::WorkCenter, fill),
        Schema::ReferenceGolden => of_domain::<Reference>(Domain::Reference, false, Data::Reference, fill),
        Schema::Held => plain::<Held>(fill),
        Schema::FindingReport => plain::<FindingReport>(fill),
        Schema::Receipt => plain::<Receipt>(fill),
        Schema::Ledger => plain::<Ledger>(fill),
        Schema::DestinationStatus => plain::<DestinationStatus>(fill),
        Schema::Command => plain::<Command>(fill),
        Schema::DeadLetter => plain::<DeadLetter>(fill),
        Schema::LetterStatus => plain::<LetterStatus>(fill),
        Schema::Plan => plain::<Plan>(fill),
        Schema::Cursor => plain::<Cursor>(fill),
        Schema::AuditEntry => plain::<AuditEntry>(fill),
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

/// Not a check: writes `avro/released/<n>`. Refuses to touch a release that exists.
#[test]
#[ignore = "freezes a release; see the crate's documentation"]
fn freeze() {
    let number = std::env::var("MILLRACE_RELEASE").expect("MILLRACE_RELEASE names the release");
    let folder = avro_folder().join("released").join(&number);
    assert!(!folder.exists(), "release {number} exists; released schemas never change");
    fs::create_dir_all(&folder).unwrap();
    let mut samples = serde_json::Map::new();
    for schema in Schema::ALL {
        fs::write(folder.join(schema.file()), schema.text()).unwrap();
        let all = [Fill::All, Fill::Nothing].map(|fill| {
            let (record, bytes) = sample(*schema, fill);
            json!({"record": record, "bytes": HEXLOWER.encode(&bytes)})
        });
        samples.insert(schema.file().to_owned(), json!(all));
    }
    fs::copy(avro_folder().join("topics.yaml"), folder.join("topics.yaml")).unwrap();
    fs::write(folder.join(SAMPLES), serde_json::to_string_pretty(&samples).unwrap() + "\n").unwrap();
    fs::write(folder.join(SUMS), sums(&folder)).unwrap();
    eprintln!("frozen: {}", folder.display());
}
