use super::*;

const ITEMS: usize = 0;

struct Case {
    memory: Memory,
    now: i64,
}

impl Case {
    fn new() -> Self {
        Self::of_epoch(1)
    }

    fn of_epoch(epoch: i64) -> Self {
        Self { memory: Memory::new(epoch, [("items".into(), Domain::Item), ("kits".into(), Domain::Item)]), now: 1_000 }
    }

    fn decide_in(&self, stream: usize, source_key: &str, record: &str, hash: &str, stamp: Option<i64>) -> Decision {
        let key = RecordKey::parse(Domain::Item, record).unwrap();
        self.memory.decide(&candidate(stream, source_key, &key, hash, stamp, self.now))
    }

    /// Decides and, when it is sent, remembers: the sequence.
    fn row(&mut self, source_key: &str, record: &str, hash: &str, stamp: Option<i64>) -> Option<i64> {
        let Decision::Send(next) = self.decide_in(ITEMS, source_key, record, hash, stamp) else { return None };
        let key = RecordKey::parse(Domain::Item, record).unwrap();
        let version = stamp.map_or_else(|| "items.csv".to_owned(), |stamp| Timestamp::from_micros(stamp).to_string());
        let candidate = candidate(ITEMS, source_key, &key, hash, stamp, self.now);
        self.memory.remember(&candidate, next.sequence, &version);
        Some(next.sequence)
    }
}

fn candidate<'a>(
    stream: usize,
    source_key: &'a str,
    record_key: &'a RecordKey,
    hash: &'a str,
    stamp: Option<i64>,
    now: i64,
) -> Candidate<'a> {
    let stamp = stamp.map(Timestamp::from_micros);
    Candidate { stream, source_key, record_key, hash, stamp, now: Timestamp::from_micros(now) }
}

#[test]
fn the_same_content_is_a_duplicate_whatever_its_stamp() {
    let mut case = Case::new();
    assert_eq!(case.row("1", "P-1/A", "a", Some(10)), Some(10));
    assert_eq!(case.decide_in(ITEMS, "1", "P-1/A", "a", Some(10)), Decision::Duplicate);
    assert_eq!(case.decide_in(ITEMS, "1", "P-1/A", "a", Some(20)), Decision::Duplicate);
}

#[test]
fn other_content_under_the_same_stamp_gets_the_next_sequence() {
    let mut case = Case::new();
    let stamped = |case: &mut Case, hash: &str, stamp| case.row("1", "P-1/A", hash, Some(stamp));
    assert_eq!(stamped(&mut case, "a", 10), Some(10));
    assert_eq!(stamped(&mut case, "b", 10), Some(11));
    assert_eq!(stamped(&mut case, "c", 10), Some(12));
    assert_eq!(stamped(&mut case, "d", 11), Some(13), "a newer stamp is newer, even where the sequence ran ahead");
    assert_eq!(stamped(&mut case, "e", 90), Some(90));
}

#[test]
fn a_lower_stamp_is_published_as_it_is_and_the_memory_stays_ahead() {
    let mut case = Case::new();
    let stamped = |case: &mut Case, hash: &str, stamp| case.row("1", "P-1/A", hash, Some(stamp));
    assert_eq!(stamped(&mut case, "a", 100), Some(100));
    assert_eq!(stamped(&mut case, "b", 50), Some(50));
    assert_eq!(stamped(&mut case, "b", 50), None, "found again in the overlap");
    assert_eq!(stamped(&mut case, "c", 70), Some(70), "still stale");
    assert_eq!(stamped(&mut case, "d", 100), Some(101));
}

#[test]
fn without_stamps_the_sequence_is_the_capture_and_always_grows() {
    let mut case = Case::new();
    assert_eq!(case.row("1", "P-1/A", "a", None), Some(1_000));
    assert_eq!(case.row("1", "P-1/A", "b", None), Some(1_001), "in the same microsecond");
    case.now = 500;
    assert_eq!(case.row("1", "P-1/A", "c", None), Some(1_002), "after the clock went back");
    case.now = 5_000;
    assert_eq!(case.row("1", "P-1/A", "d", None), Some(5_000));
}

