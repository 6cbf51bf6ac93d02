//! Capturing a drop folder: file by file, each to its end or to the next restart.
//!
//! One [`Turn`] is one look at the folder. It advances by steps; what a step leaves in the capture is made durable before the next one,
//! so that a file is put away only when everything of it is. New files come in order of name. A file that was taken and is read
//! again, because a side table changed or somebody asked for it, has no word about a key that a file taken later names, and of full
//! files only the one taken last is read again: old content never comes back as news.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use connect::{
    csv::{OpenError, Reader},
    file::{self, Folder, Ready, Stamp, Watched, Word, matches},
    rows::Fault,
};
use landscape::{AfterPickup, Content, Input};
use model::{Timestamp, Transient};
use service::{CancellationToken, Exit};

use crate::{
    capture::{Capture, Pass},
    position::{self, Away, FilesPosition, Reading, Taken},
    writer::{Writer, now},
};

mod again;
mod late;
mod rows;
mod side;

use again::Again;
use rows::Rows;
use side::Side;

/// A file that was not there for so long is gone for good: one of that name is a new one, whatever it holds.
const GONE: Duration = Duration::from_secs(24 * 60 * 60);

/// One drop folder.
pub(crate) struct Files {
    folder: Folder,
    after: AfterPickup,
    hashes: HashMap<PathBuf, (Stamp, String)>,
    /// Side tables that were missed, so that it is said once.
    missed: HashSet<String>,
    /// Taken files that are not there, since when.
    gone: HashMap<(usize, String), Instant>,
    is_new: bool,
}

/// Why a turn ended early.
#[derive(Debug)]
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

/// One look at the folder, and what is left to do of it.
pub(crate) struct Turn {
    /// None: every stream has what it can have of them.
    ready: Option<Vec<Ready>>,
    /// Files to put away, and how they will lie there.
    leaving: Vec<(Ready, Watched)>,
    begun: Instant,
    /// Streams that were not looked at yet.
    streams: VecDeque<usize>,
    /// Of the stream that is looked at.
    work: Work,
    open: Option<Taking>,
}

#[derive(Default)]
struct Work {
    again: Again,
    fresh: VecDeque<Due>,
    side: Vec<Side>,
    /// The stream whose wish to read everything again is fulfilled behind this work.
    asked: Option<usize>,
}

/// A file that is to be taken.
struct Due {
    stream: usize,
    main: Ready,
    sha256: String,
    /// Of the file and of all that it is read with: a parent's rows do not change when only a child's do.
    fingerprint: String,
}

/// One file on its way.
struct Taking {
    due: Due,
    pass: Pass,
    /// None: to their end, or not to be read.
    rows: Option<Rows>,
    /// Still to be deleted.
    absent: VecDeque<String>,
}

impl Files {
    pub(crate) fn new(folder: Folder, after: AfterPickup) -> Self {
        Self { folder, after, hashes: HashMap::new(), missed: HashSet::new(), gone: HashMap::new(), is_new: true }
    }

