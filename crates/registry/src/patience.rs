//! How long a registry must say no. A schema may be registered a moment after its first record, or the registry may answer from a
//! replica that lags: one 404 proves nothing (schema_registry_converter #171, #175).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use avro::Reader;

use crate::Error;

const TRIES: u32 = 3;
/// Ids that are remembered as denied.
const MOST_DENIED: usize = 10_000;

pub(crate) struct Patience {
    unknown_after: Duration,
    denied: Mutex<HashMap<i32, Denied>>,
}

#[derive(Clone, Copy)]
struct Denied {
    first: Instant,
    last: Instant,
    tries: u32,
}

impl Patience {
    pub(crate) fn new(unknown_after: Duration) -> Self {
        Self { unknown_after, denied: Mutex::default() }
    }

    /// Questions for one id are spread over the whole time, however often its batch comes again.
    pub(crate) fn may_ask(&self, id: i32) -> bool {
        self.of(id).is_none_or(|denied| denied.last.elapsed() >= self.unknown_after / TRIES)
    }

    pub(crate) fn denied(&self, id: i32) {
        let now = Instant::now();
        let mut all = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_DENIED {
            // Ids at random must not fill the memory. What was answered for good is asked for again.
            all.retain(|_, denied| denied.tries < TRIES);
            if all.len() >= MOST_DENIED {
                all.clear();
            }
        }
        let denied = all.entry(id).or_insert(Denied { first: now, last: now, tries: 0 });
        denied.last = now;
        denied.tries += 1;
    }

    pub(crate) fn forget(&self, id: i32) {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Either the records wait, or the reader is told that they are unreadable.
    pub(crate) fn verdict(&self, reader: &Reader, id: i32) -> Result<(), Error> {
        match self.of(id) {
            Some(denied) if denied.tries >= TRIES && denied.first.elapsed() >= self.unknown_after => {
                let told = format!("the registry has no such schema, asked {} times over {:?}", denied.tries, self.unknown_after);
                reader.give_up(id, &told);
                Ok(())
            }
            denied => Err(Error::Pending { id, tries: denied.map_or(0, |denied| denied.tries) }),
        }
    }

    fn of(&self, id: i32) -> Option<Denied> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }
}