#[test]
fn a_raised_epoch_begins_its_own_numbers_and_believes_neither_content_nor_position() {
    let mut case = Case::new();
    case.row("1", "P-1/A", "a", Some(900));
    let entry = case.memory.entry(ITEMS, "1", case.memory.sent(ITEMS, "1").unwrap().clone());
    let position = case.memory.move_to(ITEMS, "here".into());
    let mut case = Case::of_epoch(2);
    for (key, cursor) in [entry, position.clone()] {
        assert_eq!(case.memory.restore(&key, cursor), 1);
    }
    assert_eq!(case.memory.position(ITEMS), None, "everything is read again");
    assert_eq!(case.row("1", "P-1/A", "a", Some(5)), Some(5), "and sent again");
    assert_eq!(case.row("1", "P-1/A", "a", Some(5)), None, "once");
    assert_eq!(case.row("1", "P-1/A", "b", Some(5)), Some(6));
    case.memory.move_to(ITEMS, "here".into());
    assert_eq!(case.memory.position(ITEMS), Some("here"));
    assert_eq!(case.memory.take_before()["items"], position.1, "what is durable is told as it is");
    assert_eq!(case.memory.sent(ITEMS, "1").unwrap().epoch, 2);
}

#[test]
fn a_second_source_key_for_a_record_is_refused_while_the_first_one_lives() {
    let mut case = Case::new();
    case.row("1", "P-1/A", "a", None);
    assert_eq!(case.decide_in(ITEMS, "2", "P-1/A", "a", None), Decision::Taken { by: "1".into() });
    assert_eq!(case.decide_in(1, "1", "P-1/A", "a", None), Decision::Taken { by: "1".into() }, "in another stream too");
    case.memory.delete(ITEMS, "1", false, Timestamp::from_micros(2_000)).unwrap();
    assert!(matches!(case.decide_in(ITEMS, "2", "P-1/A", "a", None), Decision::Send(_)));
}

#[test]
fn a_changed_key_component_leaves_the_old_record() {
    let mut case = Case::new();
    case.row("1", "P-1/A", "a", Some(10));
    let leaves = Some(RecordKey::parse(Domain::Item, "P-1/A").unwrap());
    let expected = Next { sequence: 11, leaves, closes: None, comes_back: false };
    assert_eq!(case.decide_in(ITEMS, "1", "P-1/B", "b", Some(5)), Decision::Send(expected));
    case.row("1", "P-1/B", "b", Some(20));
    assert_eq!(case.memory.live(ITEMS), 1);
    assert!(matches!(case.decide_in(ITEMS, "2", "P-1/A", "a", None), Decision::Send(_)), "the old record is free again");
}

#[test]
fn a_delete_knows_its_record_and_grows_and_what_comes_back_is_sent() {
    let mut case = Case::new();
    case.row("1", "P-1/A", "a", Some(10));
    case.row("2", "P-2/A", "a", None);
    assert_eq!(case.memory.absent(ITEMS, &HashSet::new()), ["1", "2"]);
    assert_eq!(case.memory.absent(ITEMS, &HashSet::from(["1".into()])), ["2"]);
    let (key, next, (_, entry)) = case.memory.delete(ITEMS, "1", true, Timestamp::from_micros(9_000)).unwrap();
    assert_eq!((key.as_str(), next.sequence), ("P-1/A", 11), "the capture's clock must not fence off the source's next stamp");
    assert!(entry.unwrap().sent.unwrap().deleted);
    let (_, next, _) = case.memory.delete(ITEMS, "2", false, Timestamp::from_micros(9_000)).unwrap();
    assert_eq!(next.sequence, 9_000);
    assert!(case.memory.absent(ITEMS, &HashSet::new()).is_empty());
    assert_eq!(case.memory.live(ITEMS), 0);
    assert!(case.memory.delete(ITEMS, "1", true, Timestamp::from_micros(9_000)).is_none());
    assert_eq!(case.row("1", "P-1/A", "a", Some(12)), Some(12));
}

#[test]
fn the_next_good_row_of_a_refused_key_closes_its_letter_even_with_the_old_content() {
    let mut case = Case::new();
    let letter = LetterId("erp/item/1".into());
    case.memory.refuse(ITEMS, "1", &letter);
    assert_eq!(case.memory.live(ITEMS), 0);
    let first = case.decide_in(ITEMS, "1", "P-1/A", "a", Some(10));
    assert_eq!(first, Decision::Send(Next { sequence: 10, leaves: None, closes: Some(letter.clone()), comes_back: false }));
    case.row("1", "P-1/A", "a", Some(10));
    assert_eq!(case.memory.letter(ITEMS, "1"), None);
    case.memory.refuse(ITEMS, "1", &letter);
    assert_eq!(case.memory.live(ITEMS), 1, "what was sent before stays");
    let again = case.decide_in(ITEMS, "1", "P-1/A", "a", Some(10));
    assert_eq!(again, Decision::Send(Next { sequence: 11, leaves: None, closes: Some(letter), comes_back: false }));
}

