//! The drop folder: which file is whole, who says so, and where it goes when it was taken.
//!
//! A file is ready when a mark says that it is whole (`.done`, `.sha256` beside it), or when nothing about it changed for the declared
//! while. Names starting with `.` and ending in `.tmp` or `.part` are other people's work in progress. A mark that is older than its
//! file is one of an earlier file and does not count. What is read is the content whose SHA-256 was taken: a file that changes
//! while it is read says so at its end, and is taken again.
//!
//! A file that will be put away is claimed first: renamed into `taking/`, so that whoever writes the next one under its name writes
//! another file, and whoever still writes this one is seen. It leaves `taking/` unchanged since it was read, or not at all; and it is
//! watched for a while in `done/`, for its writer may not have finished.
//!
//! Not guaranteed: a writer that pauses for longer than the declared while, right behind a line end and without a mark, is read half.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Where claimed files lie, and where taken ones.
const TAKING: &str = "taking";
const DONE: &str = "done";
/// A file that was put away is watched for so long, and so many are at most.
const WATCHED: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_WATCHED: usize = 1_000;
/// Read of a `.sha256`.
const LONGEST_SUM: u64 = 4 * 1024;

/// Watches one folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// A file that did not change for so long is complete.
    settle: Duration,
    /// By path below the folder.
    seen: HashMap<String, Seen>,
    /// The one put away last is the last one.
    watched: Vec<Watched>,
}

/// A file in `done/`, as it was left there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// That it was dropped under.
    pub name: String,
    /// In `done/`.
    pub place: String,
    pub stamp: Stamp,
    pub sha256: String,
    pub since: Instant,
}

/// Identity of one state of a file, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub size: u64,
    pub modified: Option<SystemTime>,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// Of its `.sha256`.
    sum: Option<Stamp>,
    since: Instant,
    /// Its `.done`, as it was seen last.
    mark: Option<Stamp>,
    /// The `.done` of an earlier state of this file.
    spent: Option<Stamp>,
    is_told: bool,
}

/// Who says that a file is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Its writer, by a `.done`.
    Done,
    /// Its writer, by this SHA-256; none: the `.sha256` holds none.
    Sum(Option<String>),
    /// Nobody: it only did not change for a while.
    Settled,
}

/// A file that can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    pub name: String,
    pub path: PathBuf,
    pub stamp: Stamp,
    pub word: Word,
    /// Nothing about it changed for the declared while.
    pub is_settled: bool,
    pub is_claimed: bool,
}

