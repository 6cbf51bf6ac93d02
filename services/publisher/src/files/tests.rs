//! A folder, its writers, and a publisher that may end at any commit: time moved by hand, memory as the cursor topic has it.

use std::{collections::BTreeMap, fs, io::Write as _, path::PathBuf, sync::Arc};

use avro::Schema;
use landscape::Landscape;
use model::{Change, Cursor, DeadLetter, Domain};

use super::*;
use crate::memory::Memory;

mod away;
mod writers;

const SETTLE: Duration = Duration::from_secs(10);
const HEADER: &str = "ID,NAME\n";
const MAPPING: &str = r#"{"item_id": {{ row.ID | upper }}, "revision": "A", "base_uom": "H87",
 "descriptions": [{"lang": "en", "text": {{ row.NAME ~ (lookup_all("more", row.ID) | map(attribute="MORE") | join) }}}]}"#;

/// The publisher's surroundings: they outlive it.
struct World {
    dir: tempfile::TempDir,
    landscape: Arc<Landscape>,
    ids: HashMap<Schema, i32>,
    reader: avro::Reader,
    /// The cursor topic, compacted.
    durable: BTreeMap<String, Option<Cursor>>,
    changes: Vec<Change>,
    letters: Vec<DeadLetter>,
    now: Instant,
    time: u64,
    epoch: i64,
    publisher: Option<(Files, Capture)>,
}

impl World {
    fn new(after: &str, streams: &str) -> Self {
        let source = format!(
            "office: item data office\nmax_deletes: {{share: 50%, at_least: 5}}\nconnector: {{type: file, folder: in, after: {after}}}\nstreams:\n{streams}"
        );
        let mapping = MAPPING.to_owned();
        let plain = mapping.replace(" ~ (lookup_all(\"more\", row.ID) | map(attribute=\"MORE\") | join)", "");
        let files = [
            (
                "millrace.yaml",
                "version: 1\nkafka: {brokers: [], topic_prefix: mdm., slots: 12, replication: 1}\nregistry: {urls: []}\n"
                    .to_owned(),
            ),
            ("domains/item.yaml", "owner: erp\noffice: item office\n".to_owned()),
            ("sources/erp.yaml", source),
            ("mappings/erp/item.j2", plain),
            ("mappings/erp/more.j2", mapping),
        ];
        let files = files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
        let landscape = Landscape::parse(&files).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let ids: HashMap<_, _> =
            [Schema::change(Domain::Item), Schema::Cursor, Schema::DeadLetter].into_iter().zip(1..).collect();
        let reader = avro::Reader::default();
        for (schema, id) in &ids {
            reader.learn(*id, schema.text());
        }
        Self {
            dir: tempfile::tempdir().unwrap(),
            landscape: Arc::new(landscape),
            ids,
            reader,
            durable: BTreeMap::new(),
            changes: Vec::new(),
            letters: Vec::new(),
            now: Instant::now(),
            time: 0,
            epoch: 1,
            publisher: None,
        }
    }

    fn full(after: &str) -> Self {
        Self::new(
            after,
            "  - {name: items, domain: item, files: \"items*.csv\", content: full, key: [ID], mapping: erp/item.j2}\n",
        )
    }

    fn delta(after: &str) -> Self {
        Self::new(
            after,
            "  - {name: items, domain: item, files: \"items*.csv\", content: delta, key: [ID], mapping: erp/item.j2}\n",
        )
    }