#[test]
fn a_notice_is_closed_once_it_is_no_longer_true() {
    let mut case = Case::new();
    let letter = LetterId("erp/item/9".into());
    let (key, _) = case.memory.refuse(ITEMS, "!file:items.csv", &letter);
    assert_eq!(key, "items/!file:items.csv");
    assert_eq!(case.memory.letter(ITEMS, "!file:items.csv"), Some(letter.clone()));
    case.memory.refuse(ITEMS, "!row:items.csv:77", &LetterId("erp/item/8".into()));
    case.memory.refuse(ITEMS, "!row:items.csv2:77", &LetterId("erp/item/7".into()));
    let met = HashSet::from(["!row:items.csv:77".into()]);
    assert_eq!(case.memory.untrue_notices(ITEMS, &["file", "row"], Some(&["items.csv"]), &met), ["!file:items.csv"]);
    assert!(case.memory.untrue_notices(ITEMS, &["row", "deletes"], Some(&["items.csv"]), &met).is_empty());
    assert_eq!(case.memory.untrue_notices(ITEMS, &["row"], None, &met), ["!row:items.csv2:77"], "whichever file it was");
    let (closed, (key, tombstone)) = case.memory.close_notice(ITEMS, "!file:items.csv").unwrap();
    assert_eq!((closed, key.as_str(), tombstone), (letter, "items/!file:items.csv", None));
    assert!(case.memory.close_notice(ITEMS, "!file:items.csv").is_none());
}

#[test]
fn what_was_written_restores_the_same_memory() {
    let mut case = Case::new();
    let mut entries = Vec::new();
    let key = RecordKey::parse(Domain::Item, "P-1/A").unwrap();
    let row = candidate(ITEMS, "1", &key, "a", None, 1_000);
    entries.extend(case.memory.remember(&row, 1_000, "items.csv"));
    let row = candidate(ITEMS, "A/2", &key, "a", None, 1_000);
    assert!(matches!(case.memory.decide(&row), Decision::Taken { .. }));
    entries.push(case.memory.refuse(ITEMS, "A/2", &LetterId("erp/item/2".into())));
    entries.push(case.memory.refuse(ITEMS, "!row:7", &LetterId("erp/item/3".into())));
    entries.push(case.memory.move_to(ITEMS, "here".into()));
    let taken = |at| Taken { sha256: "5a".into(), fingerprint: "5a".into(), at, ..Taken::default() };
    entries.push(case.memory.take_file(ITEMS, "items 1:2.csv", Some(taken(1))));
    entries.push(case.memory.take_file(ITEMS, "items.csv", Some(taken(2))));
    entries.push(case.memory.take_file(ITEMS, "items.csv", Some(taken(3))));
    entries.push(case.memory.take_file(ITEMS, "gone.csv", Some(taken(4))));
    entries.push(case.memory.take_file(ITEMS, "gone.csv", None));
    entries.push(case.memory.move_commands("there".into()));
    let mut restored = Case::new();
    for (key, cursor) in entries {
        restored.memory.restore(&key, cursor);
    }
    restored.memory.restore("gone/1", Some(Cursor { epoch: 7, ..Cursor::default() }));
    let shown = |memory: &Memory| {
        (
            memory.position(ITEMS).map(ToOwned::to_owned),
            memory.commands().map(ToOwned::to_owned),
            memory.live(ITEMS),
            memory.sent(ITEMS, "1").cloned(),
            memory.letter(ITEMS, "A/2"),
            memory.letter(ITEMS, "!row:7"),
            memory.taken(ITEMS).clone(),
        )
    };
    assert_eq!(shown(&restored.memory), shown(&case.memory));
    assert_eq!(restored.decide_in(ITEMS, "2", "P-1/A", "b", None), Decision::Taken { by: "1".into() });
}

