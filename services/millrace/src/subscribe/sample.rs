//! `millrace subscribe sample`: records as a subscriber meets them, decoded and as the bytes on the topic.

use std::path::PathBuf;

use model::{Customer, Data, Domain, GoldenMeta, Item, Operation, Reference, WorkCenter, data::Versioned};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Golden, Written, consumers, consumers::Language, docs, write};
use crate::{
    exit::{Done, Failure, Outcome},
    options::{Global, now},
    output::{List, Sight, text},
    words,
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  millrace subscribe sample --topic mdm.golden.item -o json
  millrace subscribe sample --topic mdm.golden.item --language python --out start")]
pub(crate) struct Args {
    /// Golden topic
    #[arg(long, value_name = "TOPIC")]
    topic: String,

    /// Also a consumer in this language
    #[arg(long, value_enum, requires = "out")]
    language: Option<Language>,

    /// Folder to write to; without one the samples are shown
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// One record of a topic.
struct Sample {
    name: &'static str,
    what: &'static str,
    key: String,
    headers: Vec<(String, Vec<u8>)>,
    /// Release of its schema, which is also the schema id in its bytes.
    release: u32,
    /// None is the tombstone.
    value: Option<(Value, Vec<u8>)>,
}

impl Args {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let golden = Golden::named(&self.topic)?;
        let (samples, schemas) = samples(&golden).map_err(|detail| Failure::failed(format!("making the samples: {detail}")))?;
        let out = global.output();
        let sight = Sight { now: now() };
        let Some(folder) = &self.out else {
            let items: Vec<Value> = samples.iter().map(|sample| sample.json(&golden, true)).collect();
            let columns = &[
                crate::output::Column::new("SAMPLE", |row: &Value, _: &Sight| text(row, "name")),
                crate::output::Column::new("KEY", |row, _| text(row, "key")),
                crate::output::Column::new("REVISION", |row, _| text(row, "value.meta.revision")).right(),
                crate::output::Column::new("WHAT", |row, _| text(row, "what")),
                crate::output::Column::new("BYTES", |row, _| text(row, "bytes")).wide(),
            ];
            out.list(&List { items: &items, columns, name: |row| text(row, "name"), next: None, sight })?;
            out.hint(&format!("Whole records: -o json. As files, with a consumer: --language python --out {}", golden.name()));
            return Ok(Done::Yes);
        };
        let mut files: Vec<Written> = samples.iter().flat_map(|sample| sample.files(&golden)).collect();
        for (release, schema) in schemas {
            files.push(Written::new(format!("{}.{release}.avsc", golden.name()), schema, "schema of the samples with that id"));
        }
        files.extend(self.language.into_iter().flat_map(consumers::files));
        if !global.dry_run {
            write(folder, &files)?;
        }
        let items: Vec<Value> = files.iter().map(|file| json!({ "file": file.path, "what": file.what })).collect();
        out.list(&List { items: &items, columns: docs::COLUMNS, name: |row| text(row, "file"), next: None, sight })?;
        let count = words::count(i64::try_from(files.len()).unwrap_or(i64::MAX), "file");
        let verb = if global.dry_run { "would be written" } else { "written" };
        out.hint(&format!("{count} {verb} to {}.", folder.display()));
        Ok(Done::Yes)
    }
}

impl Sample {
    fn json(&self, golden: &Golden, with_bytes: bool) -> Value {
        let headers: serde_json::Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), json!(String::from_utf8_lossy(value)))).collect();
        let mut item = json!({
            "name": self.name, "what": self.what, "topic": golden.name(), "key": self.key, "headers": headers,
            "schema_id": self.value.as_ref().map(|_| self.release), "value": self.value.as_ref().map(|(value, _)| value),
        });
        if with_bytes {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            item["bytes"] = json!(self.value.as_ref().map(|(_, bytes)| hex(bytes)));
        }
        item
    }

    fn files(&self, golden: &Golden) -> Vec<Written> {
        let text = serde_json::to_string_pretty(&self.json(golden, false)).expect("a JSON value is JSON") + "\n";
        let mut files = vec![Written::new(format!("{}.json", self.name), text, self.what)];
        if let Some((_, bytes)) = &self.value {
            files.push(Written::new(format!("{}.bin", self.name), bytes.clone(), "the same, as it lies on the topic"));
        }
        files
    }
}

fn usual(domain: Domain) -> &'static str {
    match domain {
        Domain::Customer => include_str!("../../../../avro/samples/golden.customer.json"),
        Domain::Item => include_str!("../../../../avro/samples/golden.item.json"),
        Domain::WorkCenter => include_str!("../../../../avro/samples/golden.work_center.json"),
        Domain::Reference => include_str!("../../../../avro/samples/golden.reference.json"),
    }
}

