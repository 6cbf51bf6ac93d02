use std::collections::HashMap;

use avro::Schema;
use connect::csv::{Format, OpenError, Reader};
use model::{ApprovalState, DeadLetter};

use super::{map::stamp, *};

const SOURCE: &str = "
epoch: 3
office: item data office
connector: {type: file, folder: in}
streams:
  - {name: items, domain: item, files: \"items*.csv\", content: full, key: [MATNR], mapping: erp/item.j2, author: BY, approval: STATE}
";
const MAPPING: &str = r#"{"item_id": {{ row.MATNR | upper }}, "revision": {{ row.REV }}, "base_uom": {{ row.UOM | trim }},
 "descriptions": [{"lang": "en", "text": {{ row.NAME }}}]}"#;
const HEADER: &str = "MATNR,REV,UOM,NAME,BY,STATE\n";

/// A publisher without broker: files in, records out.
struct Case {
    capture: Capture,
    reader: avro::Reader,
    now: i64,
    name: &'static str,
}

/// What one file caused.
struct Caused {
    changes: Vec<Change>,
    letters: Vec<DeadLetter>,
    tally: Tally,
}

impl Case {
    fn new() -> Self {
        let files = [
            (
                "millrace.yaml",
                "version: 1\nkafka: {brokers: [], topic_prefix: mdm., slots: 12, replication: 1}\nregistry: {urls: []}\n",
            ),
            ("domains/item.yaml", "owner: erp\noffice: item office\n"),
            ("sources/erp.yaml", SOURCE),
            ("mappings/erp/item.j2", MAPPING),
        ];
        let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        let landscape = Landscape::parse(&files).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let source = landscape.sources["erp"].clone();
        let memory = Memory::new(source.epoch, source.streams.iter().map(|stream| (stream.name.clone(), stream.domain)));
        let schemas = [Schema::change(Domain::Item), Schema::Cursor, Schema::DeadLetter];
        let ids: HashMap<_, _> = schemas.into_iter().zip(1..).collect();
        let reader = avro::Reader::default();
        for (schema, id) in &ids {
            reader.learn(*id, schema.text());
        }
        let topics = avro::Topics::new("mdm.");
        let capture = Capture::new(Arc::new(landscape), source, topics, avro::Writer::new(ids), memory);
        Self { capture, reader, now: 1_000_000, name: "items.csv" }
    }

    fn now(&mut self) -> Timestamp {
        self.now += 1_000;
        Timestamp::from_micros(self.now)
    }

    /// Takes a whole file as the drop folder does.
    fn file(&mut self, rows: &str) -> Caused {
        let text = format!("{HEADER}{rows}");
        let mut pass = Pass::new(0, self.name, Timestamp::from_micros(7));
        let fingerprint = fingerprint(text.as_bytes());
        let now = self.now();
        match Reader::open(text.as_bytes(), &Format::default(), &["MATNR".to_owned()]) {
            Ok(mut reader) => {
                pass.columns = Some("[]".into());
                while let Some(read) = reader.next_row().unwrap() {
                    let now = self.now();
                    self.capture.take(&mut pass, read, now);
                }
                for key in self.capture.absent(&mut pass, &fingerprint, now) {
                    let now = self.now();
                    self.capture.delete(&mut pass, &key, now);
                }
            }
            Err(OpenError::File(fault)) => self.capture.refuse_whole(&mut pass, &fault, &fingerprint, now),
            Err(OpenError::Io(error)) => panic!("{error}"),
        }
        let now = self.now();
        self.capture.finish(&mut pass, now);
        self.caused()
    }

    fn caused(&mut self) -> Caused {
        let batch = self.capture.batch();
        let mut caused = Caused { changes: Vec::new(), letters: Vec::new(), tally: batch.tally };
        for record in &batch.records {
            let value = record.value.as_ref().unwrap();
            match record.topic.as_str() {
                "mdm.change.erp.item" => {
                    let change = self.reader.decode_change(Domain::Item, value).unwrap();
                    let key = RecordKey::parse(Domain::Item, &record.key).unwrap();
                    assert_eq!(record.slot, key.slot(Domain::Item, 12));
                    let trace = avro::headers::created(&change.meta, false);
                    assert_eq!(record.headers, avro::headers::change(&change, Domain::Item, &key, trace));
                    if let Some(data) = &change.data {
                        assert_eq!(data.key().unwrap(), key);
                    }
                    caused.changes.push(change);
                }
                "mdm.dlq.erp" => {
                    assert_eq!(record.slot, Slot::of(&record.key, 12));
                    caused.letters.push(self.reader.decode(value).unwrap());
                }
                other => panic!("{other}"),
            }
        }
        // Whatever is sent or refused is remembered in the same transaction.
        assert!(batch.records.is_empty() || !batch.cursor.is_empty());
        caused
    }
}

