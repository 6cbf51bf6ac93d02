//! Capturing a drop folder: file by file, in order of name, each to its end or to the next restart.

use std::{
    collections::{HashMap, HashSet},
    io,
    time::{Instant, SystemTime},
};

use connect::{
    csv::{Format, OpenError, Reader},
    file::{self, Folder, Hashing, Passed, Ready, Stamp, matches},
    rows::Fault,
};
use landscape::{AfterPickup, Content, Input, Lookup};
use mapping::Tables;
use model::{Timestamp, Transient};
use service::{CancellationToken, Exit};

use crate::{
    capture::{Capture, Pass},
    position::{self, FilePosition, Reading},
    writer::{Writer, now},
};

/// One drop folder.
pub(crate) struct Files {
    folder: Folder,
    after: AfterPickup,
    hashes: HashMap<String, (Stamp, String)>,
    /// Side tables that were missed, so that it is said once.
    missed: HashSet<String>,
}

/// Why a turn ended early.
pub(crate) enum Trouble {
    /// The source is away: wait.
    Source(Transient),
    /// This process cannot go on.
    Exit(Exit),
}

impl From<Exit> for Trouble {
    fn from(exit: Exit) -> Self {
        Trouble::Exit(exit)
    }
}

type File = Hashing<std::fs::File>;

impl Files {
    pub(crate) fn new(folder: Folder, after: AfterPickup) -> Self {
        Self { folder, after, hashes: HashMap::new(), missed: HashSet::new() }
    }

    /// Takes every file that is complete and new.
    pub(crate) async fn turn(
        &mut self,
        capture: &mut Capture,
        writer: &mut Writer,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        let ready = self.folder.scan(Instant::now()).map_err(|error| self.away(&error))?;
        self.hashes.retain(|name, _| ready.iter().any(|file| file.name == *name));
        for stream in 0..capture.source().streams.len() {
            let Input::Files { pattern, format } = capture.stream(stream).input.clone() else { continue };
            let side = capture.stream(stream).lookups.clone();
            let Some(side) = self.side_files(&side, &ready)? else { continue };
            let mut position: FilePosition = position::read(capture.memory.position(stream));
            for main in ready.iter().filter(|main| matches(&pattern, &main.name)) {
                if stop.is_cancelled() {
                    return Ok(());
                }
                let sha256 = self.sha256(main)?;
                let fingerprint = fingerprint(&sha256, &side);
                let taking = Taking { stream, main, sha256: &sha256, fingerprint: &fingerprint, format: &Format::from(&format) };
                if position.taken.get(&main.name) == Some(&fingerprint) {
                    self.put_away(&taking)?;
                    continue;
                }
                self.take(&taking, &side, &mut position, capture, writer, stop).await?;
            }
        }
        Ok(())
    }

    /// Side tables of a stream, for a letter's row.
    pub(crate) fn tables(&mut self, lookups: &[Lookup]) -> Result<Tables, Trouble> {
        let ready = self.folder.scan(Instant::now()).map_err(|error| self.away(&error))?;
        match self.side_files(lookups, &ready)? {
            Some(side) => self.load(&side, |_, _| {}),
            None => Err(Trouble::Source(Transient { what: "source", detail: "a side table is not there".to_owned() })),
        }
    }