    /// Takes every file that is complete and new.
    pub(crate) async fn turn(
        &mut self,
        capture: &mut Capture,
        writer: &mut Writer,
        stop: &CancellationToken,
    ) -> Result<(), Trouble> {
        let mut turn = tokio::task::block_in_place(|| self.look(Instant::now(), capture))?;
        loop {
            let is_more = tokio::task::block_in_place(|| self.advance(&mut turn, capture))?;
            writer.commit(capture.batch()).await?;
            if !is_more || stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Looks at the folder; claims what will be put away.
    fn look(&mut self, now: Instant, capture: &mut Capture) -> Result<Turn, Trouble> {
        if std::mem::take(&mut self.is_new) {
            self.watch(now, capture);
        }
        self.bring_back(now, capture)?;
        let mut ready = Vec::new();
        for file in self.folder.scan(now).map_err(|error| self.away(&error))? {
            let is_claimed = file.is_claimed || self.after == AfterPickup::Keep || !is_put_away(&file.name, capture);
            let claimed = if is_claimed { Some(file) } else { self.folder.claim(&file).map_err(|error| self.away(&error))? };
            ready.extend(claimed);
        }
        let paths: HashSet<_> = ready.iter().map(|file| &file.path).collect();
        self.hashes.retain(|path, _| paths.contains(path));
        let is_of_files = |stream: &usize| matches!(capture.stream(*stream).input, Input::Files { .. });
        let streams: VecDeque<usize> = (0..capture.source().streams.len()).filter(is_of_files).collect();
        for stream in &streams {
            migrate(*stream, capture);
            self.forget(*stream, now, capture);
        }
        Ok(Turn { ready: Some(ready), leaving: Vec::new(), begun: now, streams, work: Work::default(), open: None })
    }

    /// Does the next part of a turn. False: there is none, and what the last one left is made durable now.
    fn advance(&mut self, turn: &mut Turn, capture: &mut Capture) -> Result<bool, Trouble> {
        loop {
            if let Some(taking) = turn.open.take() {
                turn.open = self.go_on(taking, &mut turn.work, capture)?;
                return Ok(true);
            }
            if let Some(due) = self.next_again(&mut turn.work.again, capture)? {
                turn.open = self.open(due, &turn.work, capture)?;
            } else if let Some(stream) = turn.work.asked.take() {
                let position = position::read::<FilesPosition>(capture.memory.position(stream));
                capture.move_to(stream, position::write(&FilesPosition { again: false, ..position }));
            } else if let Some(due) = turn.work.fresh.pop_front() {
                turn.open = self.open(due, &turn.work, capture)?;
            } else if let Some(stream) = turn.streams.pop_front() {
                turn.work = self.work(stream, turn.ready.as_deref().unwrap_or_default(), capture)?;
            } else if let Some(ready) = turn.ready.take() {
                turn.leaving = self.leaving(ready, turn.begun, capture)?;
                return Ok(true);
            } else {
                self.put_away(std::mem::take(&mut turn.leaving))?;
                return Ok(false);
            }
        }
    }

    /// What is to be taken of a stream.
    fn work(&mut self, stream: usize, ready: &[Ready], capture: &Capture) -> Result<Work, Trouble> {
        let Input::Files { pattern, .. } = &capture.stream(stream).input else { return Ok(Work::default()) };
        let Some(side) = self.side_files(&capture.stream(stream).lookups, ready)? else { return Ok(Work::default()) };
        let is_asked = position::read::<FilesPosition>(capture.memory.position(stream)).again;
        let mut work = Work { asked: is_asked.then_some(stream), ..Work::default() };
        for main in ready.iter().filter(|main| matches(pattern, &main.name)) {
            let Some(sha256) = self.sha256(main)? else { continue };
            let is_other = matches!(&main.word, Word::Sum(sum) if sum.as_ref() != Some(&sha256));
            if is_other && !main.is_settled {
                continue;
            }
            let fingerprint = fingerprint(&sha256, &side, is_other);
            let due = Due { stream, main: main.clone(), sha256, fingerprint };
            match capture.memory.taken(stream).get(&main.name) {
                Some(taken)
                    if is_it(taken, &due.sha256, main) || taken.fingerprint == due.fingerprint && is_in_place(taken, main) =>
                {
                    let is_due = is_asked || taken.is_behind || taken.fingerprint != due.fingerprint;
                    work.again.know(taken.at, due, is_due);
                }
                _ => work.fresh.push_back(due),
            }
        }
        work.again.order(capture.stream(stream).content);
        work.side = side;
        Ok(work)
    }

    /// None: it is no longer what it was; the next turn looks again.
    fn open(&mut self, due: Due, work: &Work, capture: &mut Capture) -> Result<Option<Taking>, Trouble> {
        let mut pass = Pass::new(due.stream, &due.main.name, modified(&due.main));
        pass.is_first = capture.memory.position(due.stream).is_none();
        if !self.load_side(&due, &work.side, &mut pass, capture)? {
            return Ok(None);
        }
        if let Some(fault) = wrong_sum(&due) {
            capture.refuse_whole(&mut pass, &fault, &due.fingerprint, now());
            return Ok(Some(Taking { due, pass, rows: None, absent: VecDeque::new() }));
        }
        let position = position::read::<FilesPosition>(capture.memory.position(due.stream));
        let is_it = |reading: &Reading| reading.name == due.main.name && reading.sha256 == due.fingerprint && !pass.is_first;
        let (resume, deferred) =
            position.reading.filter(is_it).map_or((0, Vec::new()), |reading| (reading.row, reading.deferred));
        let declared = capture.stream(due.stream);
        let Input::Files { format, .. } = &declared.input else { return Ok(None) };
        let input = file::open(&due.main.path).map_err(|error| self.away(&error))?;
        let passed = input.passed();
        let rows = match Reader::open(input, &format.into(), &declared.key) {
            Ok(reader) => {
                pass.columns = Some(position::write(&reader.columns()));
                Some(Rows {
                    reader,
                    resume,
                    deferred: deferred.into_iter().collect(),
                    overtaken: work.again.overtaken(&due),
                    passed,
                    last: None,
                })
            }
            Err(OpenError::Io(error)) => return Err(self.away(&error)),
            Err(OpenError::File(fault)) if fault.code == "FILE_EMPTY" && declared.content == Content::Delta => None,
            Err(OpenError::File(fault)) => {
                capture.refuse_whole(&mut pass, &fault, &due.fingerprint, now());
                None
            }
        };
        Ok(Some(Taking { due, pass, rows, absent: VecDeque::new() }))
    }

    /// Rows, then deletes, then the end of one file. None: that was its end, or it is not what it was.
    fn go_on(&mut self, mut taking: Taking, work: &mut Work, capture: &mut Capture) -> Result<Option<Taking>, Trouble> {
        let Taking { due, pass, rows, absent } = &mut taking;
        if let Some(open) = rows {
            if let Some(row) = open.gather(pass, capture).map_err(|error| self.away(&error))? {
                if row > open.resume {
                    let reading =
                        Reading { name: due.main.name.clone(), sha256: due.fingerprint.clone(), row, deferred: pass.deferred() };
                    self.move_to(due.stream, Some(reading), capture);
                }
                return Ok(Some(taking));
            }
            let is_same = file::stamp(&due.main.path).map_err(|error| self.away(&error))? == Some(due.main.stamp);
            if !is_same || open.passed.sha256() != due.sha256 {
                tracing::info!(file = %due.main.name, "the file changed while it was read; it is taken again");
                return Ok(None);
            }
            pass.is_whole = open.reader.is_ended() || due.main.word != Word::Settled;
            open.take_last(pass, capture);
            if capture.stream(due.stream).content == Content::Full {
                *absent = capture.absent(pass, &due.fingerprint, now()).into();
            }
            *rows = None;
        }
        while let Some(key) = absent.pop_front() {
            capture.delete(pass, &key, now());
            if capture.is_full() {
                return Ok(Some(taking));
            }
        }
        capture.finish(pass, now());
        self.move_to(due.stream, None, capture);
        let known = capture.memory.taken(due.stream);
        let last = known.values().map(|taken| taken.at).max().unwrap_or(0);
        // Read again, it is no newer than it was.
        let before = known.get(&due.main.name).filter(|taken| is_it(taken, &due.sha256, &due.main)).map(|taken| taken.at);
        let at = before.unwrap_or_else(|| now().micros().max(last + 1));
        let taken = Taken { sha256: due.sha256.clone(), fingerprint: due.fingerprint.clone(), at, ..Taken::default() };
        capture.take_file(due.stream, &due.main.name, Some(taken));
        work.again.took(&due.main.name, &pass.seen);
        Ok(None)
    }

    fn move_to(&self, stream: usize, reading: Option<Reading>, capture: &mut Capture) {
        let position = position::read::<FilesPosition>(capture.memory.position(stream));
        capture.move_to(stream, position::write(&FilesPosition { reading, ..position }));
    }

    /// Claimed files of which every stream has what they hold. Their places are made durable before they go there, for whoever
    /// still writes to them, even over a restart, is to be seen.
    fn leaving(&mut self, ready: Vec<Ready>, now: Instant, capture: &mut Capture) -> Result<Vec<(Ready, Watched)>, Trouble> {
        let mut leaving = Vec::new();
        for file in ready.into_iter().filter(|file| file.is_claimed) {
            let Some(sha256) = self.sha256(&file)? else { continue };
            let streams = streams_of(&file.name, capture);
            if streams.is_empty() && self.missed.insert(file.name.clone()) {
                tracing::warn!(file = %file.path.display(), "no stream reads this file; it stays");
            }
            let taken = |stream: &usize| {
                capture.memory.taken(*stream).get(&file.name).filter(|taken| is_it(taken, &sha256, &file)).cloned()
            };
            let Some(taken) = streams.iter().map(taken).collect::<Option<Vec<_>>>().filter(|taken| !taken.is_empty()) else {
                continue;
            };
            let place = self.folder.place(&file.name, &sha256);
            for (stream, taken) in streams.into_iter().zip(taken) {
                capture.take_file(stream, &file.name, Some(Taken { away: Some(away(&place, file.stamp)), ..taken }));
            }
            let Ready { name, stamp, .. } = file.clone();
            leaving.push((file, Watched { name, place, stamp, sha256, since: now }));
        }
        Ok(leaving)
    }

    fn put_away(&mut self, leaving: Vec<(Ready, Watched)>) -> Result<(), Trouble> {
        for (file, left) in leaving {
            if self.folder.put_away(&file, &left.place).map_err(|error| self.away(&error))? {
                self.folder.watch(left);
            } else {
                tracing::info!(file = %file.name, "the file changed before it was put away; it is taken again");
            }
        }
        Ok(())
    }

    /// What was taken and is gone for good needs no memory. A folder without any file may be a share that is not mounted.
    fn forget(&mut self, stream: usize, now: Instant, capture: &mut Capture) {
        let (folder, gone) = (&self.folder, &mut self.gone);
        gone.retain(|(_, name), _| !folder.holds(name));
        if folder.is_empty() {
            return;
        }
        let names: Vec<_> = capture.memory.taken(stream).keys().filter(|name| !folder.holds(name)).cloned().collect();
        for name in names {
            let place = (stream, name);
            let since = *gone.entry(place.clone()).or_insert(now);
            if now.duration_since(since) >= GONE {
                capture.take_file(stream, &place.1, None);
                gone.remove(&place);
            }
        }
    }

    /// Of the state that was seen; none: it is another one by now.
    fn sha256(&mut self, file: &Ready) -> Result<Option<String>, Trouble> {
        if let Some((_, sha256)) = self.hashes.get(&file.path).filter(|(stamp, _)| *stamp == file.stamp) {
            return Ok(Some(sha256.clone()));
        }
        let hashed = match file::sha256(&file.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            hashed => hashed.map_err(|error| self.away(&error))?,
        };
        if file::stamp(&file.path).map_err(|error| self.away(&error))? != Some(file.stamp) {
            return Ok(None);
        }
        self.hashes.insert(file.path.clone(), (file.stamp, hashed.clone()));
        Ok(Some(hashed))
    }

    fn away(&self, error: &io::Error) -> Trouble {
        let detail = format!("reading the folder {}: {error}", self.folder.path().display());
        Trouble::Source(Transient { what: "source", detail })
    }
}

/// Streams whose rows a file holds.
fn streams_of(name: &str, capture: &Capture) -> Vec<usize> {
    let streams = capture.source().streams.iter().enumerate();
    let is_main = |input: &Input| matches!(input, Input::Files { pattern, .. } if matches(pattern, name));
    streams.filter(|(_, stream)| is_main(&stream.input)).map(|(index, _)| index).collect()
}

/// Side tables stay: the next file of their stream needs them.
fn is_put_away(name: &str, capture: &Capture) -> bool {
    let mut lookups = capture.source().streams.iter().flat_map(|stream| &stream.lookups);
    !streams_of(name, capture).is_empty() && !lookups.any(|lookup| matches(&lookup.files, name))
}

/// A position as 0.1 wrote it becomes entries.
fn migrate(stream: usize, capture: &mut Capture) {
    let mut position = position::read::<FilesPosition>(capture.memory.position(stream));
    if position.taken.is_empty() {
        return;
    }
    for (name, fingerprint) in std::mem::take(&mut position.taken) {
        // Without side tables the fingerprint is the file's SHA-256.
        let sha256 = if fingerprint.len() == 64 { fingerprint.clone() } else { String::new() };
        capture.take_file(stream, &name, Some(Taken { sha256, fingerprint, at: 0, ..Taken::default() }));
    }
    capture.move_to(stream, position::write(&position));
}

/// Whether these bytes were taken from this file. What was put away and is dropped once more is another word, whatever it holds.
fn is_it(taken: &Taken, sha256: &str, file: &Ready) -> bool {
    taken.sha256 == sha256 && is_in_place(taken, file)
}

/// Not put away, or on its way there when a publisher ended.
fn is_in_place(taken: &Taken, file: &Ready) -> bool {
    let is_same = |place: &Away| *place == away(&place.place, file.stamp);
    taken.away.as_ref().is_none_or(|place| file.is_claimed && is_same(place))
}

fn away(place: &str, stamp: Stamp) -> Away {
    Away { place: place.to_owned(), size: stamp.size, modified: stamp.modified.map(nanos) }
}

/// Of all that a file is read with. One that is not what its `.sha256` says has another one than the same file without that fault.
fn fingerprint(sha256: &str, side: &[Side], is_other: bool) -> String {
    if side.is_empty() && !is_other {
        return sha256.to_owned();
    }
    let all: String = std::iter::once(sha256).chain(side.iter().map(|side| side.sha256.as_str())).collect();
    crate::letter::fingerprint(format!("{all}{}", if is_other { "!" } else { "" }).as_bytes())
}

fn wrong_sum(due: &Due) -> Option<Fault> {
    let Word::Sum(sum) = &due.main.word else { return None };
    if sum.as_ref() == Some(&due.sha256) {
        return None;
    }
    let message = match sum {
        Some(sum) => format!("the file's SHA-256 is {}, its .sha256 says {sum}; nothing of it was taken", due.sha256),
        None => "its .sha256 holds no SHA-256; nothing of the file was taken".to_owned(),
    };
    Some(Fault::new("CHECKSUM_WRONG", message).observed(&due.sha256))
}

fn nanos(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

fn modified(file: &Ready) -> Timestamp {
    let since = file.stamp.modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_micros()).ok()).map_or_else(now, Timestamp::from_micros)
}

#[cfg(test)]
mod tests;
