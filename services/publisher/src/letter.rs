//! Dead letters of a source: what could not become a change, with the row as it came.

use std::collections::BTreeMap;

use connect::rows::Fault;
use deadletter::bounded;
use model::{DeadLetter, Domain, LetterClass, LetterId, RecordKey, Stage, Timestamp};
use sha2::{Digest, Sha256};

/// What is the same in every letter of one process.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) source: String,
    /// The people who answer for the source's data.
    pub(crate) office: String,
    pub(crate) epoch: i64,
    pub(crate) policy_version: String,
}

/// What failed.
#[derive(Debug)]
pub(crate) struct Failed<'a> {
    pub(crate) domain: Domain,
    pub(crate) source_key: &'a str,
    pub(crate) record_key: Option<RecordKey>,
    /// What was last sent of the key: a letter after it is another one than a letter before it.
    pub(crate) after: i64,
    /// The open letter of the key.
    pub(crate) replaces: Option<LetterId>,
    pub(crate) fault: &'a Fault,
    pub(crate) raw: &'a [u8],
    /// Stream, file, line, columns: where to look, and how to read the row again.
    pub(crate) place: BTreeMap<String, String>,
    pub(crate) now: Timestamp,
}

impl Sender {
    /// The same row after the same success has the same id, however often it is met: one letter, not one a pass.
    pub(crate) fn id(&self, failed: &Failed<'_>) -> LetterId {
        let version = format!("{}@{}", failed.after, fingerprint(failed.raw));
        deadletter::id_of_source(&self.source, failed.domain, failed.source_key, &version, failed.fault.code)
    }

    pub(crate) fn letter(&self, failed: Failed<'_>) -> DeadLetter {
        let id = self.id(&failed);
        let where_ = match (failed.place.get("file"), failed.place.get("line")) {
            (Some(file), Some(line)) => format!("{file} line {line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        };
        bounded(DeadLetter {
            stage: Stage::Capture,
            system: self.source.clone(),
            domain: Some(failed.domain),
            key: failed.record_key,
            revision: None,
            change_id: None,
            source: Some(self.source.clone()),
            source_key: Some(failed.source_key.to_owned()),
            source_epoch: Some(self.epoch),
            source_sequence: None,
            topic: None,
            partition: None,
            offset: None,
            timestamp: None,
            schema_id: None,
            class: class_of(failed.fault.code),
            code: failed.fault.code.to_owned(),
            field: failed.fault.field.clone(),
            observed: failed.fault.observed.clone(),
            message: format!("{where_}{}", failed.fault.message),
            owner: Some(self.office.clone()),
            findings: Vec::new(),
            attempts: 1,
            first_failed_at: failed.now,
            last_failed_at: failed.now,
            service: concat!("publisher ", env!("CARGO_PKG_VERSION")).to_owned(),
            policy_version: self.policy_version.clone(),
            replaces: failed.replaces.filter(|replaced| *replaced != id),
            headers: failed.place,
            payload: failed.raw.to_vec(),
            truncated: false,
            sent: None,
            id,
        })
    }
}

/// A row that cannot be read is `schema`, one that cannot be mapped `mapping`, one that reads well and cannot be right `data`.
fn class_of(code: &str) -> LetterClass {
    match code {
        "KEY_TAKEN" | "KEY_TWICE" | "KEY_TOO_LONG" | "MASS_DELETE" | "DELETES_WITHHELD" | "TOO_LARGE" | "KEY_MISSING"
        | "STAMP_FUTURE" | "ID_WITHOUT_ITEM" => LetterClass::Data,
        code if code.starts_with("MAPPING_") => LetterClass::Mapping,
        _ => LetterClass::Schema,
    }
}

/// 16 hex digits that stand for some bytes.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)[..8])
}
