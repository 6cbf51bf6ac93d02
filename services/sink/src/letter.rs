//! Dead letters of a sink: everything a person needs to decide, and the replayer to send again.

use std::{collections::BTreeMap, sync::Arc};

use deadletter::{bounded, kept_headers};
use delivery::Letter;
use model::{DeadLetter, LetterClass, Stage, Topical};

use crate::{
    record::Taken,
    shared::{SERVICE, Shared},
};

pub(crate) fn compose(shared: &Shared, letter: &Letter<Arc<Taken>>) -> DeadLetter {
    let record = &letter.payload.record;
    let domain = letter.key.as_ref().map(|key| key.domain);
    let golden = domain.and_then(|domain| shared.reader.decode_golden(domain, record.value.as_deref()?).ok());
    let headers: BTreeMap<String, String> =
        kept_headers(record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
    let fence = golden.as_ref().and_then(|golden| golden.meta.fence.get(&golden.meta.owner).copied());
    let sent = golden.as_ref().zip(letter.key.as_ref()).and_then(|(golden, key)| {
        let mapping = &shared.delivery(key.domain)?.mapping;
        shared.landscape.mappings.to_payload(mapping, golden, key.domain, &key.key).ok()
    });
    bounded(DeadLetter {
        id: letter.id.clone(),
        stage: Stage::Deliver,
        system: shared.name().to_owned(),
        domain,
        key: letter.key.as_ref().map(|key| key.key.clone()),
        revision: letter.revision,
        change_id: letter.change_id.map(|change_id| change_id.to_string()),
        source: golden.as_ref().map(|golden| golden.meta.owner.clone()),
        source_key: None,
        source_epoch: fence.map(|fence| fence.epoch),
        source_sequence: fence.map(|fence| fence.sequence),
        topic: Some(record.topic.to_string()),
        partition: Some(record.partition),
        offset: Some(record.offset),
        timestamp: Some(record.timestamp),
        schema_id: record.value.as_deref().and_then(|value| avro::schema_id(value).ok()),
        class: letter.problem.class,
        code: letter.problem.code.clone(),
        field: letter.problem.field.clone(),
        observed: letter.problem.observed.clone(),
        message: letter.problem.message.clone(),
        owner: Some(owner(shared, letter)),
        findings: Vec::new(),
        attempts: letter.attempts,
        first_failed_at: letter.first_failed_at,
        last_failed_at: letter.last_failed_at,
        service: SERVICE.to_owned(),
        policy_version: shared.landscape.policy_version.clone(),
        replaces: letter.replaces.clone(),
        headers,
        payload: record.value.clone().unwrap_or_default(),
        truncated: false,
        sent,
    })
}

/// Who can fix it: what a record lacks is its owners' business, what the destination or its mapping does is the destination's. A record
/// that waited for another one in vain is the business of that one's owner.
fn owner(shared: &Shared, letter: &Letter<Arc<Taken>>) -> String {
    if letter.problem.code == delivery::ABSENT_THERE {
        let record = letter.problem.observed.as_deref().and_then(|record| Topical::parse(record).ok());
        let domain = record.and_then(|record| shared.landscape.domains.get(&record.domain));
        return domain.map_or(shared.destination.office.as_str(), |domain| domain.turn()).to_owned();
    }
    let of_record = letter.key.as_ref().and_then(|key| shared.landscape.domains.get(&key.domain)).map(|domain| domain.turn());
    match letter.problem.class {
        LetterClass::Refused | LetterClass::Data | LetterClass::Reference if letter.problem.field.is_some() => {
            of_record.unwrap_or(&shared.destination.office).to_owned()
        }
        LetterClass::Refused
        | LetterClass::Data
        | LetterClass::Reference
        | LetterClass::Mapping
        | LetterClass::Schema
        | LetterClass::Exhausted
        | LetterClass::Internal
        | LetterClass::Unknown => shared.destination.office.clone(),
    }
}
