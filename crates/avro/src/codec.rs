//! Confluent framing around Avro datums: magic byte 0, schema id (four bytes, big endian), datum.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock, RwLock},
};

use model::{
    AuditEntry, Change, ChangeMeta, Command, Cursor, Customer, Data, DeadLetter, DestinationStatus, Domain, FindingReport,
    Golden, GoldenMeta, Held, Item, Ledger, LetterStatus, Plan, Receipt, Reference, SourceStatus, WorkCenter, data::Versioned,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_avro_fast::{
    de::{DeserializerConfig, DeserializerState, read::SliceRead},
    ser::{SerializerConfig, SerializerState},
};
use serde_json::Value;

use crate::{Schema, binary::Binary, code};

const HEADER: usize = 5;
/// Ids that a reader remembers before it forgets those that nobody knows.
const MOST_KNOWN: usize = 10_000;

/// A record with one schema. Changes and golden records have one per domain and their own methods.
pub trait Wire: Serialize + DeserializeOwned {
    const SCHEMA: Schema;
}

macro_rules! wire {
    ($($record:ident),* $(,)?) => {
        $(impl Wire for $record {
            const SCHEMA: Schema = Schema::$record;
        })*
    };
}

wire!(
    Held,
    FindingReport,
    Receipt,
    Ledger,
    DestinationStatus,
    Command,
    DeadLetter,
    LetterStatus,
    Plan,
    SourceStatus,
    Cursor,
    AuditEntry
);

/// Encoding went wrong: always our own fault, never the record's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no schema id is known for `{}`", .0.file())]
    NoId(Schema),
    #[error("encoding a record of `{}`: {detail}", .schema.file())]
    Encode { schema: Schema, detail: String },
}

/// Why bytes were not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Ask the registry for this id, [`Reader::learn`] it, decode again.
    #[error("schema {0} is not known yet")]
    NeedSchema(i32),
    /// No retry helps: a dead letter with this code.
    #[error("{code}: {message}")]
    Unreadable { code: &'static str, message: String },
}

fn unreadable(code: &'static str, message: impl Into<String>) -> DecodeError {
    DecodeError::Unreadable { code, message: message.into() }
}

/// Our own schemas, parsed once.
static OURS: LazyLock<HashMap<Schema, Arc<serde_avro_fast::Schema>>> = LazyLock::new(|| {
    Schema::ALL
        .iter()
        .map(|schema| {
            let parsed = physical(schema.text()).and_then(|(text, _)| text.parse().map_err(|error| format!("{error}")));
            (*schema, Arc::new(parsed.expect("embedded schemas are parsed by the tests of this crate")))
        })
        .collect()
});

/// The decimals of our own schemas, by (record, field).
static DECIMALS: LazyLock<BTreeMap<(String, String), Scale>> = LazyLock::new(|| {
    let mut all = BTreeMap::new();
    for schema in Schema::ALL {
        all.extend(physical(schema.text()).expect("embedded schemas are parsed by the tests of this crate").1);
    }
    all
});

/// (precision, scale)
pub(crate) type Scale = (u64, u64);
pub(crate) type Decimals = BTreeMap<(String, String), Scale>;