impl Caused {
    /// `operation source key@sequence`, closed letters behind it.
    fn shown(&self) -> Vec<String> {
        let change = |change: &Change| {
            let meta = &change.meta;
            let closes = if meta.causation_id.is_some() { " closes" } else { "" };
            let what = if change.data.is_some() { "upsert" } else { "delete" };
            format!("{what} {}{closes}", meta.source_key)
        };
        let letter = |letter: &DeadLetter| format!("{} {}", letter.code, letter.source_key.as_deref().unwrap_or("-"));
        self.changes.iter().map(change).chain(self.letters.iter().map(letter)).collect()
    }
}

fn row(key: &str, name: &str) -> String {
    format!("{key},A,H87,{name},,APPROVED\n")
}

fn rows(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| row(&format!("P-{number}"), "pump")).collect()
}

#[test]
fn a_good_row_becomes_a_change_that_says_where_it_comes_from() {
    let mut case = Case::new();
    let caused = case.file("P-1,A,H87,pump,K.NOVAK,approved\n");
    let meta = &caused.changes[0].meta;
    assert_eq!((meta.source.as_str(), meta.source_entity.as_str(), meta.source_key.as_str()), ("erp", "items", "P-1"));
    assert_eq!((meta.source_version.as_str(), meta.source_epoch), ("items.csv", 3));
    assert_eq!(meta.source_sequence, meta.captured_at.micros());
    assert_eq!(meta.occurred_at, Timestamp::from_micros(7), "when the file changed");
    assert_eq!(meta.author.as_deref(), Some("K.NOVAK"));
    assert_eq!(meta.approval.as_ref().unwrap().state, ApprovalState::Approved);
    assert!(meta.origin.is_empty(), "it has passed through no system before this one");
    assert_eq!(meta.change_id.0.get_version_num(), 7);
    assert_eq!(meta.correlation_id, meta.change_id);
}

#[test]
fn what_was_sent_is_not_sent_again_and_what_changed_is() {
    let mut case = Case::new();
    let caused = case.file(&(row("P-1", "pump") + &row("P-2", "valve")));
    assert_eq!(caused.shown(), ["upsert P-1", "upsert P-2"], "{:?}", caused.letters);
    let again = case.file(&(row("P-1", "pump") + &row("P-2", "valve")));
    assert!(again.shown().is_empty());
    assert_eq!(again.tally.outcomes[&("item", "duplicate")], 2);
    assert_eq!(case.file(&(row("P-1", "pump") + &row("P-2", "ball valve"))).shown(), ["upsert P-2"]);
}

#[test]
fn an_unmappable_row_is_a_letter_with_everything_a_person_needs_and_the_next_good_row_closes_it() {
    let mut case = Case::new();
    let bad = "P-1,A,H87,pump,,APPROVED\nP-2,,H87,valve,,APPROVED\nP-3,A,H87,seal,,APPROVED\n";
    let caused = case.file(bad);
    assert_eq!(caused.shown()[..2], ["upsert P-1", "upsert P-3"]);
    let letter = &caused.letters[0];
    assert_eq!((letter.stage, letter.system.as_str()), (model::Stage::Capture, "erp"));
    assert_eq!((letter.class, letter.code.as_str()), (model::LetterClass::Data, "KEY_MISSING"));
    assert_eq!(letter.field.as_deref(), Some("/revision"));
    assert_eq!(letter.owner.as_deref(), Some("item data office"));
    assert_eq!(letter.payload, b"P-2,,H87,valve,,APPROVED");
    assert_eq!(letter.headers["line"], "3");
    assert!(letter.message.starts_with("items.csv line 3: "), "{}", letter.message);

    let again = case.file(bad);
    assert!(again.shown().is_empty(), "the same bad row is one letter: {:?}", again.shown());

    let other = case.file(&bad.replace("valve", "ball valve"));
    assert_eq!(other.letters[0].replaces.as_ref(), Some(&letter.id), "another bad row replaces the letter");

    let good = case.file(&bad.replace("P-2,,", "P-2,B,"));
    assert_eq!(good.shown(), ["upsert P-2 closes"]);
    assert_eq!(good.changes[0].meta.causation_id.as_ref(), Some(&other.letters[0].id.0));
}

