//! One record, one partition number, in every topic and every language.

use avro::{Partitions, Topics, declared_topics, topic_specs};
use model::{Domain, RecordKey, Slot, Topical};

/// The vectors of Kafka's own Java client (`UtilsTest.testMurmur2`), as partitions of 12 and 24.
const VECTORS: [(&str, i32, i32); 8] = [
    ("kafka", 4, 4),
    ("giberish123456789", 8, 20),
    ("1234", 0, 12),
    ("21", 0, 12),
    ("foobar", 6, 6),
    ("a-little-bit-long-string", 8, 8),
    ("a-little-bit-longer-string", 11, 11),
    ("abc", 3, 3),
];

#[test]
fn a_stock_producer_with_murmur2_puts_a_record_into_the_same_partition() {
    for (text, of_12, of_24) in VECTORS {
        let key = RecordKey::new(Domain::Customer, &[text]).unwrap();
        for (slots, expected) in [(12, of_12), (24, of_24)] {
            assert_eq!(key.slot(Domain::Customer, slots), Slot(expected), "{text} of {slots}");
            // The topics keyed domain/key follow the entity, not their own key.
            assert_eq!(Topical::new(Domain::Customer, key.clone()).slot(slots), Slot(expected), "{text} of {slots}");
        }
    }
}

#[test]
fn all_revisions_of_an_item_keep_their_order() {
    for (text, of_12, _) in VECTORS {
        for revision in ["A", "B", "Z/9"] {
            let key = RecordKey::new(Domain::Item, &[text, revision]).unwrap();
            assert_eq!(key.slot(Domain::Item, 12), Slot(of_12), "{key}");
        }
    }
}

#[test]
fn the_list_says_what_the_partition_follows_where_there_is_a_choice() {
    for topic in declared_topics() {
        assert_eq!(topic.partition_key.is_some(), topic.partitions == Partitions::Slots, "{}", topic.name);
    }
    for slots in [12, 24] {
        let specs =
            topic_specs(&Topics::new("mdm."), slots, 3, &Domain::ALL, &[("erp", Domain::ALL.into())].into(), &["mes-ulm"]);
        let counts: std::collections::BTreeSet<i32> = specs.iter().map(|spec| spec.partitions).collect();
        assert_eq!(counts, [1, i32::try_from(slots).unwrap()].into(), "one count, or one partition");
    }
}
