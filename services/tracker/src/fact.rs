//! From a Kafka record to what it says. Decoding is the only step that may need the registry, so it stands apart from the store:
//! the store applies facts and never waits for anybody.

use avro::{DecodeError, Reader, TopicKind, Topics};
use deadletter::Lies;
use kafka::Record;
use model::{
    AuditEntry, Change, DeadLetter, DestinationStatus, FindingReport, Golden, Held, Ledger, LetterStatus, Plan, Receipt,
    SourceStatus, Timestamp,
};

use crate::fleet::Fleet;

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
/// dead letter of them, so the tracker has nothing to decide. What says it is of another writer than its topic's is shown as a letter
/// of that topic's writer, under the very id that the replayer gives it.
///
/// # Errors
/// The schema id that the reader must learn first.
pub fn decode(reader: &Reader, topics: &Topics, fleet: &Fleet, record: &Record) -> Result<Located, i32> {
    let fact = match read(reader, topics, fleet, record) {
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

fn read(reader: &Reader, topics: &Topics, fleet: &Fleet, record: &Record) -> Result<Fact, DecodeError> {
    let Some(kind) = topics.kind(&record.topic) else { return Ok(Fact::Nothing) };
    let value = record.value.as_deref();
    let lies = Lies { topic: &record.topic, partition: record.partition, offset: record.offset, since: record.timestamp };
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
        TopicKind::Receipt(destination) => match optional::<Receipt>(reader, value)? {
            Some(receipt) => fleet
                .author(&destination)
                .on_receipt(&receipt, lies)
                .map_or(Fact::Receipt(receipt), |about| Fact::Letter(Box::new(about))),
            None => Fact::Nothing,
        },
        TopicKind::Ledger(destination) => Fact::Ledger(destination, optional(reader, value)?),
        TopicKind::Destination => match optional::<DestinationStatus>(reader, value)? {
            Some(status) if !is_under_its_name(&status.destination, record) => Fact::Nothing,
            status => Fact::Destination(status),
        },
        TopicKind::Source => match optional::<SourceStatus>(reader, value)? {
            Some(status) if !is_under_its_name(&status.source, record) => Fact::Nothing,
            status => Fact::Source(status),
        },
        TopicKind::Dlq(system) => match optional::<DeadLetter>(reader, value)? {
            Some(letter) => Fact::Letter(fleet.author(&system).on_letter(&letter, lies).map_or(letter, Box::new)),
            None => Fact::Nothing,
        },
        TopicKind::Deadletter => Fact::LetterStatus(optional(reader, value)?),
        TopicKind::Plan => Fact::Plan(optional(reader, value)?),
        TopicKind::Audit => required(reader, value, Fact::Audit)?,
        TopicKind::Command(_) | TopicKind::Cursor(_) => Fact::Nothing,
    })
}

/// A topic of all systems is compacted by its key: what stands under the key of one is that one's, or nobody's.
fn is_under_its_name(named: &str, record: &Record) -> bool {
    let is_its = record.key.as_deref() == Some(named.as_bytes());
    if !is_its {
        tracing::warn!(named, topic = %record.topic, offset = record.offset, "a status names another system than its key: passed over");
    }
    is_its
}

fn optional<T: avro::Wire>(reader: &Reader, value: Option<&[u8]>) -> Result<Option<Box<T>>, DecodeError> {
    value.map(|bytes| reader.decode::<T>(bytes)).transpose().map(|decoded| decoded.map(Box::new))
}