#[test]
fn a_state_of_approval_that_nobody_knows_is_not_guessed() {
    let caused = Case::new().file("P-1,A,H87,pump,,maybe\n");
    assert_eq!((caused.letters[0].code.as_str(), caused.letters[0].field.as_deref()), ("MAPPING_VALUE", Some("STATE")));
}

#[test]
fn broken_rows_are_letters_and_a_file_with_one_deletes_nothing() {
    let mut case = Case::new();
    case.file(&rows(0..4));
    let caused = case.file(&(rows(0..2) + "P-2,A\n"));
    let told = ["COLUMN_MISSING P-2", "DELETES_WITHHELD deletes:items.csv"];
    assert_eq!(caused.shown(), told, "P-3 is absent, but a row was not readable");
    assert_eq!(
        caused.letters[1].message,
        "items.csv: 1 of 4 known keys are missing, and there are rows whose key cannot be read; nothing was deleted"
    );
    assert!(case.file(&(rows(0..2) + "P-2,A\n")).shown().is_empty(), "once");
    let caused = case.file(&(rows(0..2) + "P-2,A,\"H87,pump\n" + &row("P-3", "pump")));
    assert_eq!(caused.letters.iter().map(|letter| letter.code.as_str()).collect::<Vec<_>>(), ["ROW_BROKEN", "DELETES_WITHHELD"]);
    let closes = ["upsert P-2 closes", "delete P-3 closes", "upsert P-2 closes"];
    assert_eq!(case.file(&rows(0..3)).shown(), closes, "a later good pass closes all three");
}

#[test]
fn an_absent_key_is_deleted_under_its_record_key() {
    let mut case = Case::new();
    case.file(&rows(0..3));
    let caused = case.file(&rows(0..2));
    assert_eq!(caused.shown(), ["delete P-2"]);
    let change = &caused.changes[0];
    assert_eq!((change.meta.operation, &change.data), (Operation::Delete, &None));
    assert!(case.file(&rows(0..2)).shown().is_empty(), "deleted once");
    assert_eq!(case.file(&rows(0..3)).shown(), ["upsert P-2"], "and it can come back");
}

#[test]
fn a_file_that_would_delete_most_keys_deletes_nothing_and_says_so_once() {
    let mut case = Case::new();
    case.file(&rows(0..60));
    let caused = case.file(&(row("P-0", "renamed") + &row("P-1", "pump")));
    assert_eq!(caused.shown(), ["upsert P-0", "MASS_DELETE deletes:items.csv"], "upserts go on");
    assert_eq!(caused.letters[0].observed.as_deref(), Some("58"));
    let again = case.file(&(row("P-0", "renamed") + &row("P-1", "pump")));
    assert!(again.shown().is_empty());
    // Complete again: the next change closes the letter.
    assert_eq!(case.file(&(row("P-0", "again") + &rows(1..60))).shown(), ["upsert P-0 closes"]);
}

#[test]
fn the_same_good_file_closes_the_letter_about_a_bad_one_without_anything_new_in_it() {
    let mut case = Case::new();
    case.file(&rows(0..60));
    let letter = case.file("").letters.remove(0);
    assert_eq!(letter.message, "items.csv: 60 of 60 known keys are missing, which is all of them; nothing was deleted");
    let caused = case.file(&rows(0..60));
    assert_eq!(caused.shown(), ["upsert P-59 closes"], "a row that is known already goes out once more");
    assert_eq!(caused.changes[0].meta.causation_id, Some(letter.id.0));
    assert!(case.file(&rows(0..60)).shown().is_empty());
}

#[test]
fn a_good_full_file_of_another_name_closes_letters_about_full_files() {
    let mut case = Case::new();
    case.file(&rows(0..60));
    case.name = "items_2.csv";
    assert_eq!(case.file("").shown(), ["MASS_DELETE deletes:items_2.csv"]);
    case.name = "items_3.csv";
    assert_eq!(case.file(&rows(0..60)).shown(), ["upsert P-59 closes"]);
}

