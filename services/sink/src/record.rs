//! From the bytes of a golden topic to an offer: decoded, in scope or not, gate open or shut.

use std::sync::Arc;

use avro::DecodeError;
use delivery::{Offer, Operation, Problem, first_closed};
use kafka::Record;
use mapping::View;
use model::{Domain, Golden, LetterClass, RecordKey, Topical};

use crate::shared::{Shared, gates};

/// What a lane carries: the record as it was read. It is decoded again when its turn comes, because decoded it weighs several times
/// as much and most of what queues during an outage is replaced before it is sent.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) record: Record,
    pub(crate) has_left_scope: bool,
    /// The scope could not be decided: refused when its turn comes.
    pub(crate) fault: Option<Box<Problem>>,
}

/// What a golden record is here.
pub(crate) enum Reading {
    Offer(Topical, Box<Offer<Arc<Taken>>>),
    /// Golden forgot the key; the offer removes it.
    Tombstone(Topical, Box<Offer<Arc<Taken>>>),
    Unreadable(Option<Topical>, Domain, Arc<Taken>, Problem),
    NeedSchema(i32, Box<Record>),
}

/// The key has to be one of its domain.
const RECORD_KEY: &str = "RECORD_KEY";

pub(crate) fn read(shared: &Shared, domain: Domain, record: Record) -> Reading {
    let key = match record.key_text().map(|text| RecordKey::parse(domain, text)) {
        Some(Ok(key)) => Topical::new(domain, key),
        Some(Err(error)) => return unreadable(None, domain, record, RECORD_KEY, error.to_string()),
        None => return unreadable(None, domain, record, RECORD_KEY, "the record has no key, or one that is no text".to_owned()),
    };
    let Some(value) = &record.value else {
        let offset = record.offset;
        let taken = Taken { record, has_left_scope: false, fault: None };
        return Reading::Tombstone(key, Box::new(removal(offset, taken)));
    };
    match shared.reader.decode_golden(domain, value) {
        Ok(golden) => {
            let offer = offer(shared, &key, &golden, record);
            Reading::Offer(key, Box::new(offer))
        }
        Err(DecodeError::NeedSchema(id)) => Reading::NeedSchema(id, Box::new(record)),
        Err(DecodeError::Unreadable { code, message }) => unreadable(Some(key), domain, record, code, message),
    }
}

/// The offer of a golden record to this destination.
pub(crate) fn offer(shared: &Shared, key: &Topical, golden: &Golden, record: Record) -> Offer<Arc<Taken>> {
    let delivery = shared.delivery(key.domain);
    let mut fault = None;
    let is_in_scope = golden.data.is_some()
        && delivery.is_some_and(|delivery| match &delivery.scope {
            None => true,
            Some(scope) => match scope.matches_view(&View::new(golden, key.domain, &key.key)) {
                Ok(matches) => matches,
                Err(error) => {
                    fault = Some(Box::new(problem(&error)));
                    true
                }
            },
        });
    let closed = delivery.filter(|_| is_in_scope).and_then(|delivery| first_closed(&gates(delivery), &golden.meta));
    Offer {
        revision: golden.meta.revision,
        change_id: golden.meta.change_id,
        golden_offset: record.offset,
        occurred_at: golden.meta.occurred_at,
        operation: if is_in_scope { Operation::Upsert } else { Operation::Remove },
        is_deleted: golden.data.is_none(),
        closed: closed.map(Box::new),
        payload: Arc::new(Taken { record, has_left_scope: !is_in_scope && golden.data.is_some(), fault }),
    }
}

fn removal(offset: i64, taken: Taken) -> Offer<Arc<Taken>> {
    Offer {
        revision: 0,
        change_id: model::ChangeId::default(),
        golden_offset: offset,
        occurred_at: taken.record.timestamp,
        operation: Operation::Remove,
        is_deleted: true,
        closed: None,
        payload: Arc::new(taken),
    }
}

fn unreadable(key: Option<Topical>, domain: Domain, record: Record, code: &str, message: String) -> Reading {
    let problem = Problem { class: LetterClass::Schema, code: code.to_owned(), field: None, observed: None, message };
    Reading::Unreadable(key, domain, Arc::new(Taken { record, has_left_scope: false, fault: None }), problem)
}

/// A mapping's or scope's no, in the words of a letter.
pub(crate) fn problem(error: &mapping::Error) -> Problem {
    Problem {
        class: LetterClass::Mapping,
        code: error.code.to_owned(),
        field: error.field.clone(),
        observed: error.observed.clone(),
        message: connect::answer::scrub(&error.to_string(), &[]),
    }
}
