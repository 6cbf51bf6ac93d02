//! Files that were taken before and are read again, the one taken last first.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use connect::{
    csv::{OpenError, Reader},
    file,
};
use landscape::{Content, Input};

use super::{Due, Files, Trouble, rows::key_of};
use crate::capture::Capture;

/// Files of a stream that were taken, and which of them are read again.
#[derive(Default)]
pub(super) struct Again {
    files: VecDeque<Known>,
    /// Keys of the files that were taken after the one that is read.
    overtaken: Arc<HashSet<String>>,
    reading: Option<String>,
}

struct Known {
    at: i64,
    due: Due,
    is_due: bool,
}

impl Again {
    pub(super) fn know(&mut self, at: i64, due: Due, is_due: bool) {
        self.files.push_back(Known { at, due, is_due });
    }

    /// The one taken last comes first, and nothing is left behind the last one that is due. Of full files only the newest has a word.
    pub(super) fn order(&mut self, content: Content) {
        let files = self.files.make_contiguous();
        files.sort_by(|one, other| (other.at, &other.due.main.name).cmp(&(one.at, &one.due.main.name)));
        if content == Content::Full {
            self.files.truncate(1);
        }
        while self.files.back().is_some_and(|known| !known.is_due) {
            self.files.pop_back();
        }
    }

    /// Keys about which a file has no word.
    pub(super) fn overtaken(&self, due: &Due) -> Arc<HashSet<String>> {
        if self.reading.as_ref() == Some(&due.main.name) { self.overtaken.clone() } else { Arc::default() }
    }

    /// A file was read to its end.
    pub(super) fn took(&mut self, name: &str, seen: &HashSet<String>) {
        if self.reading.take_if(|reading| reading == name).is_some() && !self.files.is_empty() {
            Arc::make_mut(&mut self.overtaken).extend(seen.iter().cloned());
        }
    }
}

impl Files {
    /// The next file to be read again, behind the keys of those taken after it.
    pub(super) fn next_again(&mut self, again: &mut Again, capture: &Capture) -> Result<Option<Due>, Trouble> {
        while let Some(known) = again.files.pop_front() {
            if known.is_due {
                again.reading = Some(known.due.main.name.clone());
                return Ok(Some(known.due));
            }
            let keys = self.keys(&known.due, capture)?;
            Arc::make_mut(&mut again.overtaken).extend(keys);
        }
        Ok(None)
    }

    fn keys(&self, due: &Due, capture: &Capture) -> Result<HashSet<String>, Trouble> {
        let declared = capture.stream(due.stream);
        let Input::Files { format, .. } = &declared.input else { return Ok(HashSet::new()) };
        let input = file::open(&due.main.path).map_err(|error| self.away(&error))?;
        let mut reader = match Reader::open(input, &format.into(), &declared.key) {
            Ok(reader) => reader,
            Err(OpenError::Io(error)) => return Err(self.away(&error)),
            Err(OpenError::File(_)) => return Ok(HashSet::new()),
        };
        let mut keys = HashSet::new();
        while let Some(read) = reader.next_row().map_err(|error| self.away(&error))? {
            keys.extend(key_of(due.stream, &read, capture));
        }
        Ok(keys)
    }
}