#[test]
fn rows_without_any_value_are_no_records_and_stop_no_delete() {
    let mut case = Case::new();
    let blank = ",,,,,\n";
    assert_eq!(case.file(&(rows(0..3) + &blank.repeat(3))).shown(), ["upsert P-0", "upsert P-1", "upsert P-2"]);
    assert_eq!(case.file(&(rows(0..2) + &blank.repeat(3))).shown(), ["delete P-2"]);
}

#[test]
fn up_to_a_tenth_and_up_to_five_keys_may_go() {
    // All of them never: a list of nothing that is known is rather no list.
    for (known, left, deleted) in [(60, 54, 6), (60, 53, 0), (6, 1, 5), (6, 0, 0), (5, 0, 0), (1, 0, 0)] {
        let mut case = Case::new();
        case.file(&rows(0..known));
        let caused = case.file(&rows(0..left));
        assert_eq!(caused.changes.len(), deleted, "{known} known, {left} left");
        assert_eq!(caused.letters.len(), usize::from(deleted == 0), "{known} known, {left} left");
    }
}

#[test]
fn a_second_source_key_for_one_record_is_a_letter() {
    let caused = Case::new().file(&(row("P-1", "pump") + &row("p-1", "pump")));
    assert_eq!(caused.shown(), ["upsert P-1", "KEY_TAKEN p-1"]);
    assert_eq!(caused.letters[0].class, model::LetterClass::Data);
    assert_eq!(caused.letters[0].observed.as_deref(), Some("P-1"));
    assert_eq!(caused.letters[0].key.as_ref().unwrap().as_str(), "P-1/A");
}

#[test]
fn a_record_may_move_to_another_source_key_within_one_file() {
    let mut case = Case::new();
    case.file(&(row("P-1", "pump") + &row("P-2", "pump")));
    assert_eq!(case.file(&(row("p-1", "pump") + &row("P-2", "pump"))).shown(), ["delete P-1", "upsert p-1"]);
    let mut case = Case::new();
    case.file(&row("P-1", "pump"));
    assert_eq!(case.file(&row("p-1", "pump")).shown(), ["delete P-1", "upsert p-1"], "also where there is no other one");
}

#[test]
fn rows_that_swap_their_records_or_pass_them_on_all_get_them() {
    let numbered = |key: &str, revision: &str| row(key, "pump").replace(",A,", &format!(",{revision},"));
    let mut case = Case::new();
    case.file(&(numbered("P-1", "A") + &numbered("p-1", "B")));
    let circle = case.file(&(numbered("P-1", "B") + &numbered("p-1", "A")));
    assert!(circle.letters.is_empty(), "{:?}", circle.letters);
    let chain = case.file(&(numbered("P-1", "A") + &numbered("p-1", "D")));
    assert!(chain.letters.is_empty(), "{:?}", chain.letters);
}

#[test]
fn two_rows_of_one_key_in_a_full_file_do_not_take_turns() {
    let mut case = Case::new();
    let twice = row("P-1", "pump") + &row("P-1", "valve");
    let caused = case.file(&twice);
    assert_eq!(caused.changes.len(), 1);
    assert_eq!(caused.letters[0].code, "KEY_TWICE");
    assert!(case.file(&twice).shown().is_empty());
    // Rows that are passed over after a restart are met all the same.
    let text = format!("{HEADER}{twice}");
    let mut reader = Reader::open(text.as_bytes(), &Format::default(), &[]).unwrap();
    let mut pass = Pass::new(0, case.name, Timestamp::from_micros(7));
    pass.columns = Some("[]".into());
    while let Some(read) = reader.next_row().unwrap() {
        case.capture.pass_over(&mut pass, &read);
    }
    let now = case.now();
    case.capture.finish(&mut pass, now);
    assert!(case.caused().shown().is_empty(), "its letter is still true");
}

#[test]
fn a_changed_key_component_is_a_delete_and_an_upsert() {
    let mut case = Case::new();
    case.file(&row("P-1", "pump"));
    let caused = case.file(&row("P-1", "pump").replace(",A,", ",B,"));
    assert_eq!(caused.shown(), ["delete P-1", "upsert P-1"]);
    assert_eq!(caused.changes[0].data, None);
}

