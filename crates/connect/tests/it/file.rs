//! The drop folder, with time moved by hand.

use std::{
    fs,
    io::Read as _,
    time::{Duration, Instant, SystemTime},
};

use connect::file::{Folder, Ready, Watched, Word, matches, open, sha256, stamp};

const SETTLE: Duration = Duration::from_millis(300);

struct Drop {
    dir: tempfile::TempDir,
    folder: Folder,
    now: Instant,
    time: u64,
}

impl Drop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { folder: Folder::new(dir.path(), SETTLE), dir, now: Instant::now(), time: 0 }
    }

    /// Each file is a second younger than the one before it.
    fn put(&mut self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
        self.time += 1;
        self.touch(name, self.time);
    }

    fn touch(&self, name: &str, time: u64) {
        let file = fs::File::options().write(true).open(self.dir.path().join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + time)).unwrap();
    }

    fn ready(&mut self) -> Vec<Ready> {
        self.folder.scan(self.now).unwrap()
    }

    fn claim(&mut self) -> Ready {
        let ready = self.ready().remove(0);
        self.folder.claim(&ready).unwrap().unwrap()
    }

    fn ready_after(&mut self, wait: Duration) -> Vec<String> {
        self.now += wait;
        self.folder.scan(self.now).unwrap().into_iter().map(|ready| ready.name).collect()
    }
}

#[test]
fn a_file_is_taken_when_it_has_settled() {
    let mut drop = Drop::new();
    drop.put("items.csv", "id\n1\n");
    assert!(drop.ready_after(Duration::ZERO).is_empty());
    assert!(drop.ready_after(SETTLE / 2).is_empty());
    assert_eq!(drop.ready_after(SETTLE / 2), ["items.csv"]);
    assert_eq!(drop.ready_after(SETTLE), ["items.csv"], "until somebody takes it");
}

#[test]
fn a_file_still_being_written_waits_from_its_last_byte_on() {
    let mut drop = Drop::new();
    drop.put("items.csv", "id\n1\n");
    assert!(drop.ready_after(Duration::ZERO).is_empty());
    drop.put("items.csv", "id\n1\n2\n");
    assert!(drop.ready_after(SETTLE).is_empty());
    assert!(drop.ready_after(SETTLE / 2).is_empty());
    assert_eq!(drop.ready_after(SETTLE / 2), ["items.csv"]);
}

#[test]
fn a_done_marker_needs_no_waiting_and_is_no_file_itself() {
    let mut drop = Drop::new();
    drop.put("items.csv", "id\n1\n");
    drop.put("items.csv.done", "");
    assert_eq!(drop.ready_after(Duration::ZERO), ["items.csv"]);
}

#[test]
fn files_come_in_order_of_name_and_work_in_progress_does_not() {
    let mut drop = Drop::new();
    for name in ["b.csv", "a.csv", "c.csv.tmp", ".d.csv", "e.csv.part", "f.csv~"] {
        drop.put(name, "id\n");
    }
    fs::create_dir(drop.dir.path().join("done")).unwrap();
    assert!(drop.ready_after(Duration::ZERO).is_empty());
    assert_eq!(drop.ready_after(SETTLE), ["a.csv", "b.csv"]);
}

