//! The released versions of the golden schemas, embedded: what subscribers have seen, and may still meet in a compacted topic.

use crate::Schema;

include!(concat!(env!("OUT_DIR"), "/released.rs"));

/// One released version of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// The number of its folder in `avro/released`.
    pub number: u32,
    pub text: &'static str,
}

/// Every release of a golden schema, the oldest first. A release that left the schema as it was is no version of its own.
#[must_use]
pub fn released(schema: Schema) -> Vec<Released> {
    let mut versions: Vec<Released> = Vec::new();
    for (number, file, text) in RELEASED {
        if *file == schema.file() && versions.last().is_none_or(|last| last.text != *text) {
            versions.push(Released { number: *number, text });
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use model::Domain;

    use super::*;

    #[test]
    fn every_golden_schema_has_a_first_release_and_nothing_else_is_embedded() {
        for domain in Domain::ALL {
            let versions = released(Schema::golden(domain));
            assert_eq!(versions.first().map(|first| first.number), Some(1), "{domain}");
            assert!(versions.is_sorted_by_key(|version| version.number));
            assert_eq!(released(Schema::change(domain)), [], "changes are internal");
        }
    }
}