impl Folder {
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, settle: Duration) -> Self {
        Self { path: path.into(), settle, seen: HashMap::new(), watched: Vec::new() }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that are complete at `now`, in order of name. Of two files of one name the claimed one comes, the other waits.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn scan(&mut self, now: Instant) -> io::Result<Vec<Ready>> {
        let mut found = list(&self.path, "")?;
        match list(&self.path.join(TAKING), "taking/") {
            Ok(claimed) => found.extend(claimed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.seen.retain(|place, _| found.contains_key(place));
        let mut ready = Vec::new();
        for (place, stamp) in &found {
            let name = place.strip_prefix("taking/").unwrap_or(place);
            if is_unfinished(name) || is_mark(name) {
                continue;
            }
            let (mark, sum) = (found.get(&format!("{place}.done")), found.get(&format!("{place}.sha256")));
            let settle = self.settle;
            let (is_marked, is_settled) = self.look(place, *stamp, mark.copied(), sum.copied(), now, settle);
            let is_claimed = name.len() < place.len();
            if !is_claimed && found.contains_key(&format!("taking/{name}")) {
                continue;
            }
            let is_summed = sum.is_some_and(|sum| sum.modified >= stamp.modified);
            if !(is_marked || is_summed || is_settled) {
                continue;
            }
            let path = self.path.join(place);
            let word = match (sum, is_marked) {
                (Some(_), _) => Word::Sum(named_sum(&self.path.join(format!("{place}.sha256")))),
                (None, true) => Word::Done,
                (None, false) => Word::Settled,
            };
            ready.push(Ready { name: name.to_owned(), path, stamp: *stamp, word, is_settled, is_claimed });
        }
        ready.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(ready)
    }

    /// Whether a file of that name was there at the last scan, complete or not.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.seen.contains_key(name) || self.seen.contains_key(&format!("taking/{name}"))
    }

    /// Whether there was any file at the last scan. A folder without one may be a share that is not mounted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Whether its `.done` counts, and whether nothing changed for the declared while.
    fn look(
        &mut self,
        place: &str,
        stamp: Stamp,
        mark: Option<Stamp>,
        sum: Option<Stamp>,
        now: Instant,
        settle: Duration,
    ) -> (bool, bool) {
        let first = || Seen { stamp, sum, since: now, mark, spent: None, is_told: false };
        let seen = self.seen.entry(place.to_owned()).or_insert_with(first);
        if seen.stamp != stamp {
            *seen = Seen { spent: seen.mark, ..first() };
        }
        if seen.sum != sum {
            (seen.sum, seen.since) = (sum, now);
        }
        seen.mark = mark;
        let is_marked = mark.is_some_and(|mark| mark.modified >= stamp.modified && seen.spent != Some(mark));
        if mark.is_some() && !is_marked && !std::mem::replace(&mut seen.is_told, true) {
            tracing::warn!(
                file = place,
                "its .done is older than the file and does not count; the file is taken once it has settled"
            );
        }
        (is_marked, now.duration_since(seen.since) >= settle)
    }

    /// Takes a file out of its writers' way: from now on it lies in `taking/`, its marks with it. None: it is gone.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn claim(&mut self, ready: &Ready) -> io::Result<Option<Ready>> {
        let taking = self.path.join(TAKING);
        fs::create_dir_all(&taking)?;
        let place = format!("taking/{}", ready.name);
        // The marks first: were they left behind by a crash, the next file of this name would be taken on their word.
        for ending in ["done", "sha256"] {
            let name = format!("{}.{ending}", ready.name);
            rename(&self.path.join(&name), &taking.join(&name))?;
        }
        let path = self.path.join(&place);
        if !rename(&ready.path, &path)? {
            return Ok(None);
        }
        if let Some(seen) = self.seen.remove(&ready.name) {
            self.seen.insert(place, seen);
        }
        Ok(Some(Ready { path, is_claimed: true, ..ready.clone() }))
    }

    /// The name in `done/` that a file will have: an older file of its name there is kept.
    #[must_use]
    pub fn place(&self, name: &str, sha256: &str) -> String {
        let done = self.path.join(DONE);
        let short = &sha256[..sha256.len().min(8)];
        let others = (1..).map(|number| format!("{name}.{short}-{number}"));
        let mut names = [name.to_owned(), format!("{name}.{short}")].into_iter().chain(others);
        names.find(|name| !done.join(name).exists()).expect("of endless names one is free")
    }

    /// Moves a claimed file that was read to its place in `done/`. False: it is no longer what was read, and stays.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn put_away(&mut self, ready: &Ready, place: &str) -> io::Result<bool> {
        let done = self.path.join(DONE);
        let target = done.join(place);
        if stamp(&ready.path)? != Some(ready.stamp) || target.exists() {
            return Ok(false);
        }
        fs::create_dir_all(&done)?;
        if !rename(&ready.path, &target)? {
            return Ok(false);
        }
        let mark = |ending: &str| self.path.join(TAKING).join(format!("{}.{ending}", ready.name));
        rename(&mark("sha256"), &done.join(format!("{place}.sha256")))?;
        match fs::remove_file(mark("done")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.seen.remove(&format!("taking/{}", ready.name));
        Ok(true)
    }

    /// From now on its changes are told, for a day.
    pub fn watch(&mut self, file: Watched) {
        self.watched.retain(|other| other.place != file.place);
        self.watched.push(file);
        let surplus = self.watched.len().saturating_sub(MOST_WATCHED);
        self.watched.drain(..surplus);
    }

    /// Watched files whose stamp is another one by now; they are no longer watched. One whose name is taken up in `taking/` waits.
    pub fn changed(&mut self, now: Instant) -> Vec<(Watched, Stamp)> {
        let (path, mut changed) = (&self.path, Vec::new());
        self.watched.retain(|file| match stamp(&path.join(DONE).join(&file.place)) {
            _ if now.duration_since(file.since) >= WATCHED => false,
            // Put elsewhere by somebody: theirs.
            Ok(None) => false,
            Ok(Some(found)) if found != file.stamp && !path.join(TAKING).join(&file.name).exists() => {
                changed.push((file.clone(), found));
                false
            }
            // A folder that cannot be read is the scan's to tell.
            Ok(Some(_)) | Err(_) => true,
        });
        changed
    }

    /// Where a file that was put away lies.
    #[must_use]
    pub fn done(&self, place: &str) -> PathBuf {
        self.path.join(DONE).join(place)
    }

    /// Moves a file that was put away back into `taking/`: it is taken again.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn bring_back(&self, file: &Watched) -> io::Result<()> {
        let taking = self.path.join(TAKING);
        fs::create_dir_all(&taking)?;
        rename(&self.done(&file.place), &taking.join(&file.name))?;
        Ok(())
    }
}