    /// Of the folder, when nothing is wrong with it: what the next turn needs at most.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Each file is a second younger than the one before it.
    fn touch(&mut self, name: &str) {
        self.time += 1;
        let file = fs::File::options().write(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.time)).unwrap();
    }

    fn put(&mut self, name: &str, rows: &str) {
        fs::write(self.path(name), format!("{HEADER}{rows}")).unwrap();
        self.touch(name);
    }

    fn mark(&mut self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        self.touch(name);
    }

    fn replace(&mut self, name: &str, rows: &str) {
        self.put("next.part", rows);
        fs::rename(self.path("next.part"), self.path(name)).unwrap();
    }

    fn append(&mut self, name: &str, text: &str) {
        fs::File::options().append(true).open(self.path(name)).unwrap().write_all(text.as_bytes()).unwrap();
        self.touch(name);
    }

    /// As if a file had been taken that much earlier.
    fn age(&mut self, entry: &str, age: Duration) {
        let cursor = self.durable.get_mut(entry).and_then(Option::as_mut).unwrap();
        let taken: Taken = position::read(cursor.position.as_deref());
        let at = taken.at - i64::try_from(age.as_micros()).unwrap();
        cursor.position = Some(position::write(&Taken { at, ..taken }));
    }

    fn raise_epoch(&mut self) {
        self.epoch += 1;
        self.crash();
    }

    fn publisher(&mut self) -> (Files, Capture) {
        if let Some(publisher) = self.publisher.take() {
            return publisher;
        }
        let source = landscape::Source { epoch: self.epoch, ..self.landscape.sources["erp"].clone() };
        let landscape::SourceConnector::File { after, settle, .. } = &source.connector else { panic!("a drop folder") };
        assert_eq!(*settle, SETTLE, "unless the landscape says something else");
        let files = Files::new(Folder::new(self.dir.path(), *settle), *after);
        let mut memory = Memory::new(self.epoch, source.streams.iter().map(|stream| (stream.name.clone(), stream.domain)));
        for (key, cursor) in &self.durable {
            memory.restore(key, cursor.clone());
        }
        let codec = avro::Writer::new(self.ids.clone());
        (files, Capture::new(self.landscape.clone(), source, avro::Topics::new("mdm."), codec, memory))
    }

    /// Ends the publisher where it stands; what was not durable is lost.
    fn crash(&mut self) {
        self.publisher = None;
    }

    /// One turn; `between` happens while each commit waits, with its number. False from it: the commit never ends, and the
    /// publisher dies.
    fn turn_with(&mut self, mut between: impl FnMut(&mut World, usize) -> bool) {
        let (mut files, mut capture) = self.publisher();
        let mut turn = files.look(self.now, &mut capture).unwrap();
        for number in 1.. {
            let is_more = files.advance(&mut turn, &mut capture).unwrap();
            let batch = capture.batch();
            if !between(self, number) {
                return;
            }
            for (key, before) in &batch.before {
                let content = |cursor: &Cursor| (cursor.position.clone(), cursor.sent.clone());
                let durable = self.durable.get(key).and_then(Option::as_ref);
                assert_eq!(durable.map(content), before.as_ref().map(content), "{key}");
            }
            assert!(batch.cursor.values().flatten().all(|cursor| cursor.position.as_ref().is_none_or(|text| text.len() < 4_096)));
            self.durable.extend(batch.cursor);
            for record in batch.records {
                let value = record.value.unwrap();
                if record.topic == "mdm.dlq.erp" {
                    self.letters.push(self.reader.decode(&value).unwrap());
                } else {
                    self.changes.push(self.reader.decode_change(Domain::Item, &value).unwrap());
                }
            }
            if !is_more {
                break;
            }
        }
        self.publisher = Some((files, capture));
    }

    fn turn(&mut self) {
        self.turn_with(|_, _| true);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.turn();
    }

    /// Long enough that what lies in the folder is taken.
    fn rest(&mut self) {
        self.turn();
        self.wait(SETTLE);
        self.turn();
    }

    /// What happened since this was asked last.
    fn shown(&mut self) -> Vec<String> {
        let change = |change: &Change| {
            let closes = if change.meta.causation_id.is_some() { " closes" } else { "" };
            match &change.data {
                Some(_) => format!("{}={}{closes}", change.meta.source_key, text(change)),
                None => format!("-{}{closes}", change.meta.source_key),
            }
        };
        let changes: Vec<_> = std::mem::take(&mut self.changes).iter().map(change).collect();
        changes.into_iter().chain(std::mem::take(&mut self.letters).into_iter().map(|letter| letter.code)).collect()
    }

    fn files_in(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let entries = entries.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_file());
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn text(change: &Change) -> String {
    let data = serde_json::to_value(&change.data).unwrap();
    data.pointer("/descriptions/0/text").and_then(|text| text.as_str()).unwrap_or_else(|| panic!("{data}")).to_owned()
}

fn rows(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| format!("P-{number},pump\n")).collect()
}

