//! The drop folder: which file is complete, and whether it is another one than the one taken last.
//!
//! A file is ready when its `.done` lies beside it or when neither its size nor its time changed for the declared while; names starting
//! with `.` and ending in `.tmp` or `.part` are other people's work in progress. What is read is the content whose SHA-256 was
//! taken: a file that changes while it is read says so at its end, and is taken again.
//!
//! Not guaranteed: a writer that pauses for longer than that without `.done` is read half. A half row is a broken row, and a
//! file with a broken row deletes nothing.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Watches one folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// A file that did not change for so long is complete.
    settle: Duration,
    seen: HashMap<String, Seen>,
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
    since: Instant,
}

/// A file that can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    pub name: String,
    pub path: PathBuf,
    pub stamp: Stamp,
}

impl Folder {
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, settle: Duration) -> Self {
        Self { path: path.into(), settle, seen: HashMap::new() }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that are complete at `now`, in order of name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn scan(&mut self, now: Instant) -> io::Result<Vec<Ready>> {
        let mut found = HashMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Gone between listing and looking: not there.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() {
                found.insert(name, Stamp { size: metadata.len(), modified: metadata.modified().ok() });
            }
        }
        self.seen.retain(|name, _| found.contains_key(name));
        let mut ready = Vec::new();
        for (name, stamp) in &found {
            if is_unfinished(name) || name.ends_with(".done") {
                continue;
            }
            let seen = self.seen.entry(name.clone()).or_insert(Seen { stamp: *stamp, since: now });
            if seen.stamp != *stamp {
                *seen = Seen { stamp: *stamp, since: now };
            }
            let is_marked = found.contains_key(&format!("{name}.done"));
            if is_marked || now.duration_since(seen.since) >= self.settle {
                ready.push(Ready { name: name.clone(), path: self.path.join(name), stamp: *stamp });
            }
        }
        ready.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(ready)
    }

    /// Moves a taken file and its `.done` into `done/`; an older file of that name there is kept beside it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn put_away(&mut self, name: &str, sha256: &str) -> io::Result<()> {
        let done = self.path.join("done");
        fs::create_dir_all(&done)?;
        let target = done.join(name);
        let target = if target.exists() { done.join(format!("{name}.{}", &sha256[..sha256.len().min(8)])) } else { target };
        let moved = fs::rename(self.path.join(name), target);
        // Put away before a crash already.
        if moved.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            return moved;
        }
        match fs::remove_file(self.path.join(format!("{name}.done"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
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