/// The files of a folder, by their place.
fn list(folder: &Path, prefix: &str) -> io::Result<HashMap<String, Stamp>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Gone between listing and looking: not there.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            found.insert(format!("{prefix}{name}"), Stamp::of(&metadata));
        }
    }
    Ok(found)
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// The state of a file now; none: it is not there.
///
/// # Errors
/// When the folder cannot be read.
pub fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// False: there was nothing to rename.
fn rename(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The SHA-256 that a `.sha256` holds, whichever tool wrote it.
fn named_sum(path: &Path) -> Option<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(fs::File::open(path).ok()?, LONGEST_SUM), &mut text).ok()?;
    let is_sum = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).find(is_sum).map(str::to_ascii_lowercase)
}

fn is_mark(name: &str) -> bool {
    [".done", ".sha256"].iter().any(|ending| name.ends_with(ending))
}

/// Work in progress by convention of many tools; taken after the rename.
fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') || [".tmp", ".part", ".filepart", "~"].iter().any(|ending| name.ends_with(ending))
}

/// `items*.csv` against a name: `*` is any text, `?` one character.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// SHA-256 of a file, base-16.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut input = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = io::Read::read(&mut input, &mut chunk)?;
        if length == 0 {
            return Ok(HEXLOWER.encode(&hasher.finalize()));
        }
        hasher.update(&chunk[..length]);
    }
}

/// Opens a file so that what was read can be compared with the SHA-256 that it was taken under.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> io::Result<Hashing<fs::File>> {
    Ok(Hashing { input: fs::File::open(path)?, hasher: std::sync::Arc::default() })
}

/// A reader that hashes what passes.
#[derive(Debug)]
pub struct Hashing<R> {
    input: R,
    hasher: std::sync::Arc<std::sync::Mutex<Sha256>>,
}

/// Tells the hash of all that passed so far, also after the reader was given away.
#[derive(Clone, Debug)]
pub struct Passed(std::sync::Arc<std::sync::Mutex<Sha256>>);

impl<R> Hashing<R> {
    #[must_use]
    pub fn passed(&self) -> Passed {
        Passed(self.hasher.clone())
    }
}

impl Passed {
    /// SHA-256, base-16.
    #[must_use]
    pub fn sha256(&self) -> String {
        let hasher = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        HEXLOWER.encode(&hasher.clone().finalize())
    }
}

impl<R: io::Read> io::Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.hasher.lock().unwrap_or_else(std::sync::PoisonError::into_inner).update(&buffer[..length]);
        Ok(length)
    }
}
