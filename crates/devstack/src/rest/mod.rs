//! A simulated JSON REST source: paging, a since-cursor, a sweep of ids, and answers that no source should give. Its control
//! interface has a port of its own.
//!
//! `GET /<path>?since=&limit=&page=`, `GET /<path>/ids?limit=&page=`; control: `POST /mode`, `/upsert`, `/delete`, `GET /records`.

mod http;
mod shelf;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use shelf::{Page, Shelf};

use crate::{mes::lock, server::Server};

/// How the source answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestMode {
    #[default]
    Normal,
    /// A login page, with status 200.
    Html,
    /// The first half of the right answer.
    HalfJson,
    /// Status 500.
    Error,
    /// Every page says that there is another one.
    Endless,
    /// Connections are refused.
    Down,
}

/// What a source is started with.
#[derive(Clone, Debug)]
pub struct RestOptions {
    /// Field of a record that holds its id.
    pub id: String,
    /// Field that holds the stamp of its last change.
    pub changed_at: String,
    /// Largest page it gives, whatever is asked for.
    pub page: usize,
    /// Where its records stay between two runs.
    pub file: Option<PathBuf>,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self { id: "id".to_owned(), changed_at: "changed_at".to_owned(), page: 500, file: None }
    }
}

/// A running source.
pub struct RestSource {
    shared: Arc<Shared>,
    control: Server,
}

pub(crate) struct Shared {
    pub(crate) options: RestOptions,
    shelves: Mutex<BTreeMap<String, Shelf>>,
    mode: Mutex<RestMode>,
    endpoint: Mutex<Option<Arc<Server>>>,
    requests: AtomicU64,
}

impl RestSource {
    /// Starts a source on two free ports.
    ///
    /// # Errors
    /// When a port or the file of an earlier run cannot be had.
    pub fn start(options: RestOptions) -> Result<Self> {
        let shared = Arc::new(Shared {
            shelves: Mutex::default(),
            mode: Mutex::default(),
            endpoint: Mutex::new(None),
            requests: AtomicU64::new(0),
            options,
        });
        shared.load()?;
        *lock(&shared.endpoint) = Some(Arc::new(Server::start(http::endpoint(shared.clone()))?));
        let control = Server::start(http::control(shared.clone()))?;
        Ok(Self { shared, control })
    }

    /// Where the publisher polls.
    #[must_use]
    pub fn url(&self) -> String {
        lock(&self.shared.endpoint).as_ref().map(|endpoint| endpoint.url()).unwrap_or_default()
    }

    /// Where people tell it what to do.
    #[must_use]
    pub fn control_url(&self) -> String {
        self.control.url()
    }

    /// Tells it how to answer.
    ///
    /// # Errors
    /// When its port cannot be had back.
    pub fn set_mode(&self, mode: RestMode) -> Result<()> {
        self.shared.set_mode(mode)
    }

    /// Adds or replaces a record. A stamp that the record brings is kept, otherwise it is now.
    ///
    /// # Errors
    /// When the record has no id, or its stamp is none.
    pub fn upsert(&self, path: &str, record: Map<String, Value>) -> Result<()> {
        self.shared.upsert(path, record)?;
        self.shared.save()
    }

    /// Adds or replaces many records.
    ///
    /// # Errors
    /// As [`RestSource::upsert`].
    pub fn load(&self, path: &str, records: Vec<Map<String, Value>>) -> Result<()> {
        records.into_iter().try_for_each(|record| self.shared.upsert(path, record))?;
        self.shared.save()
    }

    /// Removes a record; whether it was there.
    ///
    /// # Errors
    /// When the file of this run cannot be written.
    pub fn delete(&self, path: &str, id: &str) -> Result<bool> {
        let found = self.shared.delete(path, id);
        self.shared.save()?;
        Ok(found)
    }

    /// How many records a path has.
    #[must_use]
    pub fn len(&self, path: &str) -> usize {
        self.shared.shelves().get(path).map_or(0, Shelf::len)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.shelves().values().all(Shelf::is_empty)
    }

    /// How often somebody asked.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for RestSource {
    fn drop(&mut self) {
        lock(&self.shared.endpoint).take();
    }
}

impl Shared {
    pub(crate) fn shelves(&self) -> MutexGuard<'_, BTreeMap<String, Shelf>> {
        lock(&self.shelves)
    }

    pub(crate) fn mode(&self) -> RestMode {
        *lock(&self.mode)
    }

    pub(crate) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_mode(&self, mode: RestMode) -> Result<()> {
        let endpoint = lock(&self.endpoint).clone();
        if let Some(endpoint) = endpoint {
            if mode == RestMode::Down {
                endpoint.close();
            } else {
                endpoint.open()?;
            }
        }
        *lock(&self.mode) = mode;
        Ok(())
    }

    pub(crate) fn upsert(&self, path: &str, mut record: Map<String, Value>) -> Result<()> {
        let RestOptions { id, changed_at, .. } = &self.options;
        let name = match record.get(id) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => anyhow::bail!("reading a record of {path}: field `{id}` holds no id"),
        };
        let stamp = match record.get(changed_at) {
            Some(Value::String(text)) => {
                text.parse().with_context(|| format!("reading `{changed_at}` of {path} {name}: `{text}`"))?
            }
            Some(_) => anyhow::bail!("reading `{changed_at}` of {path} {name}: it is no text"),
            None => Timestamp::now(),
        };
        record.insert(changed_at.clone(), Value::String(stamp.to_string()));
        self.shelves().entry(path.to_owned()).or_default().upsert(name, stamp, record);
        Ok(())
    }

    pub(crate) fn delete(&self, path: &str, id: &str) -> bool {
        self.shelves().get_mut(path).is_some_and(|shelf| shelf.delete(id))
    }

    fn load(&self) -> Result<()> {
        let Some(file) = self.options.file.as_ref().filter(|file| file.exists()) else { return Ok(()) };
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let all: BTreeMap<String, Vec<Map<String, Value>>> =
            serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
        for (path, records) in all {
            records.into_iter().try_for_each(|record| self.upsert(&path, record))?;
        }
        Ok(())
    }

    pub(crate) fn save(&self) -> Result<()> {
        let Some(file) = &self.options.file else { return Ok(()) };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let text = {
            let shelves = self.shelves();
            let all: BTreeMap<&String, Vec<&Map<String, Value>>> =
                shelves.iter().map(|(path, shelf)| (path, shelf.iter().map(|(_, (_, record))| record).collect())).collect();
            serde_json::to_string_pretty(&all)?
        };
        let next = file.with_extension("next");
        fs::write(&next, text).with_context(|| format!("writing {}", next.display()))?;
        fs::rename(&next, file).with_context(|| format!("writing {}", file.display()))
    }
}