#[test]
fn put_away_keeps_an_older_file_of_that_name_and_can_be_repeated() {
    let mut drop = Drop::new();
    for text in ["one", "two"] {
        drop.put("items.csv", text);
        drop.put("items.csv.done", "");
        let sha = sha256(&drop.dir.path().join("items.csv")).unwrap();
        let claimed = drop.claim();
        let place = drop.folder.place("items.csv", &sha);
        assert!(drop.folder.put_away(&claimed, &place).unwrap());
        assert!(!drop.folder.put_away(&claimed, &place).unwrap(), "it is there already");
    }
    let mut names: Vec<_> = fs::read_dir(drop.dir.path().join("done"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[0], "items.csv");
    assert!(drop.ready_after(SETTLE).is_empty());
    assert!(!drop.dir.path().join("items.csv.done").exists());
    assert!(!drop.dir.path().join("taking/items.csv.done").exists());
}

#[test]
fn a_claimed_file_is_out_of_the_way_of_the_next_one_and_leaves_as_it_was_read_or_not_at_all() {
    let mut drop = Drop::new();
    drop.put("items.csv", "one");
    drop.put("items.csv.done", "");
    let claimed = drop.claim();
    drop.put("items.csv", "two");
    assert_eq!(drop.ready_after(SETTLE * 2), ["items.csv"], "one of them");
    assert!(drop.ready()[0].is_claimed, "the older one first");
    drop.put("taking/items.csv", "one and more");
    let place = drop.folder.place("items.csv", "5a5a5a5a5a");
    assert!(!drop.folder.put_away(&claimed, &place).unwrap());
    assert!(drop.ready_after(SETTLE / 2).is_empty(), "it changes again, and the next one waits behind it");
    assert_eq!(drop.ready_after(SETTLE), ["items.csv"]);
    let ready = drop.ready().remove(0);
    assert!(drop.folder.put_away(&ready, &place).unwrap());
    assert!(!drop.ready_after(SETTLE)[..].is_empty());
}

#[test]
fn a_file_that_was_put_away_is_watched_for_a_day() {
    let mut drop = Drop::new();
    drop.put("items.csv", "one");
    drop.put("items.csv.done", "");
    let (claimed, since) = (drop.claim(), drop.now);
    assert!(drop.folder.put_away(&claimed, "items.csv").unwrap());
    let file = Watched { name: claimed.name, place: "items.csv".to_owned(), stamp: claimed.stamp, sha256: String::new(), since };
    let day = Duration::from_secs(24 * 60 * 60);
    let second = Duration::from_secs(1);

    drop.folder.watch(file.clone());
    assert!(drop.folder.changed(since).is_empty());
    drop.put("done/items.csv", "one and more");
    drop.put("taking/items.csv", "two");
    assert!(drop.folder.changed(since).is_empty(), "behind the next one of its name");
    fs::remove_file(drop.dir.path().join("taking/items.csv")).unwrap();
    let changed = drop.folder.changed(since + day - second);
    assert_eq!(changed, [(file.clone(), stamp(&drop.folder.done("items.csv")).unwrap().unwrap())]);
    assert!(drop.folder.changed(since).is_empty(), "told once");

    drop.folder.watch(file.clone());
    assert!(drop.folder.changed(since + day).is_empty());
    assert!(drop.folder.changed(since).is_empty(), "watched no longer");

    drop.folder.bring_back(&file).unwrap();
    assert!(drop.ready_after(Duration::ZERO).is_empty());
    assert_eq!(drop.ready_after(SETTLE), ["items.csv"]);
    assert!(drop.ready()[0].is_claimed);
    drop.folder.watch(file);
    assert!(drop.folder.changed(since).is_empty(), "whoever took it away has it");
}

#[test]
fn a_mark_of_an_earlier_file_does_not_count() {
    let mut drop = Drop::new();
    drop.put("items.csv", "id\n1\n");
    drop.put("items.csv.done", "");
    assert_eq!(drop.ready_after(Duration::ZERO), ["items.csv"]);
    drop.put("items.csv", "id\n");
    assert!(drop.ready_after(Duration::ZERO).is_empty(), "the mark is older");
    assert_eq!(drop.ready_after(SETTLE), ["items.csv"]);
    assert_eq!(drop.ready()[0].word, Word::Settled);
    drop.put("items.csv.done", "");
    assert_eq!(drop.ready()[0].word, Word::Done);
    // A copy that keeps its old time is another file than the one that was marked.
    drop.put("items.csv", "id\n1\n2\n");
    drop.touch("items.csv", 0);
    assert!(drop.ready_after(Duration::ZERO).is_empty());
}

#[test]
fn a_checksum_is_given_as_whatever_tool_wrote_it() {
    let mut drop = Drop::new();
    let sum = "a".repeat(64);
    for (text, found) in [
        (format!("{sum}  items.csv\n"), Some(sum.clone())),
        (sum.to_uppercase(), Some(sum.clone())),
        (format!("SHA256 (items.csv) = {sum}\n"), Some(sum.clone())),
        (String::new(), None),
        ("abc  items.csv\n".to_owned(), None),
    ] {
        drop.put("items.csv", "id\n1\n");
        drop.put("items.csv.sha256", &text);
        drop.ready_after(Duration::ZERO);
        assert_eq!(drop.ready()[0].word, Word::Sum(found), "{text}");
        assert!(!drop.ready()[0].is_settled);
        drop.ready_after(SETTLE);
        assert!(drop.ready()[0].is_settled);
    }
    drop.put("items.csv", "id\n1\n2\n");
    assert!(drop.ready_after(Duration::ZERO).is_empty(), "the sum is older");
}

#[test]
fn what_passes_is_hashed_so_that_a_change_in_between_shows() {
    let mut drop = Drop::new();
    drop.put("items.csv", "id\n1\n");
    let path = drop.dir.path().join("items.csv");
    let taken = sha256(&path).unwrap();
    let read_through = || {
        let mut reader = open(&path).unwrap();
        let passed = reader.passed();
        reader.read_to_end(&mut Vec::new()).unwrap();
        passed.sha256()
    };
    assert_eq!(read_through(), taken);
    drop.put("items.csv", "id\n2\n");
    assert_ne!(read_through(), taken);
}

#[test]
fn a_folder_that_is_not_there_is_an_error_of_the_source() {
    assert!(Folder::new("no/such/folder", SETTLE).scan(Instant::now()).is_err());
}

#[test]
fn name_patterns_match_whole_names() {
    for (pattern, name, expected) in [
        ("items*.csv", "items.csv", true),
        ("items*.csv", "items_2026.csv", true),
        ("items*.csv", "old_items.csv", false),
        ("items*.csv", "items.csv.done", false),
        ("*", "anything", true),
        ("a*b*c", "a1b2c", true),
        ("a*b*c", "a1c2b", false),
        ("item?.csv", "items.csv", true),
        ("items.csv", "items.csv", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}