fn required<T: avro::Wire>(reader: &Reader, value: Option<&[u8]>, fact: fn(Box<T>) -> Fact) -> Result<Fact, DecodeError> {
    Ok(optional(reader, value)?.map_or(Fact::Nothing, fact))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use avro::{Schema, Writer};
    use model::{
        Cause, ChangeId, DestinationState, Domain, LetterClass, LetterId, ReceiptOutcome, RecordKey, SourceState, Stage,
    };

    use super::*;
    use crate::fleet::{DestinationPart, SourcePart};

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    /// What the tracker makes of a record of this topic.
    fn read(topic: &str, key: &str, value: impl avro::Wire) -> Fact {
        let ids: HashMap<Schema, i32> = Schema::ALL.iter().zip(1..).map(|(schema, id)| (*schema, id)).collect();
        let reader = Reader::default();
        ids.iter().for_each(|(schema, id)| reader.learn(*id, schema.text()));
        let plants = ["mes-ulm", "mes-pune"].map(|name| (name.to_owned(), DestinationPart::default()));
        let sources = ["crm", "erp"]
            .map(|name| (name.to_owned(), SourcePart { office: format!("{name} office"), ..SourcePart::default() }));
        let fleet = Fleet { sources: sources.into(), destinations: plants.into(), ..Fleet::default() };
        let record = Record {
            topic: topic.into(),
            partition: 3,
            offset: 17,
            timestamp: NOW,
            key: Some(key.as_bytes().to_vec()),
            value: Some(Writer::new(ids).encode(&value).unwrap()),
            headers: Vec::new(),
        };
        decode(&reader, &Topics::new("mdm."), &fleet, &record).unwrap().fact
    }

    fn letter(stage: Stage, system: &str, id: &str) -> DeadLetter {
        DeadLetter {
            id: LetterId(id.into()),
            stage,
            system: system.into(),
            domain: Some(Domain::Item),
            key: Some(RecordKey::new(Domain::Item, &["4711", "C"]).unwrap()),
            revision: None,
            change_id: None,
            source: None,
            source_key: None,
            source_epoch: None,
            source_sequence: None,
            topic: None,
            partition: None,
            offset: None,
            timestamp: None,
            schema_id: None,
            class: LetterClass::Refused,
            code: "UNIT_UNKNOWN".into(),
            field: None,
            observed: None,
            message: "unit SET unknown".into(),
            owner: None,
            findings: Vec::new(),
            attempts: 1,
            first_failed_at: NOW,
            last_failed_at: NOW,
            service: "sink".into(),
            policy_version: "1".into(),
            replaces: None,
            headers: BTreeMap::new(),
            payload: Vec::new(),
            truncated: false,
            sent: None,
        }
    }

    #[test]
    fn a_letter_is_shown_as_its_topics_whatever_it_says() {
        for honest in [
            letter(Stage::Capture, "crm", "crm/item/aa"),
            letter(Stage::Validate, "validator", "validator/erp/item/3@9"),
            letter(Stage::Deliver, "mes-ulm", "mes-ulm/item/3@9"),
        ] {
            let Fact::Letter(shown) = read(&format!("mdm.dlq.{}", honest.system), "k", honest.clone()) else { panic!() };
            assert_eq!(*shown, honest);
            if honest.system == "crm" {
                continue;
            }
            let Fact::Letter(shown) = read("mdm.dlq.crm", "k", honest.clone()) else { panic!() };
            assert_eq!(
                (shown.id.0.as_str(), shown.system.as_str(), shown.code.as_str()),
                ("crm/dlq/3@17", "crm", "WRITER_DIFFERS")
            );
            assert_eq!((shown.key.clone(), shown.owner.as_deref()), (None, Some("crm office")), "{shown:?}");
        }
    }

    #[test]
    fn a_receipt_of_another_destination_than_its_topics_is_a_letter() {
        let receipt = Receipt {
            destination: "mes-ulm".into(),
            domain: Domain::Item,
            key: RecordKey::new(Domain::Item, &["4711", "C"]).unwrap(),
            change_id: ChangeId::default(),
            revision: 18,
            outcome: ReceiptOutcome::Accepted,
            note: None,
            attempt: 1,
            connector: "http".into(),
            reference: None,
            external_id: None,
            code: None,
            text: None,
            occurred_at: NOW,
            offered_at: NOW,
            answered_at: NOW,
            cause: Cause::Normal,
            letter: None,
            seq: 1,
            previous_hash: String::new(),
            hash: String::new(),
        };
        assert!(matches!(read("mdm.receipt.mes-ulm", "item/4711/C", receipt.clone()), Fact::Receipt(shown) if *shown == receipt));
        let Fact::Letter(shown) = read("mdm.receipt.mes-pune", "item/4711/C", receipt) else { panic!() };
        assert_eq!((shown.id.0.as_str(), shown.system.as_str()), ("mes-pune/receipt/3@17", "mes-pune"));
    }

    #[test]
    fn a_status_under_another_systems_key_is_nobodys() {
        let plant = DestinationStatus {
            destination: "mes-ulm".into(),
            domains: Vec::new(),
            state: DestinationState::Ok,
            since: NOW,
            reason: None,
            code: None,
            next_at: None,
            by: None,
            until: None,
            policy_version: "1".into(),
            at: NOW,
        };
        let source = SourceStatus {
            source: "crm".into(),
            state: SourceState::Ok,
            since: NOW,
            reason: None,
            next_at: None,
            read_at: None,
            streams: Vec::new(),
            policy_version: "1".into(),
            at: NOW,
        };
        assert!(matches!(read("mdm.destination", "mes-ulm", plant.clone()), Fact::Destination(Some(_))));
        assert!(matches!(read("mdm.destination", "mes-pune", plant), Fact::Nothing));
        assert!(matches!(read("mdm.source", "crm", source.clone()), Fact::Source(Some(_))));
        assert!(matches!(read("mdm.source", "erp", source), Fact::Nothing));
    }
}
