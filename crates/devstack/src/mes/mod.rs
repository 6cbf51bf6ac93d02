//! A simulated plant MES: stores records by key and revision over HTTP, refuses what it cannot hold, counts what a test wants to
//! know, and can be told to be unwell. The control interface has a port of its own, so it answers while the plant is down.
//!
//! `PUT|DELETE /<domain>/<key>` with `Idempotency-Key` and `Millrace-Revision`; control: `POST /mode`, `/refuse`, `/accept`,
//! `GET /records`, `/calls`, `/counts`.

mod http;
mod plant;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use plant::{Answer, Call, Counts, Deed, Limit, Manners, Offer, Plant, Refusal, Stored};

use crate::server::Server;

/// How the plant behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Up,
    /// Connections are refused.
    Down,
    /// Every call takes two seconds.
    Slow,
    /// Takes the call and never answers.
    Hang,
    /// Answers 500 and does nothing.
    Error,
    /// Does it, and then answers 500: the caller cannot know.
    Lost,
    /// Answers 429 with Retry-After: 1.
    Throttle,
}

/// What a plant is started with.
#[derive(Clone, Debug, Default)]
pub struct MesOptions {
    pub name: String,
    pub limits: Vec<Limit>,
    pub manners: Manners,
    /// How long each call takes when the plant is well.
    pub latency: Duration,
    /// Where its records stay between two runs.
    pub journal: Option<PathBuf>,
}

/// A running plant.
pub struct Mes {
    shared: Arc<Shared>,
    control: Server,
}

/// What both listeners and the handle see.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) latency: Duration,
    plant: Mutex<Plant>,
    journal: Mutex<Option<BufWriter<File>>>,
    pub(crate) mode: watch::Sender<Mode>,
    endpoint: Mutex<Option<Arc<Server>>>,
}

impl Mes {
    /// Starts a plant on two free ports.
    ///
    /// # Errors
    /// When a port or the journal cannot be had.
    pub fn start(options: MesOptions) -> Result<Self> {
        let mut plant = Plant::new(options.manners, options.limits);
        let journal = options.journal.map(|path| open_journal(&path, &mut plant)).transpose()?;
        let shared = Arc::new(Shared {
            name: options.name,
            latency: options.latency,
            plant: Mutex::new(plant),
            journal: Mutex::new(journal),
            mode: watch::Sender::new(Mode::Up),
            endpoint: Mutex::new(None),
        });
        let endpoint = Server::start(http::endpoint(shared.clone()))?;
        *lock(&shared.endpoint) = Some(Arc::new(endpoint));
        let control = Server::start(http::control(shared.clone()))?;
        Ok(Self { shared, control })
    }

    /// Where the sink delivers to.
    #[must_use]
    pub fn url(&self) -> String {
        lock(&self.shared.endpoint).as_ref().map(|endpoint| endpoint.url()).unwrap_or_default()
    }

    /// Where people tell it what to do.
    #[must_use]
    pub fn control_url(&self) -> String {
        self.control.url()
    }

    /// Tells it how to behave.
    ///
    /// # Errors
    /// When its port cannot be had back.
    pub fn set_mode(&self, mode: Mode) -> Result<()> {
        self.shared.set_mode(mode)
    }

    #[must_use]
    pub fn mode(&self) -> Mode {
        *self.shared.mode.borrow()
    }

    /// Refuses one key (or `domain/key`).
    pub fn refuse(&self, key: &str) {
        self.shared.plant().refuse(key.to_owned());
    }

    /// Accepts a refused key again.
    pub fn accept(&self, key: &str) {
        self.shared.plant().accept(key);
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.plant().counts()
    }

    /// Every record that is there.
    #[must_use]
    pub fn records(&self) -> Vec<Stored> {
        self.shared.plant().records().cloned().collect()
    }

    /// One record, also when it was deleted.
    #[must_use]
    pub fn record(&self, domain: &str, key: &str) -> Option<Stored> {
        self.shared.plant().record_of(domain, key).cloned()
    }

    /// The call book from a number on (the first call is 1).
    #[must_use]
    pub fn calls_since(&self, number: u64) -> Vec<Call> {
        self.shared.plant().calls_since(number).cloned().collect()
    }
}

impl Drop for Mes {
    fn drop(&mut self) {
        // The endpoint's router holds the shared part, and the shared part holds the endpoint.
        lock(&self.shared.endpoint).take();
        if let Some(journal) = lock(&self.shared.journal).as_mut() {
            journal.flush().ok();
        }
    }
}

impl Shared {
    pub(crate) fn plant(&self) -> MutexGuard<'_, Plant> {
        lock(&self.plant)
    }

    pub(crate) fn set_mode(&self, mode: Mode) -> Result<()> {
        let endpoint = lock(&self.endpoint).clone();
        if let Some(endpoint) = endpoint {
            if mode == Mode::Down {
                endpoint.close();
            } else {
                endpoint.open().with_context(|| format!("bringing plant {} back", self.name))?;
            }
        }
        self.mode.send_replace(mode);
        Ok(())
    }

    /// Keeps what was applied for the next run.
    pub(crate) fn keep(&self, stored: &Stored) {
        if let Some(journal) = lock(&self.journal).as_mut() {
            let line = serde_json::to_string(stored).unwrap_or_default();
            writeln!(journal, "{line}").and_then(|()| journal.flush()).ok();
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_journal(path: &PathBuf, plant: &mut Plant) -> Result<BufWriter<File>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let mut latest = std::collections::BTreeMap::new();
    if path.exists() {
        for line in BufReader::new(File::open(path)?).lines() {
            // The last line may be cut by a kill; the sink offers that record again, since it had no answer.
            if let Ok(stored) = serde_json::from_str::<Stored>(&line?) {
                latest.insert((stored.domain.clone(), stored.key.clone()), stored);
            }
        }
    }
    let next = path.with_extension("next");
    let mut journal = BufWriter::new(File::create(&next).with_context(|| format!("writing {}", next.display()))?);
    for stored in latest.into_values() {
        writeln!(journal, "{}", serde_json::to_string(&stored)?)?;
        plant.restore(stored);
    }
    journal.flush()?;
    fs::rename(&next, path).with_context(|| format!("writing {}", path.display()))?;
    Ok(journal)
}
