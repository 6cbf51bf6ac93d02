use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What the tracker must agree with: every received offset and whether it is done.
#[derive(Default)]
struct Plain {
    received: BTreeMap<i64, bool>,
}

impl Plain {
    fn committable(&self, position: Option<i64>) -> Option<i64> {
        let (last, _) = self.received.last_key_value()?;
        let first_open = self.received.iter().find(|(_, done)| !**done).map(|(offset, _)| *offset);
        Some(first_open.unwrap_or_else(|| position.unwrap_or(0).max(last + 1)))
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The next record lies this far beyond the last one: markers and compaction leave gaps.
    Receive(i64),
    /// Finish the n-th of the open ones, whatever its order.
    Done(usize),
    /// The partition is taken away: a new tracker, and completions of the old epoch still to come.
    Revoke,
    /// A completion of something that was never received here.
    Stranger(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            4 => (1_i64..50).prop_map(Step::Receive),
            4 => (0_usize..64).prop_map(Step::Done),
            1 => Just(Step::Revoke),
            1 => (0_i64..5_000).prop_map(Step::Stranger),
        ],
        1..400,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn committable_never_passes_an_unfinished_offset_and_never_decreases(steps in steps(), start in 0_i64..1_000) {
        let mut tracker = CommitTracker::new(32);
        let mut plain = Plain::default();
        let mut offset = start;
        let mut committed = i64::MIN;
        for step in steps {
            match step {
                Step::Receive(gap) => {
                    offset += gap;
                    prop_assert!(tracker.receive(offset));
                    prop_assert!(!tracker.receive(offset), "the same record twice is told");
                    plain.received.insert(offset, false);
                }
                Step::Done(nth) => {
                    let open: Vec<i64> = plain.received.iter().filter(|(_, done)| !**done).map(|(offset, _)| *offset).collect();
                    if !open.is_empty() {
                        let offset = open[nth % open.len()];
                        prop_assert!(tracker.done(offset));
                        plain.received.insert(offset, true);
                    }
                }
                Step::Revoke => {
                    tracker = CommitTracker::new(32);
                    plain = Plain::default();
                    offset = start;
                    committed = i64::MIN;
                }
                Step::Stranger(stranger) => {
                    if !plain.received.contains_key(&stranger) {
                        tracker.done(stranger);
                    }
                }
            }
            for position in [None, Some(offset + 1), Some(offset + 7)] {
                prop_assert_eq!(tracker.committable(position).map(NextOffset::get), plain.committable(position));
            }
            if let Some(next) = tracker.committable(None) {
                prop_assert!(next.get() >= committed, "{} after {committed}", next.get());
                committed = next.get();
            }
            let open = plain.received.values().filter(|done| !**done).count();
            prop_assert!(tracker.len() >= open);
            prop_assert_eq!(tracker.is_empty(), open == 0);
        }
    }
}

#[test]
fn nothing_received_commits_nothing_even_when_the_consumer_has_a_position() {
    assert_eq!(CommitTracker::new(4).committable(Some(77)), None);
}

#[test]
fn full_at_capacity_and_room_again_at_half() {
    let mut tracker = CommitTracker::new(4);
    for offset in [3, 9, 10, 40] {
        assert!(tracker.receive(offset));
    }
    assert!(tracker.is_full() && !tracker.has_room());
    tracker.done(3);
    assert!(!tracker.is_full() && !tracker.has_room(), "one free place would pause and resume at every record");
    tracker.done(9);
    assert!(tracker.has_room());
}
