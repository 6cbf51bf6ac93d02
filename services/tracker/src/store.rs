//! The tracker's memory: SQLite, rebuilt from the topics at any time.
//!
//! Invariant: the offsets a store has read stand in the same SQLite transaction as the rows they led to, so a kill at any
//! instant loses nothing and counts nothing twice. A store made for another layout (tables, topic prefix, slots, scopes,
//! deadlines) is thrown away and built anew. There is one writer, the follow loop; readers have connections of their own.

mod destinations;
mod letters;
pub mod query;
mod records;
mod schema;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use model::{Domain, Timestamp};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};

use crate::{
    fact::{Fact, Located},
    fleet::Fleet,
};

/// Trouble with the store: always the process's, never a record's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("opening the store {path}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("removing the outdated store {path}")]
    Remove { path: PathBuf, source: std::io::Error },
    #[error("writing the store")]
    Write(#[from] rusqlite::Error),
    #[error("writing the store: a row as JSON")]
    Json(#[from] serde_json::Error),
}

/// What applying records or passing time brought that metrics count. The caller counts it only once the tracker has caught up.
#[derive(Clone, Debug, PartialEq)]
pub enum Noted {
    Propagated { domain: Domain, destination: String, seconds: f64 },
    Deadline { domain: Domain, destination: String, met: bool },
    Detected { domain: String, class: String, seconds: f64 },
    Resolved { domain: String, class: String, seconds: f64 },
    Corrected { domain: String, kind: &'static str },
}

/// The writing side.
pub struct Store {
    connection: Connection,
    fleet: Arc<Fleet>,
}

impl Store {
    /// Opens the store in `path`, or makes it anew when it belongs to another layout or is no store at all.
    ///
    /// # Errors
    /// When the file can be neither opened nor replaced.
    pub fn open(path: &Path, fleet: Arc<Fleet>) -> Result<Self, Error> {
        if let Some(connection) = usable(path, &fleet) {
            return Ok(Self { connection, fleet });
        }
        for ending in ["", "-wal", "-shm"] {
            let part = PathBuf::from(format!("{}{ending}", path.display()));
            match std::fs::remove_file(&part) {
                Ok(()) => tracing::info!(file = %part.display(), "store of another layout removed, rebuilding from the topics"),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::Remove { path: part, source }),
            }
        }
        let open = |source| Error::Open { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(open)?;
        tune(&connection).map_err(open)?;
        connection.execute_batch(schema::TABLES).map_err(open)?;
        for (name, value) in [("version", schema::VERSION.to_string()), ("fingerprint", fleet.fingerprint())] {
            connection.execute("INSERT INTO meta VALUES (?, ?)", params![name, value]).map_err(open)?;
        }
        Ok(Self { connection, fleet })
    }

    /// The next offset to read of every partition.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn positions(&self) -> Result<HashMap<(String, i32), i64>, Error> {
        let mut statement = self.connection.prepare("SELECT topic, slot, next FROM position")?;
        let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Applies records in their order, with their offsets, in one transaction.
    ///
    /// # Errors
    /// When the store cannot be written; nothing of the batch is then kept.
    pub fn apply(&mut self, batch: &[Located]) -> Result<Vec<Noted>, Error> {
        let transaction = self.connection.transaction()?;
        let mut write = Write { sql: &transaction, fleet: &self.fleet, noted: Vec::new() };
        let mut next: HashMap<(&str, i32), i64> = HashMap::new();
        for located in batch {
            write.fact(located)?;
            next.insert((&located.topic, located.partition), located.offset + 1);
        }
        for ((topic, slot), next) in next {
            write.run(
                "INSERT INTO position VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next",
                params![topic, slot, next],
            )?;
        }
        let noted = write.noted;
        transaction.commit()?;
        Ok(noted)
    }

    /// Forgets, uncounted, every deadline that passed before `now`: it belongs to the time before this tracker caught up.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn settle(&mut self, now: Timestamp) -> Result<(), Error> {
        self.connection.execute("DELETE FROM deadline WHERE due < ?", [now.micros()])?;
        Ok(())
    }

    /// Counts the deadlines that have passed, each once, at the moment it passes.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn tick(&mut self, now: Timestamp) -> Result<Vec<Noted>, Error> {
        let mut statement = self.connection.prepare_cached("DELETE FROM deadline WHERE due < ? RETURNING destination, domain")?;
        let missed = statement.query_map([now.micros()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut noted = Vec::new();
        for row in missed {
            let (destination, domain) = row?;
            if let Ok(domain) = domain.parse() {
                noted.push(Noted::Deadline { domain, destination, met: false });
            }
        }
        Ok(noted)
    }

    /// Drops what the topics themselves have forgotten: changes after 14 days, findings after 90, receipts after 400.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn forget(&mut self, now: Timestamp) -> Result<(), Error> {
        const DAY: i64 = 86_400_000_000;
        self.connection.execute("DELETE FROM change WHERE captured_at < ?", [now.micros() - 14 * DAY])?;
        self.connection.execute("DELETE FROM finding WHERE at < ?", [now.micros() - 90 * DAY])?;
        self.connection.execute("DELETE FROM receipt WHERE answered_at < ?", [now.micros() - 400 * DAY])?;
        Ok(())
    }
}

/// An existing store of exactly this layout.
fn usable(path: &Path, fleet: &Fleet) -> Option<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    tune(&connection).ok()?;
    let meta = |name: &str| {
        connection
            .query_row("SELECT value FROM meta WHERE name = ?", [name], |row| row.get::<_, String>(0))
            .optional()
            .ok()
            .flatten()
    };
    let fits = meta("version")? == schema::VERSION.to_string() && meta("fingerprint")? == fleet.fingerprint();
    fits.then_some(connection)
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut may cost the last transactions; their offsets go with them, so they are read again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -8_000)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// One transaction being written.
struct Write<'a> {
    sql: &'a Transaction<'a>,
    fleet: &'a Fleet,
    noted: Vec<Noted>,
}

