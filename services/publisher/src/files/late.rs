//! Files in `done/` that somebody writes to: their writer had not finished, or somebody opened them much later.
//!
//! What is added counts for a day, and only while nothing newer was taken: old content never comes back as news.

use std::time::{Duration, Instant, SystemTime};

use connect::{
    file::{self, Stamp, Watched},
    rows::Fault,
};
use landscape::Content;
use model::Timestamp;

use super::{Files, GONE, Trouble, away, streams_of};
use crate::{
    capture::{Capture, Pass},
    position::{Away, Taken},
    writer,
};

impl Files {
    /// What an earlier process put away within the last day.
    pub(super) fn watch(&mut self, now: Instant, capture: &Capture) {
        let streams = 0..capture.source().streams.len();
        let mut taken: Vec<_> = streams.flat_map(|stream| capture.memory.taken(stream)).collect();
        taken.sort_by_key(|(_, taken)| taken.at);
        for (name, taken) in taken {
            let age = writer::now().since(Timestamp::from_micros(taken.at));
            if let Some(away) = taken.away.as_ref().filter(|_| age < GONE) {
                let (name, place, sha256) = (name.clone(), away.place.clone(), taken.sha256.clone());
                let since = now.checked_sub(age).unwrap_or(now);
                self.folder.watch(Watched { name, place, stamp: stamp(away), sha256, since });
            }
        }
    }

    /// Decides about every file that changed since it was put away.
    pub(super) fn bring_back(&mut self, now: Instant, capture: &mut Capture) -> Result<(), Trouble> {
        for (file, found) in self.folder.changed(now) {
            let Ok(sha256) = file::sha256(&self.folder.done(&file.place)) else {
                tracing::warn!(file = %file.place, "a file in done/ changed and cannot be read; it stays");
                continue;
            };
            if sha256 == file.sha256 {
                leave(&file, found, capture);
                self.folder.watch(Watched { stamp: found, ..file });
            } else if is_last_word(&file, capture) {
                tracing::warn!(file = %file.name, "the file was written to after it was put away; it is taken again");
                self.folder.bring_back(&file).map_err(|error| self.away(&error))?;
            } else {
                tracing::warn!(
                    file = %file.name,
                    place = %file.place,
                    "a file in done/ was written to, and a newer one was taken since; it stays"
                );
                refuse(&file, &sha256, capture);
                leave(&file, found, capture);
            }
        }
        Ok(())
    }
}

/// Whether nothing was taken since, under its name or by a stream that reads it.
fn is_last_word(file: &Watched, capture: &Capture) -> bool {
    let streams = streams_of(&file.name, capture);
    let is_last = |stream: &usize| {
        let known = capture.memory.taken(*stream);
        known.get(&file.name).is_some_and(|own| lies_at(own, file) && known.values().all(|other| other.at <= own.at))
    };
    !streams.is_empty() && streams.iter().all(is_last)
}

/// A newer full list says all that this one could; the rows of a delta are nowhere else.
fn refuse(file: &Watched, sha256: &str, capture: &mut Capture) {
    let message = format!(
        "the file was written to after it had been put away as done/{}, and a newer one was taken since; nothing of that was taken",
        file.place
    );
    let fault = Fault::new("WRITTEN_LATE", message).observed(sha256);
    for stream in streams_of(&file.name, capture) {
        if capture.stream(stream).content == Content::Delta {
            capture.refuse_whole(&mut Pass::new(stream, &file.name, writer::now()), &fault, sha256, writer::now());
        }
    }
}

/// So that a restart does not take it for a change.
fn leave(file: &Watched, found: Stamp, capture: &mut Capture) {
    for stream in streams_of(&file.name, capture) {
        if let Some(own) = capture.memory.taken(stream).get(&file.name).filter(|own| lies_at(own, file)).cloned() {
            capture.take_file(stream, &file.name, Some(Taken { away: Some(away(&file.place, found)), ..own }));
        }
    }
}

fn lies_at(taken: &Taken, file: &Watched) -> bool {
    taken.away.as_ref().is_some_and(|away| away.place == file.place)
}

fn stamp(away: &Away) -> Stamp {
    let since = away.modified.and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos);
    Stamp { size: away.size, modified: since.map(|since| SystemTime::UNIX_EPOCH + since) }
}