/// Rewrites a schema so that logical types are their physical ones: the model's own types read bytes and integers, and check what
/// the codec would round (a decimal's scale is compared here, by record and field).
pub(crate) fn physical(text: &str) -> Result<(String, Decimals), String> {
    fn walk(node: &mut Value, record: &str, field: &str, decimals: &mut Decimals) {
        match node {
            Value::Object(object) => {
                if object.get("logicalType").and_then(Value::as_str) == Some("decimal") {
                    let number = |name| object.get(name).and_then(Value::as_u64).unwrap_or(0);
                    decimals.insert((record.to_owned(), field.to_owned()), (number("precision"), number("scale")));
                }
                object.remove("logicalType");
                let name = object.get("name").and_then(Value::as_str).unwrap_or(record).to_owned();
                if let Some(Value::Array(fields)) = object.get_mut("fields") {
                    for child in fields {
                        let field = child.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                        if let Some(kind) = child.get_mut("type") {
                            walk(kind, &name, &field, decimals);
                        }
                    }
                }
                for inner in ["type", "items", "values"] {
                    if let Some(kind) = object.get_mut(inner) {
                        walk(kind, record, field, decimals);
                    }
                }
            }
            Value::Array(branches) => branches.iter_mut().for_each(|branch| walk(branch, record, field, decimals)),
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut decimals = BTreeMap::new();
    walk(&mut value, "", "", &mut decimals);
    Ok((value.to_string(), decimals))
}

/// Encodes records under the ids that the registry gave our schemas.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    ids: HashMap<Schema, i32>,
}

impl Writer {
    #[must_use]
    pub fn new(ids: HashMap<Schema, i32>) -> Self {
        Self { ids }
    }

    /// # Errors
    /// When the schema has no id here, or the value does not fit its schema.
    pub fn encode<T: Wire>(&self, record: &T) -> Result<Vec<u8>, Error> {
        self.frame(T::SCHEMA, record)
    }

    /// `domain` is named because a delete has no data to tell it.
    ///
    /// # Errors
    /// As [`Writer::encode`]; also when the data is of another domain.
    pub fn encode_change(&self, domain: Domain, change: &Change) -> Result<Vec<u8>, Error> {
        self.versioned(Schema::change(domain), domain, change.data.as_ref(), change)
    }

    /// # Errors
    /// As [`Writer::encode_change`].
    pub fn encode_golden(&self, domain: Domain, golden: &Golden) -> Result<Vec<u8>, Error> {
        self.versioned(Schema::golden(domain), domain, golden.data.as_ref(), golden)
    }

    /// Lets the reader know what this writer writes.
    pub fn teach(&self, reader: &Reader) {
        for (schema, id) in &self.ids {
            reader.learn(*id, schema.text());
        }
    }

    fn versioned(&self, schema: Schema, domain: Domain, data: Option<&Data>, record: &impl Serialize) -> Result<Vec<u8>, Error> {
        match data {
            Some(data) if data.domain() != domain => {
                Err(Error::Encode { schema, detail: format!("the data is a {}", data.domain()) })
            }
            _ => self.frame(schema, record),
        }
    }

    fn frame(&self, schema: Schema, record: &impl Serialize) -> Result<Vec<u8>, Error> {
        let id = self.ids.get(&schema).ok_or(Error::NoId(schema))?;
        let mut bytes = Vec::with_capacity(512);
        bytes.push(0);
        bytes.extend_from_slice(&id.to_be_bytes());
        let mut config = SerializerConfig::new(&OURS[&schema]);
        let mut state = SerializerState::from_writer(bytes, &mut config);
        record.serialize(Binary(state.serializer())).map_err(|error| Error::Encode { schema, detail: error.to_string() })?;
        Ok(state.into_writer())
    }
}

/// Decodes records of any writer schema it has learned. Shared by reference between threads.
#[derive(Debug, Default)]
pub struct Reader {
    known: RwLock<HashMap<i32, Arc<Learned>>>,
}

/// A writer schema, or why there is none.
#[derive(Debug)]
enum Learned {
    Schema(WriterSchema),
    /// The registry's text is no schema of ours: for good.
    Unusable(String),
    /// The registry did not have it when it was asked: may be learned later.
    Unknown(String),
}

#[derive(Debug)]
struct WriterSchema {
    parsed: serde_avro_fast::Schema,
    /// `mdm.v1.ItemGolden`
    name: String,
}

impl Reader {
    /// Takes in what the registry answered for an id. A text that is no usable schema makes its records unreadable, with the reason.
    pub fn learn(&self, id: i32, schema_text: &str) {
        self.insert(id, understand(schema_text).map_or_else(Learned::Unusable, Learned::Schema));
    }

    /// Takes in that the registry has no such schema: its records are unreadable until it is learned after all.
    pub fn give_up(&self, id: i32, why: &str) {
        {
            let mut known = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            if known.len() >= MOST_KNOWN {
                // Whoever writes ids at random must not fill the memory; they are asked for again.
                known.retain(|_, learned| !matches!(**learned, Learned::Unknown(_)));
            }
        }
        self.insert(id, Learned::Unknown(why.to_owned()));
    }

    /// Whether a record of this id can be decoded, or is known to be unreadable: its schema, or that there is none.
    #[must_use]
    pub fn has_answer(&self, id: i32) -> bool {
        self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains_key(&id)
    }

    /// Whether the id needs no question to the registry any more.
    #[must_use]
    pub fn knows(&self, id: i32) -> bool {
        let known = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(&id).is_some_and(|learned| !matches!(**learned, Learned::Unknown(_)))
    }

    fn insert(&self, id: i32, learned: Learned) {
        self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id, Arc::new(learned));
    }

    /// # Errors
    /// [`DecodeError::NeedSchema`] for an id not learned yet; otherwise the record is unreadable for good.
    pub fn decode<T: Wire>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        self.datum(T::SCHEMA, bytes)
    }

    /// # Errors
    /// As [`Reader::decode`].
    pub fn decode_change(&self, domain: Domain, bytes: &[u8]) -> Result<Change, DecodeError> {
        let (meta, data) = self.versioned::<ChangeMeta>(Schema::change(domain), domain, bytes)?;
        Ok(Change { meta, data })
    }

    /// # Errors
    /// As [`Reader::decode`].
    pub fn decode_golden(&self, domain: Domain, bytes: &[u8]) -> Result<Golden, DecodeError> {
        let (meta, data) = self.versioned::<GoldenMeta>(Schema::golden(domain), domain, bytes)?;
        Ok(Golden { meta, data })
    }

    /// Only the meta of a golden record, and whether it has data: for readers that keep an index, at a fraction of the cost.
    ///
    /// # Errors
    /// As [`Reader::decode`].
    pub fn decode_golden_meta(&self, domain: Domain, bytes: &[u8]) -> Result<(GoldenMeta, bool), DecodeError> {
        let record: Versioned<GoldenMeta, serde::de::IgnoredAny> = self.datum(Schema::golden(domain), bytes)?;
        Ok((record.meta, record.data.is_some()))
    }

    fn versioned<Meta: DeserializeOwned>(
        &self,
        schema: Schema,
        domain: Domain,
        bytes: &[u8],
    ) -> Result<(Meta, Option<Data>), DecodeError> {
        Ok(match domain {
            Domain::Customer => {
                let record: Versioned<Meta, Customer> = self.datum(schema, bytes)?;
                (record.meta, record.data.map(|data| Data::Customer(Box::new(data))))
            }
            Domain::Item => {
                let record: Versioned<Meta, Item> = self.datum(schema, bytes)?;
                (record.meta, record.data.map(|data| Data::Item(Box::new(data))))
            }
            Domain::WorkCenter => {
                let record: Versioned<Meta, WorkCenter> = self.datum(schema, bytes)?;
                (record.meta, record.data.map(|data| Data::WorkCenter(Box::new(data))))
            }
            Domain::Reference => {
                let record: Versioned<Meta, Reference> = self.datum(schema, bytes)?;
                (record.meta, record.data.map(|data| Data::Reference(Box::new(data))))
            }
        })
    }

    fn datum<T: DeserializeOwned>(&self, schema: Schema, bytes: &[u8]) -> Result<T, DecodeError> {
        let id = schema_id(bytes)?;
        let learned = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&id).cloned();
        let learned = learned.ok_or(DecodeError::NeedSchema(id))?;
        let writer = match &*learned {
            Learned::Schema(writer) => writer,
            Learned::Unusable(why) => return Err(unreadable(code::SCHEMA, format!("schema {id}: {why}"))),
            Learned::Unknown(why) => return Err(unreadable(code::SCHEMA_UNKNOWN, format!("schema {id}: {why}"))),
        };
        let expected = format!("mdm.v1.{}", schema.record());
        if writer.name != expected {
            return Err(unreadable(
                code::SCHEMA,
                format!("schema {id} describes `{}`, this topic holds `{expected}`", writer.name),
            ));
        }
        let body = &bytes[HEADER..];
        let mut config = DeserializerConfig::new(&writer.parsed);
        // Every element takes a byte, so no honest sequence is longer than the datum; a hostile length ends here.
        config.max_seq_size = body.len();
        let mut state = DeserializerState::with_config(SliceRead::new(body), config);
        let record = T::deserialize(state.deserializer())
            .map_err(|error| unreadable(code::UNREADABLE, format!("datum of schema {id}: {error}")))?;
        match remaining(state.into_reader()) {
            0 => Ok(record),
            rest => Err(unreadable(code::UNREADABLE, format!("{rest} bytes follow the datum of schema {id}"))),
        }
    }
}