/// Text of a schema by its release.
type Schemas = Vec<(u32, &'static str)>;

fn samples(golden: &Golden) -> Result<(Vec<Sample>, Schemas), String> {
    let (schema, domain) = (golden.schema(), golden.domain);
    let mut schemas: Schemas = avro::released(schema).into_iter().map(|release| (release.number, release.text)).collect();
    let newest = schemas.last().map_or(0, |(number, _)| *number);
    if schemas.last().is_none_or(|(_, text)| *text != schema.text()) {
        schemas.push((newest + 1, schema.text()));
    }
    let (today, oldest) = (schemas[schemas.len() - 1], schemas[0]);
    let writer = avro::Writer::new([(schema, id(today.0))].into());
    let record = record(domain, usual(domain))?;
    let key = record.data.as_ref().ok_or("a sample has data")?.key().map_err(|error| error.to_string())?;
    let sample = |name, what, record: &model::Golden| -> Result<Sample, String> {
        let bytes = writer.encode_golden(domain, record).map_err(|error| error.to_string())?;
        let headers = avro::headers::golden(record, domain, &key, avro::headers::correlated(&record.meta));
        let value = serde_json::to_value(record).map_err(|error| error.to_string())?;
        Ok(Sample { name, what, key: key.to_string(), headers, release: today.0, value: Some((value, bytes)) })
    };
    let mut old = sample("oldest-schema", "written with the oldest released schema, decoded with today's", &record)?;
    if let Some((value, bytes)) = &mut old.value {
        *bytes = avro::written_with(oldest.1, schema, bytes, id(oldest.0))?;
        let reader = avro::Reader::default();
        reader.learn(id(oldest.0), oldest.1);
        let read = reader.decode_golden(domain, bytes).map_err(|error| error.to_string())?;
        *value = serde_json::to_value(read).map_err(|error| error.to_string())?;
    }
    old.release = oldest.0;
    let samples = vec![
        sample("usual", "a record as it usually is", &record)?,
        sample("optional-missing", "every optional field is missing", &bare(domain, &record)?)?,
        old,
        sample("delete", "the record is deleted: data is null, the revision goes on", &deleted(&record))?,
        Sample {
            name: "tombstone",
            what: "clean-up of the delete, when every destination has it: no value at all",
            key: key.to_string(),
            headers: Vec::new(),
            release: today.0,
            value: None,
        },
    ];
    Ok((samples, schemas))
}

/// Samples are framed with the number of their release: real ids are a registry's own.
fn id(release: u32) -> i32 {
    i32::try_from(release).unwrap_or(i32::MAX)
}

fn record(domain: Domain, text: &str) -> Result<model::Golden, String> {
    fn of<R: DeserializeOwned>(text: &str, data: fn(Box<R>) -> Data) -> Result<model::Golden, String> {
        let record: Versioned<GoldenMeta, R> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Ok(model::Golden { meta: record.meta, data: record.data.map(|record| data(Box::new(record))) })
    }
    match domain {
        Domain::Customer => of::<Customer>(text, Data::Customer),
        Domain::Item => of::<Item>(text, Data::Item),
        Domain::WorkCenter => of::<WorkCenter>(text, Data::WorkCenter),
        Domain::Reference => of::<Reference>(text, Data::Reference),
    }
}

/// The same record with nothing but what must be there.
fn bare(domain: Domain, record: &model::Golden) -> Result<model::Golden, String> {
    let whole = serde_json::to_value(record).map_err(|error| error.to_string())?;
    let only = |part: &str, fields: &[&str]| -> Value {
        fields.iter().map(|field| ((*field).to_owned(), whole[part][field].clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let meta = ["revision", "change_id", "operation", "policy_version", "owner", "occurred_at", "accepted_at", "correlation_id"];
    let text = json!({ "meta": only("meta", &meta), "data": only("data", domain.key_fields()) }).to_string();
    self::record(domain, &text)
}

fn deleted(record: &model::Golden) -> model::Golden {
    let mut meta = record.meta.clone();
    meta.revision += 1;
    meta.operation = Operation::Delete;
    model::Golden { meta, data: None }
}

#[cfg(test)]
mod tests {
    use avro::Reader;
    use model::RecordKey;

    use super::*;

    #[test]
    fn every_sample_is_read_back_from_its_bytes_as_what_it_says() {
        for domain in Domain::ALL {
            let golden = Golden::named(&format!("mdm.golden.{domain}")).unwrap();
            let (samples, schemas) = samples(&golden).unwrap();
            let names: Vec<_> = samples.iter().map(|sample| sample.name).collect();
            assert_eq!(names, ["usual", "optional-missing", "oldest-schema", "delete", "tombstone"]);
            let reader = Reader::default();
            schemas.iter().for_each(|(number, text)| reader.learn(id(*number), text));
            for sample in &samples {
                RecordKey::parse(domain, &sample.key).unwrap();
                let Some((value, bytes)) = &sample.value else { continue };
                let read = reader.decode_golden(domain, bytes).unwrap();
                assert_eq!(serde_json::to_value(&read).unwrap(), *value, "{domain} {}", sample.name);
                assert_eq!(avro::schema_id(bytes).unwrap(), id(sample.release));
            }
            assert_eq!(samples[0].value.as_ref().unwrap().0, serde_json::from_str::<Value>(usual(domain)).unwrap(), "{domain}");
            let bare = &samples[1].value.as_ref().unwrap().0["data"];
            let filled = bare.as_object().unwrap().iter().filter(|(_, value)| !is_empty(value)).map(|(name, _)| name.as_str());
            let mut keys = domain.key_fields().to_vec();
            keys.sort_unstable();
            assert_eq!(filled.collect::<Vec<_>>(), keys, "{domain}: only the key is there");
            assert_eq!(samples[3].value.as_ref().unwrap().0["data"], Value::Null);
        }
    }

    fn is_empty(value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text == "UNKNOWN",
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            Value::Number(number) => number.as_i64() == Some(0),
            Value::Bool(true) => false,
        }
    }
}
