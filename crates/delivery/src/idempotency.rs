//! The key under which a destination recognises a repeated call.

use data_encoding::BASE32_NOPAD;
use model::Topical;
use sha2::{Digest, Sha256};

/// Base-32 SHA-256 over destination, domain/key, revision and, for an explicit resend, the command that asked for it. A repeat
/// after a crash has the same key; a resend, which wants a second call for one revision, has another.
#[must_use]
pub fn idempotency_key(destination: &str, key: &Topical, revision: i64, command: Option<&str>) -> String {
    let mut hash = Sha256::new();
    for part in [destination, &key.to_string(), &revision.to_string(), command.unwrap_or_default()] {
        // The length keeps `a` + `bc` apart from `ab` + `c`.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    BASE32_NOPAD.encode(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use model::{Domain, RecordKey};

    use super::*;

    #[test]
    fn it_names_one_call_and_only_that() {
        let key = |text| Topical::new(Domain::Item, RecordKey::parse(Domain::Item, text).unwrap());
        let base = idempotency_key("mes-ulm", &key("4711/C"), 18, None);
        assert_eq!(base.len(), 52);
        assert_eq!(base, idempotency_key("mes-ulm", &key("4711/C"), 18, None));
        for other in [
            idempotency_key("mes-pune", &key("4711/C"), 18, None),
            idempotency_key("mes-ulm", &key("4711/D"), 18, None),
            idempotency_key("mes-ulm", &key("4711/C"), 19, None),
            idempotency_key("mes-ulm", &key("4711/C"), 18, Some("c-1")),
        ] {
            assert_ne!(base, other);
        }
    }
}