#[test]
fn a_file_that_is_replaced_while_a_commit_waits_is_not_moved_unread() {
    for marked in [false, true] {
        let mut world = World::delta("done");
        world.put("items.csv", &rows(0..2_500));
        if marked {
            world.mark("items.csv.done", "");
        }
        world.turn();
        world.now += SETTLE;
        if !marked {
            world.turn_with(|world, number| {
                if number == 1 {
                    world.replace("items.csv", "N-1,new\n");
                }
                true
            });
        }
        assert_eq!(world.shown().len(), 2_500);
        world.replace("items.csv", "N-1,new\n");
        world.rest();
        assert_eq!(world.shown(), ["N-1=new"], "marked: {marked}");
        assert_eq!(world.files_in("done").len(), 2);
        assert!(world.files_in("").is_empty() && world.files_in("taking").is_empty());
    }
}

#[test]
fn whoever_writes_on_after_the_while_is_read_on_whenever_that_is() {
    for moment in 0..5 {
        let mut world = World::full("done");
        world.put("items.csv", "P-1,pump\nP-2,valve\n");
        world.rest();
        assert_eq!(world.shown(), ["P-1=pump", "P-2=valve"]);
        // The next list: its writer pauses for longer than the while, in the middle of a row.
        world.put("items.csv", "P-1,pump\nP-2,va");
        let mut writer = fs::File::options().append(true).open(world.path("items.csv")).unwrap();
        world.turn();
        world.now += SETTLE;
        let mut write = |world: &mut World| {
            writer.write_all(b"lve\nP-3,seal\n").unwrap();
            world.time += 1;
            writer.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + world.time)).unwrap();
        };
        match moment {
            0 => write(&mut world),
            1 | 2 => world.turn_with(|world, number| {
                if number == moment {
                    write(world);
                }
                true
            }),
            _ => {
                world.rest();
                if moment == 4 {
                    world.crash();
                }
                write(&mut world);
            }
        }
        for _ in 0..3 {
            world.rest();
        }
        let shown = world.shown();
        assert!(!shown.iter().any(|change| change.starts_with('-')), "{moment}: {shown:?}");
        assert_eq!(shown.last().map(String::as_str), Some("P-3=seal"), "{moment}: {shown:?}");
        assert_eq!(world.files_in("done").len(), 2, "{moment}");
        assert!(world.files_in("taking").is_empty(), "{moment}");
    }
}

#[test]
fn a_file_that_may_be_cut_deletes_nothing_and_says_so_until_it_is_whole() {
    let mut world = World::full("keep");
    world.put("items.csv", "P-1,pump\nP-2,valve\nP-3,seal\n");
    world.rest();
    world.shown();
    world.put("items.csv", "P-1,pump\nP-2,valve");
    world.rest();
    assert_eq!(world.shown(), ["DELETES_WITHHELD"]);
    world.append("items.csv", "\nP-3,seal\n");
    world.rest();
    assert_eq!(world.shown(), ["P-3=seal closes"]);
    world.put("items.csv", "P-1,pump\nP-2,valve");
    world.mark("items.csv.done", "");
    world.turn();
    assert_eq!(world.shown(), ["-P-3"], "its writer says that this is all");
    world.put("items.csv", "P-1,pump\n");
    world.wait(SETTLE / 2);
    assert!(world.shown().is_empty(), "the mark is of the file before");
    world.append("items.csv", "P-2,valve\n");
    world.rest();
    assert!(world.shown().is_empty());
}

#[test]
fn a_file_that_is_written_anew_behind_a_look_at_the_folder_deletes_nothing() {
    let mut world = World::full("keep");
    world.put("items.csv", &rows(0..2_500));
    world.rest();
    world.shown();
    world.put("items.csv", &rows(0..2_499));
    world.turn();
    world.now += SETTLE;
    world.turn_with(|world, number| {
        if number == 1 {
            world.put("items.csv", &rows(0..1_500));
        }
        true
    });
    assert!(world.shown().is_empty(), "neither of them was read whole");
    world.append("items.csv", &rows(1_500..2_500));
    world.rest();
    assert!(world.shown().is_empty());

    let (mut files, mut capture) = world.publisher();
    world.put("items.csv", &rows(0..2_499));
    files.look(world.now, &mut capture).unwrap();
    world.now += SETTLE;
    let mut turn = files.look(world.now, &mut capture).unwrap();
    world.put("items.csv", &rows(0..1_500));
    while files.advance(&mut turn, &mut capture).unwrap() {
        assert!(capture.batch().records.is_empty());
    }
}

