//! Dead letters of the validator.

use std::collections::BTreeMap;

use avro::TopicKind;
use deadletter::{bounded, bounded_key, headers, id_of_change, kept_headers};
use kafka::{Fatal, Record};
use model::{Change, DeadLetter, Domain, Finding, LetterClass, LetterId, Outgoing, RecordKey, Stage, Timestamp, Topical};

use crate::shared::{STAGE, Shared};

/// Ids of letters are short; what a change names as its cause need not be one.
const ID_BYTES: usize = 256;

/// Codes of letters that no rule causes; each has a page in docs/errors.
pub(crate) mod code {
    /// The record's Kafka key is missing, is no key of its domain, or lies in another partition than its key belongs to.
    pub(crate) const KEY: &str = "RECORD_KEY";
    /// A change without a value: a delete is a record too.
    pub(crate) const EMPTY: &str = "RECORD_EMPTY";
    /// What a change would become is larger than a record may be.
    pub(crate) const LARGE: &str = "TOO_LARGE";
    /// A change that names another source than the one whose topic it lies in.
    pub(crate) const SOURCE: &str = "SOURCE_DIFFERS";
    /// The golden record of the key cannot be decoded, so nothing can be decided about it.
    pub(crate) const STATE: &str = "STATE_UNREADABLE";
}

/// Where a record lies, and its bytes.
pub(crate) struct Origin<'a> {
    /// The only one who may write that topic. What a record says about its source is a claim.
    pub(crate) source: &'a str,
    pub(crate) domain: Domain,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: Headers<'a>,
    pub(crate) bytes: &'a [u8],
}

/// The record's headers, looked at only when a letter is written.
pub(crate) enum Headers<'a> {
    Of(&'a Record),
    /// `held` keeps the bytes of a change, and its headers follow from those.
    FromChange,
}

impl<'a> Origin<'a> {
    pub(crate) fn of(source: &'a str, domain: Domain, record: &'a Record) -> Self {
        Self {
            source,
            domain,
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            headers: Headers::Of(record),
            bytes: record.value.as_deref().unwrap_or_default(),
        }
    }

    /// Of a change, by its source and domain; of what lies elsewhere, by its topic: the same coordinate is another record there.
    fn letter_id(&self, shared: &Shared) -> LetterId {
        match shared.topics.kind(self.topic) {
            Some(kind @ (TopicKind::Command(_) | TopicKind::Receipt(_))) => {
                let (family, of) = (kind.family(), kind.system().unwrap_or_default());
                LetterId(format!("{STAGE}/{family}.{of}/{}@{}", self.partition, self.offset))
            }
            _ => id_of_change(STAGE, self.source, self.domain, self.partition, self.offset),
        }
    }

    fn headers(&self, key: Option<&RecordKey>, change: Option<&Change>) -> BTreeMap<String, String> {
        match (&self.headers, key, change) {
            (Headers::Of(record), _, _) => {
                kept_headers(record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())))
            }
            (Headers::FromChange, Some(key), Some(change)) => {
                let headers = avro::headers::change(change, self.domain, key, avro::headers::created(&change.meta, false));
                kept_headers(headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice()))))
            }
            (Headers::FromChange, _, _) => BTreeMap::new(),
        }
    }
}

/// Why.
pub(crate) struct Cause {
    pub(crate) class: LetterClass,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) findings: Vec<Finding>,
    /// When it first failed: for what was held, when it first waited.
    pub(crate) since: Timestamp,
}

impl Cause {
    /// Titled by its first finding.
    pub(crate) fn findings(class: LetterClass, findings: Vec<Finding>, since: Timestamp) -> Self {
        let title = findings.first();
        Self {
            class,
            code: title.map(|finding| finding.rule_id.clone()).unwrap_or_default(),
            message: title.map(|finding| finding.message.clone()).unwrap_or_default(),
            findings,
            since,
        }
    }

    pub(crate) fn unreadable(class: LetterClass, code: &str, message: impl Into<String>, now: Timestamp) -> Self {
        Self { class, code: code.to_owned(), message: message.into(), findings: Vec::new(), since: now }
    }
}

