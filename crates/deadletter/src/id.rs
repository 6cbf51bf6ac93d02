//! Ids of letters.

use data_encoding::HEXLOWER;
use model::{Domain, LetterId};
use sha2::{Digest, Sha256};

/// Where it failed and the coordinate of the record that failed: `mes-ulm/item/3@1851`. The domain is that of the record's topic.
#[must_use]
pub fn id_of_record(system: &str, domain: Domain, partition: i32, offset: i64) -> LetterId {
    LetterId(format!("{system}/{domain}/{partition}@{offset}"))
}

/// The validator's: changes of one domain lie in a topic per source, each with offsets of its own: `validator/erp/item/3@1851`.
#[must_use]
pub fn id_of_change(stage: &str, source: &str, domain: Domain, partition: i32, offset: i64) -> LetterId {
    id_of_record(&format!("{stage}/{source}"), domain, partition, offset)
}

/// A publisher's letter has no input record: `erp/item/<hash of source key, version and code>`. The same row that fails in the same
/// way again is the same letter; a newer version of it is another.
#[must_use]
pub fn id_of_source(source: &str, domain: Domain, source_key: &str, version: &str, code: &str) -> LetterId {
    let mut hash = Sha256::new();
    for part in [source_key, version, code] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    LetterId(format!("{source}/{domain}/{}", &HEXLOWER.encode(&hash.finalize())[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_where_it_failed() {
        assert_eq!(id_of_record("mes-ulm", Domain::Item, 3, 1851).0, "mes-ulm/item/3@1851");
        assert_eq!(id_of_change("validator", "erp", Domain::Item, 3, 1851).0, "validator/erp/item/3@1851");
        let id = id_of_source("erp", Domain::Item, "4711/C", "v1", "MAPPING");
        assert!(id.0.starts_with("erp/item/") && id.0.len() == "erp/item/".len() + 16, "{id}");
    }

    #[test]
    fn every_part_of_a_sources_letter_counts_and_none_runs_into_the_next() {
        let base = id_of_source("erp", Domain::Item, "ab", "c", "d");
        for other in [
            id_of_source("erp", Domain::Item, "a", "bc", "d"),
            id_of_source("erp", Domain::Item, "ab", "", "cd"),
            id_of_source("erp", Domain::Customer, "ab", "c", "d"),
            id_of_source("crm", Domain::Item, "ab", "c", "d"),
        ] {
            assert_ne!(other, base);
        }
        assert_eq!(id_of_source("erp", Domain::Item, "ab", "c", "d"), base);
    }
}
