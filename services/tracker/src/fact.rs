//! From a Kafka record to what it says. Decoding is the only step that may need the registry, so it stands apart from the store:
//! the store applies facts and never waits for anybody.

use avro::{DecodeError, Reader, TopicKind, Topics};
use kafka::Record;
use model::{
    AuditEntry, Change, DeadLetter, DestinationStatus, FindingReport, Golden, Held, Ledger, LetterStatus, Plan, Receipt,
    SourceStatus, Timestamp,
};

/// One record of one topic, decoded. `None` inside is a tombstone.
#[derive(Clone, Debug)]
pub enum Fact {
    Change(Box<Change>),
    Golden(model::Domain, Option<Box<Golden>>),
    Held(Option<Box<Held>>),
    Finding(Box<FindingReport>),
    Receipt(Box<Receipt>),
    /// Destination, its ledger record.
    Ledger(String, Option<Box<Ledger>>),
    Destination(Option<Box<DestinationStatus>>),
    Source(Option<Box<SourceStatus>>),
    /// System, its letter.
    Letter(Box<DeadLetter>),
    LetterStatus(Option<Box<LetterStatus>>),
    Plan(Option<Box<Plan>>),
    Audit(Box<AuditEntry>),
    /// Nothing for the tracker: a topic it does not keep, or bytes nobody can read. Its offset still counts.
    Nothing,
}

/// A fact with the place it came from.
#[derive(Clone, Debug)]
pub struct Located {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Timestamp,
    pub key: String,
    pub fact: Fact,
}

/// Decodes one record. Bytes that cannot be read become [`Fact::Nothing`] and a log line: their own stage has already made a
/// dead letter of them, so the tracker has nothing to decide.
///
/// # Errors
/// The schema id that the reader must learn first.
pub fn decode(reader: &Reader, topics: &Topics, record: &Record) -> Result<Located, i32> {
    let fact = match read(reader, topics, record) {
        Ok(fact) => fact,
        Err(DecodeError::NeedSchema(id)) => return Err(id),
        Err(DecodeError::Unreadable { code, message }) => {
            tracing::warn!(topic = %record.topic, partition = record.partition, offset = record.offset, code, %message,
                "unreadable record passed over");
            Fact::Nothing
        }
    };
    Ok(Located {
        topic: record.topic.to_string(),
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default(),
        fact,
    })
}

fn read(reader: &Reader, topics: &Topics, record: &Record) -> Result<Fact, DecodeError> {
    let Some(kind) = topics.kind(&record.topic) else { return Ok(Fact::Nothing) };
    let value = record.value.as_deref();
    Ok(match kind {
        TopicKind::Change { source, domain } => match value {
            Some(bytes) => {
                let mut change = reader.decode_change(domain, bytes)?;
                // Shown is who wrote it, never whom it names: that difference is the validator's letter.
                change.meta.source = source;
                Fact::Change(Box::new(change))
            }
            None => Fact::Nothing,
        },
        TopicKind::Golden(domain) => {
            Fact::Golden(domain, value.map(|bytes| reader.decode_golden(domain, bytes)).transpose()?.map(Box::new))
        }
        TopicKind::Held => Fact::Held(optional(reader, value)?),
        TopicKind::Finding => required(reader, value, Fact::Finding)?,
        TopicKind::Receipt(_) => required(reader, value, Fact::Receipt)?,
        TopicKind::Ledger(destination) => Fact::Ledger(destination, optional(reader, value)?),
        TopicKind::Destination => Fact::Destination(optional(reader, value)?),
        TopicKind::Source => Fact::Source(optional(reader, value)?),
        TopicKind::Dlq(_) => required(reader, value, Fact::Letter)?,
        TopicKind::Deadletter => Fact::LetterStatus(optional(reader, value)?),
        TopicKind::Plan => Fact::Plan(optional(reader, value)?),
        TopicKind::Audit => required(reader, value, Fact::Audit)?,
        TopicKind::Command(_) | TopicKind::Cursor(_) => Fact::Nothing,
    })
}

fn optional<T: avro::Wire>(reader: &Reader, value: Option<&[u8]>) -> Result<Option<Box<T>>, DecodeError> {
    value.map(|bytes| reader.decode::<T>(bytes)).transpose().map(|decoded| decoded.map(Box::new))
}

fn required<T: avro::Wire>(reader: &Reader, value: Option<&[u8]>, fact: fn(Box<T>) -> Fact) -> Result<Fact, DecodeError> {
    Ok(optional(reader, value)?.map_or(Fact::Nothing, fact))
}