/// The letter about a record; `change` where it could be decoded.
pub(crate) fn letter(
    shared: &Shared,
    origin: &Origin<'_>,
    key: Option<&RecordKey>,
    change: Option<&Change>,
    cause: Cause,
    now: Timestamp,
) -> DeadLetter {
    let meta = change.map(|change| &change.meta);
    let title = cause.findings.first();
    let cited = meta.and_then(|meta| meta.causation_id.as_deref()).filter(|id| id.len() <= ID_BYTES);
    let own_prefix = format!("{STAGE}/{}/{}/", origin.source, origin.domain);
    // A replay that is refused again is the same letter; a source's letter that led to this change is replaced by it.
    let same = cited.filter(|id| id.starts_with(&own_prefix)).map(|id| LetterId(id.to_owned()));
    let source_prefix = format!("{}/", origin.source);
    let replaces = cited.filter(|id| id.starts_with(&source_prefix));
    let owner = turn(shared, origin, &cause);
    bounded(DeadLetter {
        id: same.unwrap_or_else(|| origin.letter_id(shared)),
        stage: Stage::Validate,
        system: STAGE.to_owned(),
        domain: Some(origin.domain),
        key: key.cloned(),
        revision: None,
        change_id: meta.map(|meta| meta.change_id.to_string()),
        source: Some(origin.source.to_owned()),
        source_key: meta.map(|meta| meta.source_key.clone()),
        source_epoch: meta.map(|meta| meta.source_epoch),
        source_sequence: meta.map(|meta| meta.source_sequence),
        topic: Some(origin.topic.to_owned()),
        partition: Some(origin.partition),
        offset: Some(origin.offset),
        timestamp: Some(origin.timestamp),
        schema_id: avro::schema_id(origin.bytes).ok(),
        class: cause.class,
        field: title.map(|finding| finding.path.clone()).filter(|path| !path.is_empty()),
        observed: title.and_then(|finding| finding.observed.clone()),
        code: cause.code,
        message: cause.message,
        owner,
        findings: cause.findings,
        attempts: 1,
        first_failed_at: cause.since,
        last_failed_at: now,
        service: shared.service.clone(),
        policy_version: shared.landscape.policy_version.clone(),
        replaces: replaces.map(|id| LetterId(id.to_owned())),
        headers: origin.headers(key, change),
        payload: origin.bytes.to_vec(),
        truncated: false,
        sent: None,
    })
}

/// Who can fix it: for what a record says, the people of the domain or of the field's owner; for what nobody can read, those of the
/// system that wrote it.
fn turn(shared: &Shared, origin: &Origin<'_>, cause: &Cause) -> Option<String> {
    let landscape = &shared.landscape;
    let office = |system: &str| landscape.office_of(system).unwrap_or(system).to_owned();
    match (cause.class, landscape.domains.get(&origin.domain)) {
        (LetterClass::Data | LetterClass::Reference, Some(policy)) => {
            let path = cause.findings.first().map_or("", |finding| finding.path.as_str());
            let owner = policy.field_owner(path);
            Some(if owner == policy.owner { policy.turn().to_owned() } else { office(owner) })
        }
        _ => Some(office(origin.source)),
    }
}

/// The letter as a record of `dlq.validator`, in the slot of the record that failed.
pub(crate) fn outgoing(shared: &Shared, letter: &DeadLetter, origin: &Origin<'_>, raw_key: &str) -> Result<Outgoing, Fatal> {
    let key = match &letter.key {
        Some(key) => Topical::new(origin.domain, key.clone()).to_string(),
        None => format!("{}/{}", origin.domain, bounded_key(raw_key)),
    };
    Ok(Outgoing {
        topic: shared.dlq().to_owned(),
        slot: model::Slot(origin.partition),
        key,
        value: Some(shared.writer.encode(letter).map_err(Fatal::new)?),
        headers: headers(letter),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_code_has_its_page() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        let decoding = [avro::code::FRAMING, avro::code::UNREADABLE, avro::code::SCHEMA, avro::code::SCHEMA_UNKNOWN];
        for code in decoding.into_iter().chain([code::KEY, code::EMPTY, code::LARGE, code::SOURCE, code::STATE]) {
            assert!(pages.join(format!("{code}.md")).exists(), "docs/errors/{code}.md is missing");
        }
    }
}