#[test]
fn a_row_that_waits_for_the_end_of_its_file_waits_over_a_restart() {
    for dies_at in 1..5 {
        let mut world = World::full("keep");
        world.put("items.csv", &(rows(0..1_500) + "X-1,old\n"));
        world.rest();
        world.shown();
        // The record X-1 moves to the source key x-1, in the first row.
        world.put("items.csv", &("x-1,new\n".to_owned() + &rows(0..1_500)));
        world.turn();
        world.now += SETTLE;
        world.turn_with(|_, number| number < dies_at);
        world.crash();
        world.rest();
        assert_eq!(world.shown(), ["-X-1", "x-1=new"], "{dies_at}");
        assert!(world.letters.is_empty());
    }
}

#[test]
fn kept_files_are_not_taken_again_after_a_restart() {
    let mut world = World::delta("keep");
    world.put("items1.csv", "P-1,old\nP-2,two\n");
    world.put("items2.csv", "P-1,new\n");
    world.rest();
    assert_eq!(world.shown(), ["P-1=old", "P-2=two", "P-1=new"]);
    world.crash();
    world.put("items0.csv", "P-3,three\n");
    world.rest();
    world.crash();
    world.rest();
    assert_eq!(world.shown(), ["P-3=three"]);
    // Nor after a while in which the share was not there.
    let names = ["items0.csv", "items1.csv", "items2.csv"];
    let texts = names.map(|name| fs::read(world.path(name)).unwrap());
    for name in names {
        fs::remove_file(world.path(name)).unwrap();
    }
    world.rest();
    world.wait(GONE * 2);
    for (name, text) in names.iter().zip(&texts) {
        fs::write(world.path(name), text).unwrap();
    }
    world.rest();
    assert!(world.shown().is_empty());
    // One that is gone for good is a new file when it comes again.
    fs::remove_file(world.path("items0.csv")).unwrap();
    world.turn();
    world.wait(GONE / 2);
    assert!(world.durable["items/!taken:items0.csv"].is_some());
    world.wait(GONE);
    assert!(world.durable["items/!taken:items0.csv"].is_none());
}

#[test]
fn a_position_as_it_was_written_before_is_taken_up() {
    let mut world = World::delta("keep");
    let mut taken = BTreeMap::new();
    for number in 0..300 {
        let name = format!("items{number:03}.csv");
        world.put(&name, &format!("P-{number},pump\n"));
        taken.insert(name.clone(), file::sha256(&world.path(&name)).unwrap());
    }
    let position = serde_json::json!({"taken": taken, "reading": {"name": "items300.csv", "sha256": "00", "row": 7}}).to_string();
    let cursor = |position: String| Some(Cursor { position: Some(position), sent: None, epoch: 1 });
    world.durable.insert("items".to_owned(), cursor(position));
    world.put("items300.csv", "P-300,pump\n");
    world.rest();
    assert_eq!(world.shown(), ["P-300=pump"]);
    assert_eq!(world.durable["items"], cursor("{}".to_owned()));
    assert_eq!(world.durable.keys().filter(|key| key.starts_with("items/!taken:")).count(), 301);
    world.crash();
    world.rest();
    assert!(world.shown().is_empty());
}

const MORE: &str = "  - {name: items, domain: item, files: \"items*.csv\", content: CONTENT, key: [ID], mapping: erp/more.j2, \
                    lookups: [{name: more, files: more.csv, key: [ID]}]}\n";

#[test]
fn another_side_table_brings_no_old_content_back() {
    for content in ["delta", "full"] {
        let mut world = World::new("keep", &MORE.replace("CONTENT", content));
        fs::write(world.path("more.csv"), "ID,MORE\nP-1,!\n").unwrap();
        world.put("items1.csv", "P-1,old\nP-2,two\nP-3,three\n");
        world.rest();
        world.put("items2.csv", "P-1,new\nP-2,two\n");
        world.rest();
        world.shown();
        fs::write(world.path("more.csv"), "ID,MORE\nP-1,!\nP-3,?\n").unwrap();
        world.touch("more.csv");
        world.rest();
        // A delta's older file still has the word about P-3; of full files it has none about anything.
        assert_eq!(world.shown(), if content == "delta" { vec!["P-3=three?"] } else { vec![] }, "{content}");
        fs::write(world.path("more.csv"), "ID,MORE\nP-1,!!\nP-3,?\n").unwrap();
        world.touch("more.csv");
        world.turn();
        world.now += SETTLE;
        world.turn_with(|_, number| number < 2);
        world.crash();
        world.rest();
        assert_eq!(world.shown(), ["P-1=new!!"], "{content}");
    }
}