fn remaining(mut reader: SliceRead<'_>) -> usize {
    std::io::copy(&mut reader, &mut std::io::sink()).map_or(usize::MAX, |rest| usize::try_from(rest).unwrap_or(usize::MAX))
}

/// The schema id of a framed value.
///
/// # Errors
/// When the bytes are not Confluent-framed.
pub fn schema_id(bytes: &[u8]) -> Result<i32, DecodeError> {
    match bytes {
        [] => Err(unreadable(code::FRAMING, "the value is empty; a framed record has at least five bytes")),
        [0, a, b, c, d, rest @ ..] => match i32::from_be_bytes([*a, *b, *c, *d]) {
            0 if rest.len() >= 4 => Err(unreadable(
                code::FRAMING,
                "schema id 0: this looks like the 8-byte framing of Apicurio's own serializers; use Confluent-compatible ids",
            )),
            id => Ok(id),
        },
        [0, ..] => {
            Err(unreadable(code::FRAMING, format!("the value has {} bytes; a framed record has at least five", bytes.len())))
        }
        [b'{' | b'[', ..] => Err(unreadable(code::FRAMING, "the value looks like JSON, not like framed Avro")),
        [b'O', b'b', b'j', 1, ..] => Err(unreadable(code::FRAMING, "the value is an Avro container file, not a framed record")),
        [0xc3, 0x01, ..] => Err(unreadable(code::FRAMING, "the value has Avro's single-object framing, not Confluent's")),
        [magic, ..] => {
            Err(unreadable(code::FRAMING, format!("the first byte is {magic:#04x}; a framed record starts with 0x00")))
        }
    }
}

fn understand(text: &str) -> Result<WriterSchema, String> {
    let (physical, decimals) = physical(text).map_err(|error| format!("the registry's text is not JSON: {error}"))?;
    for (place, found) in &decimals {
        if let Some(expected) = DECIMALS.get(place).filter(|expected| expected.1 != found.1) {
            return Err(format!(
                "`{}.{}` is decimal({},{}), here it is decimal({},{})",
                place.0, place.1, found.0, found.1, expected.0, expected.1
            ));
        }
    }
    let value: Value = serde_json::from_str(&physical).map_err(|error| error.to_string())?;
    let part = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = match (part("namespace"), part("name")) {
        (space, name) if space.is_empty() || name.contains('.') => name,
        (space, name) => format!("{space}.{name}"),
    };
    let parsed = physical.parse().map_err(|error| format!("not an Avro schema: {error}"))?;
    Ok(WriterSchema { parsed, name })
}