    async fn take(
        &mut self,
        taking: &Taking<'_>,
        side: &[Side<'_>],
        position: &mut FilePosition,
        capture: &mut Capture,
        writer: &mut Writer,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        let stream = taking.stream;
        let mut pass = Pass::new(stream, &taking.main.name, modified(taking.main));
        pass.is_first = capture.memory.position(stream).is_none();
        let mut faults = Vec::new();
        pass.tables = self.load(side, |name, fault| faults.push((name.to_owned(), fault)))?;
        for (name, fault) in faults {
            let mut whole = Pass::new(stream, name, pass.changed_at);
            capture.refuse_whole(&mut whole, &fault, taking.fingerprint, now());
        }
        let resume = position
            .reading
            .as_ref()
            .filter(|reading| reading.name == taking.main.name && reading.sha256 == taking.fingerprint && !pass.is_first);
        let resume = resume.map_or(0, |reading| reading.row);
        let keys = capture.stream(stream).key.clone();
        let input = file::open(&taking.main.path).map_err(|error| self.away(&error))?;
        let passed = input.passed();
        match tokio::task::block_in_place(|| Reader::open(input, taking.format, &keys)) {
            Ok(reader) => {
                let mut rows = Rows { reader, resume, passed };
                pass.columns = Some(position::write(&rows.reader.columns()));
                if !self.read(taking, &mut rows, &mut pass, position, capture, writer, stop).await? {
                    return Ok(());
                }
            }
            Err(OpenError::Io(error)) => return Err(self.away(&error)),
            Err(OpenError::File(fault)) if fault.code == "FILE_EMPTY" && capture.stream(stream).content == Content::Delta => {}
            Err(OpenError::File(fault)) => capture.refuse_whole(&mut pass, &fault, taking.fingerprint, now()),
        }
        capture.finish(&mut pass, now());
        position.reading = None;
        position.taken.retain(|name, _| self.hashes.contains_key(name));
        position.taken.insert(taking.main.name.clone(), taking.fingerprint.to_owned());
        capture.move_to(stream, position::write(position));
        writer.commit(capture.batch()).await?;
        self.put_away(taking)
    }

    /// Rows and deletes of one file. False: not to its end, or not of the content that was taken.
    #[expect(clippy::too_many_arguments, reason = "the loop's parts, each borrowed from another owner")]
    async fn read(
        &self,
        taking: &Taking<'_>,
        rows: &mut Rows,
        pass: &mut Pass,
        position: &mut FilePosition,
        capture: &mut Capture,
        writer: &mut Writer,
        stop: &CancellationToken,
    ) -> Result<bool, Trouble> {
        loop {
            let row = tokio::task::block_in_place(|| rows.gather(pass, capture)).map_err(|error| self.away(&error))?;
            let Some(row) = row else { break };
            if row > rows.resume {
                position.reading = Some(Reading { name: taking.main.name.clone(), sha256: taking.fingerprint.to_owned(), row });
                capture.move_to(taking.stream, position::write(position));
            }
            writer.commit(capture.batch()).await?;
            if stop.is_cancelled() {
                return Ok(false);
            }
        }
        if rows.passed.sha256() != taking.sha256 {
            tracing::info!(file = %taking.main.name, "the file changed while it was read; it is taken again");
            writer.commit(capture.batch()).await?;
            return Ok(false);
        }
        if capture.stream(taking.stream).content == Content::Full {
            for key in capture.absent(pass, taking.fingerprint, now()) {
                capture.delete(pass, &key, now());
                if capture.is_full() {
                    writer.commit(capture.batch()).await?;
                }
            }
        }
        Ok(true)
    }

    fn put_away(&mut self, taking: &Taking<'_>) -> Result<(), Trouble> {
        if self.after == AfterPickup::Done {
            self.folder.put_away(&taking.main.name, taking.sha256).map_err(|error| self.away(&error))?;
        }
        Ok(())
    }

    /// None while a side table is not there yet.
    fn side_files<'a>(&mut self, lookups: &'a [Lookup], ready: &'a [Ready]) -> Result<Option<Vec<Side<'a>>>, Trouble> {
        let mut side = Vec::new();
        for lookup in lookups {
            let before = side.len();
            for file in ready.iter().filter(|file| matches(&lookup.files, &file.name)) {
                side.push((lookup, file, self.sha256(file)?));
            }
            if side.len() > before {
                self.missed.remove(&lookup.name);
                continue;
            }
            if self.missed.insert(lookup.name.clone()) {
                tracing::info!(table = %lookup.name, files = %lookup.files, "waiting for a side table; its stream is not read before");
            }
            return Ok(None);
        }
        Ok(Some(side))
    }

    fn load(&self, side: &[Side<'_>], mut refuse: impl FnMut(&str, Fault)) -> Result<Tables, Trouble> {
        let mut tables = Tables::default();
        for (lookup, file, _) in side {
            tables.declare(&lookup.name);
            let input = file::open(&file.path).map_err(|error| self.away(&error))?;
            let loaded = tokio::task::block_in_place(|| load_one(&mut tables, lookup, input));
            match loaded {
                Ok(None) => {}
                Ok(Some(fault)) | Err(OpenError::File(fault)) => refuse(&file.name, fault),
                Err(OpenError::Io(error)) => return Err(self.away(&error)),
            }
        }
        Ok(tables)
    }

    fn sha256(&mut self, file: &Ready) -> Result<String, Trouble> {
        if let Some((_, sha256)) = self.hashes.get(&file.name).filter(|(stamp, _)| *stamp == file.stamp) {
            return Ok(sha256.clone());
        }
        let sha256 = tokio::task::block_in_place(|| file::sha256(&file.path)).map_err(|error| self.away(&error))?;
        self.hashes.insert(file.name.clone(), (file.stamp, sha256.clone()));
        Ok(sha256)
    }

    fn away(&self, error: &io::Error) -> Trouble {
        let detail = format!("reading the folder {}: {error}", self.folder.path().display());
        Trouble::Source(Transient { what: "source", detail })
    }
}

/// Of the content of a file and of its side tables.
fn fingerprint(sha256: &str, side: &[Side<'_>]) -> String {
    if side.is_empty() {
        return sha256.to_owned();
    }
    let all: String = std::iter::once(sha256).chain(side.iter().map(|(_, _, sha256)| sha256.as_str())).collect();
    crate::letter::fingerprint(all.as_bytes())
}

/// A side table, one of its files, and the file's SHA-256.
type Side<'a> = (&'a Lookup, &'a Ready, String);

/// One file on its way.
struct Taking<'a> {
    stream: usize,
    main: &'a Ready,
    sha256: &'a str,
    /// Of the file and of its side tables: a parent's rows do not change when only a child's do.
    fingerprint: &'a str,
    format: &'a Format,
}

struct Rows {
    reader: Reader<File>,
    /// Rows up to here are durable already.
    resume: u64,
    passed: Passed,
}

impl Rows {
    /// Reads until a transaction is full: the last row of it; none when the file has ended.
    fn gather(&mut self, pass: &mut Pass, capture: &mut Capture) -> io::Result<Option<u64>> {
        while let Some(read) = self.reader.next_row()? {
            let number = match &read {
                Ok(row) => row.number,
                Err(broken) => broken.number,
            };
            if number <= self.resume {
                capture.pass_over(pass, &read);
                continue;
            }
            capture.take(pass, read, now());
            if capture.is_full() {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}

/// A broken row of a side table is the side table's fault: the rows that need it say so themselves.
fn load_one(tables: &mut Tables, lookup: &Lookup, input: File) -> Result<Option<Fault>, OpenError> {
    let mut reader = Reader::open(input, &Format::from(&lookup.format), &lookup.key)?;
    let mut first = None;
    while let Some(read) = reader.next_row()? {
        match read {
            Ok(row) => {
                let part = |column: &String| row.value.get(column).and_then(serde_json::Value::as_str).unwrap_or("").trim();
                let key = lookup.key.iter().map(part).collect::<Vec<_>>().join("/");
                tables.insert(&lookup.name, &key, &serde_json::Value::Object(row.value.clone()));
            }
            Err(broken) => {
                let mut fault = broken.fault;
                fault.message = format!("side table `{}`, line {}: {}", lookup.name, broken.line, fault.message);
                first.get_or_insert(fault);
            }
        }
    }
    Ok(first)
}

fn modified(file: &Ready) -> Timestamp {
    let since = file.stamp.modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_micros()).ok()).map_or_else(now, Timestamp::from_micros)
}