impl Write<'_> {
    fn fact(&mut self, located: &Located) -> Result<(), Error> {
        match &located.fact {
            Fact::Change(change) => self.change(located, change),
            Fact::Golden(domain, golden) => self.golden(located, *domain, golden.as_deref()),
            Fact::Held(held) => self.held(&located.key, held.as_deref()),
            Fact::Finding(report) => self.finding(report),
            Fact::Receipt(receipt) => self.receipt(located, receipt),
            Fact::Ledger(destination, ledger) => self.ledger(destination, &located.key, ledger.as_deref()),
            Fact::Destination(status) => self.destination(&located.key, status.as_deref()),
            Fact::Source(status) => self.source(&located.key, status.as_deref()),
            Fact::Letter(letter) => self.letter(located, letter),
            Fact::LetterStatus(status) => self.letter_status(&located.key, status.as_deref()),
            Fact::Plan(plan) => self.plan(&located.key, plan.as_deref()),
            Fact::Audit(entry) => self.audit(entry),
            Fact::Nothing => Ok(()),
        }
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, Error> {
        Ok(self.sql.prepare_cached(sql)?.execute(values)?)
    }

    fn one<T: rusqlite::types::FromSql>(&self, sql: &str, values: impl rusqlite::Params) -> Result<Option<T>, Error> {
        Ok(self.sql.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
    }
}

/// A symbol of a topic's enum as text: `PARKED`.
fn symbol<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    Ok(serde_json::to_value(value)?.as_str().unwrap_or("UNKNOWN").to_owned())
}

/// The reading side: a few connections, handed out one per question.
#[derive(Clone)]
pub struct Reads {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Reads {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: Arc::new(path.to_owned()), idle: Arc::default() }
    }

    /// Answers one question from one consistent snapshot, on a thread that may block.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let reads = self.clone();
        tokio::task::spawn_blocking(move || {
            let idle = reads.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => reads.connect()?,
            };
            let snapshot = connection.unchecked_transaction()?;
            let answer = question(&snapshot);
            snapshot.finish()?;
            reads.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        })
        .await
        .expect("questions do not panic and are not cancelled")
    }

    fn connect(&self) -> Result<Connection, Error> {
        let open = |source| Error::Open { path: self.path.to_path_buf(), source };
        let connection = Connection::open_with_flags(&*self.path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(open)?;
        tune(&connection).map_err(open)?;
        connection.pragma_update(None, "query_only", true).map_err(open)?;
        Ok(connection)
    }
}
