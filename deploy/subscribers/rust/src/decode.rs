//! Confluent framing: byte 0, schema id in four bytes, Avro. An id never changes its meaning, so each is asked for once.

use std::{collections::HashMap, env, fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use apache_avro::{
    Schema,
    reader::datum::GenericDatumReader,
    schema::{DecimalSchema, NamesRef, ResolvedSchema},
    types::Value,
};
use num_bigint::BigInt;
use schema_registry_converter::async_impl::{avro::AvroDecoder, schema_registry::SrSettings};
use serde_json::{Value as Json, json};

use crate::{need, text_of};

pub struct Decoder {
    registry: AvroDecoder,
    /// Your own copy of the schema; without one, records come as they were written.
    reader: Option<&'static Kind>,
    known: HashMap<u32, &'static Kind>,
}

/// A schema as it is, and with bytes for decimals: apache-avro 0.22 resolves no decimal, because it compares precision and bytes the
/// wrong way round.
struct Kind {
    whole: Schema,
    physical: Schema,
}

impl Kind {
    /// There are a few schemas for the life of the process: they stay.
    fn of(text: &str) -> Result<&'static Self> {
        let mut json = serde_json::from_str(text)?;
        let whole = Schema::parse(&json)?;
        without_decimals(&mut json);
        Ok(Box::leak(Box::new(Self { whole, physical: Schema::parse(&json)? })))
    }
}

fn without_decimals(node: &mut Json) {
    match node {
        Json::Object(object) if object.get("logicalType").is_some_and(|logical| logical == "decimal") => *node = json!("bytes"),
        Json::Object(object) => {
            object.iter_mut().filter(|(name, _)| *name != "default").for_each(|(_, inner)| without_decimals(inner));
        }
        Json::Array(items) => items.iter_mut().for_each(without_decimals),
        _ => {}
    }
}

impl Decoder {
    pub fn new() -> Result<Self> {
        let mut settings = SrSettings::new_builder(need("REGISTRY")?);
        settings.set_timeout(Duration::from_secs(10));
        if let Ok(user) = env::var("REGISTRY_USERNAME") {
            settings.set_basic_authorization(&user, Some(&text_of("REGISTRY_PASSWORD_FILE")?));
        }
        let mut client = reqwest::Client::builder();
        if let Ok(file) = env::var("REGISTRY_CA_FILE") {
            let text = fs::read(&file).with_context(|| format!("reading {file}"))?;
            client = client.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&text)?);
        }
        let reader = env::var("READER_SCHEMA").is_ok().then(|| text_of("READER_SCHEMA")).transpose()?;
        let reader = reader.map(|text| Kind::of(&text)).transpose().context("reading READER_SCHEMA")?;
        Ok(Self { registry: AvroDecoder::new(settings.build_with(client)?), reader, known: HashMap::new() })
    }

    /// As JSON; numbers that JSON would round are text.
    pub async fn decode(&mut self, framed: &[u8]) -> Result<Json> {
        let [0, a, b, c, d, datum @ ..] = framed else { bail!("the value is not framed as the registry's clients do it") };
        let id = u32::from_be_bytes([*a, *b, *c, *d]);
        let writer = match self.known.get(&id) {
            Some(writer) => *writer,
            None => {
                let found = self.registry.get_schema(id).await.with_context(|| format!("asking the registry for schema {id}"))?;
                let writer = Kind::of(&found.raw)?;
                self.known.insert(id, writer);
                writer
            }
        };
        let reader = self.reader.unwrap_or(writer);
        let value =
            GenericDatumReader::builder(&writer.physical).reader_schema(&reader.physical).build()?.read_value(&mut &datum[..])?;
        plain(value, &reader.whole, ResolvedSchema::try_from(&reader.whole)?.get_names())
    }
}

/// A value knows its kind but not its scale: the schema walks along.
fn plain(value: Value, schema: &Schema, names: &NamesRef<'_>) -> Result<Json> {
    Ok(match (value, schema) {
        (value, Schema::Ref { name }) => plain(value, names.get(name).context("a schema names only its own types")?, names)?,
        (Value::Union(branch, value), Schema::Union(union)) => {
            let branch = union.variants().get(usize::try_from(branch)?).context("a union has the branch")?;
            plain(*value, branch, names)?
        }
        (Value::Record(fields), Schema::Record(record)) => {
            let mut object = serde_json::Map::new();
            for ((name, value), field) in fields.into_iter().zip(&record.fields) {
                object.insert(name, plain(value, &field.schema, names)?);
            }
            Json::Object(object)
        }
        (Value::Array(items), Schema::Array(array)) => {
            Json::Array(items.into_iter().map(|item| plain(item, &array.items, names)).collect::<Result<_>>()?)
        }
        (Value::Map(entries), Schema::Map(map)) => {
            let entries = entries.into_iter().map(|(name, value)| Ok((name, plain(value, &map.types, names)?)));
            Json::Object(entries.collect::<Result<_>>()?)
        }
        (Value::Bytes(number), Schema::Decimal(DecimalSchema { scale, .. })) => json!(shown(&number, *scale)),
        (Value::Null, _) => Json::Null,
        (Value::Boolean(truth), _) => json!(truth),
        (Value::Int(number), _) => json!(number),
        (Value::Long(number), _) => json!(number),
        (Value::String(text) | Value::Enum(_, text), _) => json!(text),
        (Value::Uuid(uuid), _) => json!(uuid.to_string()),
        (Value::Date(days), _) => json!((jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(days)).to_string()),
        (Value::TimestampMicros(micros), _) => json!(format!("{:.6}", jiff::Timestamp::from_microsecond(micros)?)),
        (other, schema) => bail!("{other:?} under {schema:?}: a kind of value that golden records do not have"),
    })
}

fn shown(number: &[u8], scale: usize) -> String {
    let unscaled = BigInt::from_signed_bytes_be(number).to_string();
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", &*unscaled), |digits| ("-", digits));
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}