#[test]
fn what_was_durable_before_a_batch_is_known_of_every_key_that_it_changes() {
    let mut case = Case::new();
    case.row("1", "P-1/A", "a", None);
    case.memory.move_to(ITEMS, "here".into());
    let taken = |at| Some(Taken { sha256: "5a".into(), fingerprint: "5a".into(), at, ..Taken::default() });
    case.memory.take_file(ITEMS, "items.csv", taken(1));
    let first = case.memory.take_before();
    assert!(first.values().all(Option::is_none), "{first:?}");
    assert_eq!(first.keys().collect::<Vec<_>>(), ["items", "items/!taken:items.csv", "items/1"]);
    case.memory.take_file(ITEMS, "items.csv", taken(2));
    case.memory.take_file(ITEMS, "items.csv", taken(3));
    let durable = case.memory.sent(ITEMS, "1").cloned();
    case.row("1", "P-1/A", "b", None);
    case.row("1", "P-1/A", "c", None);
    case.memory.move_to(ITEMS, "there".into());
    case.memory.refuse(ITEMS, "!row:items.csv:7", &LetterId("erp/item/3".into()));
    let second = case.memory.take_before();
    assert_eq!(second["items/1"].as_ref().unwrap().sent, durable);
    assert_eq!(second["items"].as_ref().unwrap().position.as_deref(), Some("here"));
    assert_eq!(second["items/!row:items.csv:7"], None);
    let before = second["items/!taken:items.csv"].as_ref().unwrap().position.as_deref();
    assert_eq!(before, Some(r#"{"sha256":"5a","fingerprint":"5a","at":1}"#));
    case.memory.close_notice(ITEMS, "!row:items.csv:7").unwrap();
    assert!(case.memory.take_before()["items/!row:items.csv:7"].is_some());
}

#[test]
fn a_record_that_another_source_key_takes_up_is_sent_past_its_own_delete() {
    let mut case = Case::new();
    case.row("1", "P-1/A", "a", Some(100));
    assert_eq!(case.memory.delete(ITEMS, "1", true, Timestamp::from_micros(1_000)).unwrap().1.sequence, 101);
    assert_eq!(case.row("2", "P-1/A", "b", Some(90)), Some(102), "the twin was dated before the one that was deleted");
    assert_eq!(case.memory.delete(ITEMS, "2", true, Timestamp::from_micros(1_000)).unwrap().1.sequence, 103);
    assert_eq!(case.row("1", "P-1/A", "a", Some(100)), Some(104), "and back again");
}

#[test]
fn the_fence_of_a_record_that_its_source_key_left_outlives_a_restart() {
    let mut case = Case::new();
    case.row("1", "P-1/A", "a", Some(100));
    let key = RecordKey::parse(Domain::Item, "P-1/B").unwrap();
    let entries = case.memory.remember(&candidate(ITEMS, "1", &key, "b", Some(120), 1_000), 120, "then");
    assert_eq!(entries.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["items/!left:P-1/A", "items/1"]);
    for streams in [["items", "kits"], ["parts", "kits"]] {
        let memory = Memory::new(1, streams.map(|name| (name.to_owned(), Domain::Item)));
        let mut restored = Case { memory, now: 1_000 };
        for (key, cursor) in entries.clone() {
            restored.memory.restore(&key, cursor);
        }
        assert_eq!(restored.row("2", "P-1/A", "c", Some(7)), Some(121), "{streams:?}");
    }
    assert!(case.memory.take_before().contains_key("items/!left:P-1/A"));
    case.row("2", "P-1/A", "c", Some(7));
    case.memory.remember(&candidate(ITEMS, "2", &key, "b", None, 1_000), 2_000, "then");
    assert_eq!(case.memory.take_before()["items/!left:P-1/A"], entries[0].1, "what was durable before");
}

#[test]
fn a_row_that_comes_back_is_sent_whatever_its_stamp() {
    let mut case = Case::new();
    case.row("1", "P-1/A", "a", Some(100));
    case.memory.delete(ITEMS, "1", true, Timestamp::from_micros(1_000)).unwrap();
    let Decision::Send(next) = case.decide_in(ITEMS, "1", "P-1/A", "a", Some(50)) else { panic!("it is sent") };
    assert_eq!((next.sequence, next.comes_back), (102, true), "the source has it, though in an older state");
}

#[test]
fn a_stamp_that_lay_ahead_of_our_clock_makes_nothing_after_it_stale() {
    let mut case = Case::new();
    case.row("1", "P-1/A", "a", Some(9_000_000));
    assert_eq!(case.row("1", "P-1/A", "b", Some(900)), Some(9_000_001));
}