#[test]
fn a_row_without_key_is_a_letter_of_its_own() {
    let mut case = Case::new();
    let caused = case.file(&(row(" ", "pump") + &row("P-1", "valve")));
    assert_eq!(caused.changes.len(), 1);
    assert_eq!(caused.letters[0].code, "KEY_MISSING");
    assert!(caused.letters[0].source_key.as_ref().unwrap().starts_with("row:items.csv:"));
    assert!(case.file(&(row(" ", "pump") + &row("P-1", "valve"))).shown().is_empty());
}

#[test]
fn a_record_that_no_broker_takes_is_a_letter_with_a_part_of_it() {
    let large = "x".repeat(2 * 1024 * 1024);
    let caused = Case::new().file(&(row("P-1", &large) + &row("P-2", "valve")));
    assert_eq!(caused.shown(), ["upsert P-2", "TOO_LARGE P-1"]);
    let letter = &caused.letters[0];
    assert!(letter.truncated);
    assert_eq!(letter.payload.len(), 512 * 1024);
    assert!(letter.message.len() <= 1024, "{}", letter.message.len());
}

#[test]
fn what_millrace_wrote_itself_is_no_change_of_the_source() {
    let mut case = Case::new();
    let caused = case.file("P-1,A,H87,pump,millrace,APPROVED\n");
    assert!(caused.shown().is_empty());
    assert_eq!(caused.tally.outcomes[&("item", "echo")], 1);
    assert_eq!(case.file("P-1,A,H87,big pump,K.NOVAK,APPROVED\n").shown(), ["upsert P-1"]);
    let moved = case.file("P-1,B,H87,big pump,millrace,APPROVED\n");
    assert_eq!(moved.shown(), ["delete P-1", "upsert P-1"], "no echo of ours changes a key");
    assert_eq!(case.file(&row("P-2", "valve")).shown(), ["upsert P-2", "delete P-1"]);
    let back = case.file(&(row("P-2", "valve") + "P-1,B,H87,big pump,millrace,APPROVED\n"));
    assert_eq!(back.shown(), ["upsert P-1"], "nor brings one back that was deleted");
}

#[test]
fn a_file_that_is_none_is_one_letter_and_the_next_good_one_closes_it() {
    let mut case = Case::new();
    case.file(&rows(0..3));
    let mut pass = Pass::new(0, "items.csv", Timestamp::from_micros(7));
    let now = case.now();
    case.capture.refuse_whole(&mut pass, &Fault::new("FILE_EMPTY", "the file is empty"), "0", now);
    case.capture.finish(&mut pass, now);
    let caused = case.caused();
    assert_eq!(caused.shown(), ["FILE_EMPTY file:items.csv"]);
    assert_eq!(caused.letters[0].message, "items.csv: the file is empty");
    assert_eq!(case.file(&rows(0..4)).shown(), ["upsert P-3 closes"]);
}

#[test]
fn rows_that_are_durable_already_count_as_met_and_are_not_mapped_again() {
    let mut case = Case::new();
    case.file(&rows(0..3));
    let text = format!("{HEADER}{}", rows(0..3));
    let mut reader = Reader::open(text.as_bytes(), &Format::default(), &["MATNR".to_owned()]).unwrap();
    let mut pass = Pass::new(0, "items.csv", Timestamp::from_micros(7));
    while let Some(read) = reader.next_row().unwrap() {
        case.capture.pass_over(&mut pass, &read);
    }
    let now = case.now();
    assert!(case.capture.absent(&mut pass, "0", now).is_empty());
    let batch = case.capture.batch();
    assert!(batch.is_empty());
    assert_eq!(batch.tally, Tally::default());
}

#[test]
fn a_transaction_is_full_after_a_thousand_rows_or_four_mebibytes() {
    let mut case = Case::new();
    let mut pass = Pass::new(0, "items.csv", Timestamp::from_micros(7));
    let mut take = |case: &mut Case, name: &str, number: u64| {
        let text = format!("{HEADER}{}", row(&format!("P-{number}"), name));
        let mut reader = Reader::open(text.as_bytes(), &Format::default(), &[]).unwrap();
        let read = reader.next_row().unwrap().unwrap();
        let now = case.now();
        case.capture.take(&mut pass, read, now);
    };
    for number in 0..999 {
        take(&mut case, "pump", number);
    }
    assert!(!case.capture.is_full());
    take(&mut case, "pump", 999);
    assert!(case.capture.is_full());
    assert_eq!(case.capture.batch().records.len(), 1_000);
    let large = "x".repeat(800 * 1024);
    for number in 0..6 {
        take(&mut case, &large, number);
    }
    assert!(case.capture.is_full());
}