#[test]
fn who_asks_for_a_key_again_gets_what_was_said_last() {
    let mut world = World::delta("keep");
    world.put("items1.csv", "P-1,old\nP-2,two\n");
    world.put("items2.csv", "P-1,new\n");
    world.rest();
    world.shown();
    let (files, mut capture) = world.publisher();
    capture.send_again(0, "P-1");
    capture.send_again(0, "P-2");
    capture.move_to(0, position::write(&FilesPosition { again: true, ..FilesPosition::default() }));
    world.durable.extend(capture.batch().cursor);
    world.publisher = Some((files, capture));
    world.rest();
    assert_eq!(world.shown(), ["P-1=new", "P-2=two"]);
    world.rest();
    world.crash();
    world.rest();
    assert!(world.shown().is_empty());
    // So does who raises the epoch.
    world.raise_epoch();
    world.rest();
    assert_eq!(world.shown(), ["P-1=new", "P-2=two"]);
    world.crash();
    world.rest();
    assert!(world.shown().is_empty());
}

#[test]
fn a_checksum_is_the_writers_word_and_holds_what_is_not_it() {
    let mut world = World::full("keep");
    world.put("items.csv", "P-1,pump\nP-2,valve");
    let sum = file::sha256(&world.path("items.csv")).unwrap();
    world.mark("items.csv.sha256", &format!("{sum}  items.csv\n"));
    world.turn();
    assert_eq!(world.shown(), ["P-1=pump", "P-2=valve"], "without waiting");
    world.put("items.csv", "P-1,pump\n");
    world.mark("items.csv.sha256", &format!("{sum}  items.csv\n"));
    world.turn();
    assert!(world.shown().is_empty(), "it may still come");
    world.rest();
    assert_eq!(world.shown(), ["CHECKSUM_WRONG"]);
    world.rest();
    assert!(world.shown().is_empty());
    let sum = file::sha256(&world.path("items.csv")).unwrap();
    world.mark("items.csv.sha256", &format!("{sum}  items.csv\n"));
    world.rest();
    assert_eq!(world.shown(), ["-P-2 closes"]);
}

#[test]
fn a_file_of_two_streams_and_a_side_table_stay_until_everybody_has_them() {
    let mut world = World::new(
        "done",
        &format!(
            "{}  - {{name: more, domain: item, files: \"m*.csv\", content: delta, key: [ID], mapping: erp/item.j2}}\n\
             {}",
            MORE.replace("CONTENT", "delta"),
            "  - {name: others, domain: item, files: \"items*.csv\", content: delta, key: [NAME], mapping: erp/item.j2}\n",
        ),
    );
    world.put("items1.csv", "P-1,pump\n");
    world.rest();
    assert_eq!(world.shown(), ["pump=pump"], "the first stream waits for its side table");
    assert_eq!(world.files_in("taking"), ["items1.csv"]);
    fs::write(world.path("more.csv"), "ID,MORE,NAME\nP-9,!,seal\n").unwrap();
    world.rest();
    assert_eq!(world.shown(), ["P-9=seal", "KEY_TAKEN"]);
    assert_eq!((world.files_in("done"), world.files_in("")), (vec!["items1.csv".to_owned()], vec!["more.csv".to_owned()]));
}

#[test]
fn a_list_that_is_dropped_once_more_is_read_once_more() {
    let mut world = World::full("done");
    for (rows, shown) in [
        ("P-1,pump\nP-2,valve\n", vec!["P-1=pump", "P-2=valve"]),
        ("", vec!["MASS_DELETE"]),
        ("P-1,pump\nP-2,valve\n", vec!["P-2=valve closes"]),
        ("P-1,pump\nP-2,valve\n", vec![]),
    ] {
        world.put("items.csv", rows);
        world.rest();
        assert_eq!(world.shown(), shown);
        assert!(world.files_in("").is_empty());
    }
    assert_eq!(world.files_in("done").len(), 4);
}
