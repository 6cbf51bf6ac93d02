//! The hash chain of audit entries: one per writing instance. Tamper-evident, not tamper-proof.

use data_encoding::HEXLOWER;
use model::AuditEntry;
use sha2::{Digest, Sha256};

/// Gives an entry its hash: SHA-256 over the previous hash and every field, each with its name and length.
#[must_use]
pub fn seal(mut entry: AuditEntry) -> AuditEntry {
    entry.hash = hash_of(&entry);
    entry
}

/// The hash that an entry must carry.
#[must_use]
pub fn hash_of(entry: &AuditEntry) -> String {
    let mut hash = Sha256::new();
    let mut field = |name: &str, value: &str| {
        hash.update(name.as_bytes());
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value.as_bytes());
    };
    field("previous", &entry.previous_hash);
    field("seq", &entry.seq.to_string());
    field("writer", &entry.writer);
    field("actor", &entry.actor);
    field("roles", &entry.roles.join(","));
    field("act", &entry.act);
    field("object", &entry.object);
    field("reason", entry.reason.as_deref().unwrap_or_default());
    field("reference", entry.reference.as_deref().unwrap_or_default());
    field("at", &entry.at.micros().to_string());
    HEXLOWER.encode(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_counts() {
        let entry = seal(AuditEntry {
            writer: "replayer".into(),
            seq: 1,
            previous_hash: String::new(),
            hash: String::new(),
            actor: "a".into(),
            roles: vec!["steward".into()],
            act: "dlq.run".into(),
            object: "plan/p-1".into(),
            reason: None,
            reference: Some("c".into()),
            at: model::Timestamp::from_micros(1),
        });
        assert_eq!(entry.hash.len(), 64);
        for other in [
            AuditEntry { actor: "b".into(), ..entry.clone() },
            AuditEntry { seq: 2, ..entry.clone() },
            AuditEntry { reason: Some("x".into()), ..entry.clone() },
            AuditEntry { act: "dlq.runp".into(), object: "lan/p-1".into(), ..entry.clone() },
        ] {
            assert_ne!(hash_of(&other), entry.hash);
        }
    }
}