#[test]
fn source_keys_are_unambiguous_and_readable() {
    for (part, escaped) in [("PUMP-01", "PUMP-01"), ("A/B", "A%2FB"), ("10%", "10%25"), ("!x", "%21x"), (" x ", "x")] {
        assert_eq!(escape(part), escaped);
    }
}

#[test]
fn stamps_are_read_as_declared_and_never_guessed() {
    let micros = |text, format| stamp(Some(text), format).map(|stamp| stamp.to_string());
    assert_eq!(micros("2026-11-20T08:30:00.5+01:00", None).unwrap(), "2026-11-20T07:30:00.5Z");
    assert_eq!(micros("2022-05-30 00:00:00.000", Some("%Y-%m-%d %H:%M:%S%.f")).unwrap(), "2022-05-30T00:00:00Z");
    assert_eq!(micros("30.05.2022", Some("%d.%m.%Y")).unwrap(), "2022-05-30T00:00:00Z");
    for (text, format) in [("2022-05-30", None), ("31.02.2022", Some("%d.%m.%Y")), ("", None)] {
        assert!(micros(text, format).is_err(), "{text}");
    }
}

#[test]
fn a_row_whose_key_is_too_long_is_a_small_letter_with_field_and_bound() {
    let mut case = Case::new();
    // Two stray quotes: one cell swallows all rows between them.
    let swallowed = format!("4711{}", "\n4712;C;EA;Pump".repeat(40_000));
    let rows = row(&format!("\"{swallowed}\""), "pump") + &row("P-2", "valve");
    let caused = case.file(&rows);
    assert_eq!(caused.changes.len(), 1, "the next row is none the worse");
    let [letter] = &caused.letters[..] else { panic!("{} letters", caused.letters.len()) };
    assert_eq!((letter.code.as_str(), letter.field.as_deref()), ("KEY_TOO_LONG", Some("/item_id")));
    assert!(letter.message.contains("at most 512"), "{}", letter.message);
    assert_eq!((letter.class, letter.truncated), (model::LetterClass::Data, true));
    let source_key = letter.source_key.clone().unwrap();
    assert!(source_key.starts_with("4711\n4712") && source_key.len() <= model::LONGEST_KEY, "{source_key}");
    // It stays one key: the same row makes no second letter.
    let again = case.file(&rows);
    assert_eq!((again.changes.len(), again.letters.len()), (0, 0));
}

#[test]
fn every_letter_cursor_entry_and_change_of_a_file_fits_into_a_record() {
    let mut case = Case::new();
    let huge = "x".repeat(700_000);
    let (quoted, wide) = (format!("\"{huge}\""), format!("4715,C,EA,Pump,,,{huge}"));
    let rows = [
        format!("{quoted},C,EA,Pump,,"),
        format!("4711,{quoted},EA,Pump,,"),
        format!("4712,C,{quoted},Pump,,"),
        format!("4713,C,EA,{quoted},,"),
        format!("4714,C,EA,Pump,{quoted},"),
        format!("4716,C,EA,Pump,,{quoted}"),
        wide,
        row("P-1", &quoted),
    ];
    let text = format!("{HEADER}{}\n", rows.join("\n"));
    let mut pass = Pass::new(0, format!("{}.csv", "f".repeat(250)), Timestamp::from_micros(7));
    pass.columns = Some(serde_json::to_string(&vec!["c".repeat(100); 2_000]).unwrap());
    let mut reader = Reader::open(text.as_bytes(), &Format::default(), &["MATNR".to_owned()]).unwrap();
    while let Some(read) = reader.next_row().unwrap() {
        let now = case.now();
        case.capture.take(&mut pass, read, now);
    }
    let batch = case.capture.batch();
    assert!(batch.records.len() >= rows.len() - 1, "{} records", batch.records.len());
    for record in &batch.records {
        assert!(record.fits(), "{} bytes to {}", record.size(), record.topic);
    }
    for (key, cursor) in &batch.cursor {
        let value = cursor.as_ref().map_or(0, |cursor| serde_json::to_vec(cursor).unwrap().len());
        assert!(key.len() <= model::LONGEST_KEY + 64 && value < 8_192, "{} and {value} bytes", key.len());
    }
}
