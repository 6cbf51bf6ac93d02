//! The schema registry's client: ids, schemas, registration, compatibility.
//!
//! What it guarantees:
//! * **Down is not a verdict.** An unreachable, overloaded or broken registry is a transient [`Error`]; it is tried again with
//!   back-off, never cached, and never makes a dead letter. Only a registry that answers "no such schema" three times over two
//!   minutes makes a record unreadable ([`Registry::prepare`]), and even then the id is asked for again later.
//! * **An id is the id of *our* schema**: the version of the subject whose canonical form equals ours, never "latest".
//! * Schemas are cached for ever (an id never changes its meaning), one request at a time per id.
//! * Acts on status and numeric code, never on a message's text, because registries word them differently.
//!
//! What it does not guarantee: ids are opaque and mean something only in the registry that gave them.

mod access;
mod canonical;
mod client;
mod error;
mod kind;
mod patience;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use avro::{Reader, Schema, Writer};
use tokio::{sync::OnceCell, task::JoinSet};

pub use crate::error::Error;
use crate::{client::Client, patience::Patience};

/// Where the registry is and who asks. No `Debug`: it leads to a secret.
#[derive(Clone)]
pub struct Config {
    /// Confluent API, tried in order; a path such as `/apis/ccompat/v7` belongs to the URL.
    pub urls: Vec<String>,
    pub username: Option<String>,
    /// The password's file; trailing line breaks are not part of it.
    pub password_file: Option<PathBuf>,
    /// PEM certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long a request is tried again before the caller learns of it; it will usually come again itself.
    pub retry_for: Duration,
    /// How long a registry must deny a schema before its records count as unreadable.
    pub unknown_after: Duration,
}

impl Config {
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            username: None,
            password_file: None,
            ca_file: None,
            timeout: Duration::from_secs(5),
            retry_for: Duration::from_secs(5),
            unknown_after: Duration::from_secs(120),
        }
    }

    /// The registry of a landscape at `urls`; a request gives up within half of `start_timeout`, so that the reason is known
    /// before the time is up.
    #[must_use]
    pub fn of(landscape: &landscape::Registry, urls: &[String], start_timeout: Duration) -> Self {
        let mut config = Self::new(urls.to_vec());
        config.username.clone_from(&landscape.username);
        config.password_file = landscape.password_file.as_ref().map(PathBuf::from);
        config.ca_file = landscape.ca_file.as_ref().map(PathBuf::from);
        config.retry_for = config.retry_for.min(start_timeout / 2);
        config
    }
}

/// Cheap handle; clones share cache and connections.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    /// A cell per id: many ask at once, one request is made; an error leaves the cell empty.
    schemas: Mutex<HashMap<i32, Arc<OnceCell<Arc<str>>>>>,
    patience: Patience,
}

impl Registry {
    /// # Errors
    /// When no URL is given, or a secret or certificate file cannot be read.
    pub fn new(config: Config) -> Result<Self, Error> {
        let patience = Patience::new(config.unknown_after);
        let client = Client::new(config)?;
        Ok(Self { inner: Arc::new(Inner { client, schemas: Mutex::default(), patience }) })
    }

    /// The schema of an id, from the cache where it was asked before.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the registry says there is none; otherwise transient.
    pub async fn schema(&self, id: i32) -> Result<Arc<str>, Error> {
        let cell = {
            let mut schemas = self.inner.schemas.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(schemas.entry(id).or_default())
        };
        let answer = cell.get_or_try_init(|| async { self.inner.client.schema(id).await.map(Arc::from) }).await.cloned();
        if answer.is_err() {
            // Nothing is remembered of an id that there is not.
            self.inner.schemas.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
        answer
    }

    /// The id of exactly this schema in this subject: of the newest version whose canonical form equals it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the subject, or such a version of it, does not exist.
    pub async fn id_of(&self, subject: &str, schema_text: &str) -> Result<i32, Error> {
        let wanted = canonical::form(schema_text).map_err(|detail| Error::Refused { what: subject.to_owned(), detail })?;
        let mut versions = self.inner.client.versions(subject).await?;
        versions.sort_unstable();
        for version in versions.into_iter().rev() {
            let (id, text) = self.inner.client.version(subject, version).await?;
            if canonical::form(&text).is_ok_and(|form| form == wanted) {
                return Ok(id);
            }
        }
        Err(Error::NotFound { what: format!("this build's schema in subject `{subject}`; run `millrace schemas register`") })
    }

    /// Every version of a subject with its text, the oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such subject; otherwise transient.
    pub async fn versions(&self, subject: &str) -> Result<Vec<(u32, String)>, Error> {
        let mut numbers = self.inner.client.versions(subject).await?;
        numbers.sort_unstable();
        let mut versions = Vec::with_capacity(numbers.len());
        for number in numbers {
            versions.push((number, self.inner.client.version(subject, number).await?.1));
        }
        Ok(versions)
    }

    /// Registers a schema, minified; the id of the one that is there already, if it is.
    ///
    /// # Errors
    /// [`Error::Incompatible`] with the registry's reasons.
    pub async fn register(&self, subject: &str, schema_text: &str) -> Result<i32, Error> {
        let minified = minified(subject, schema_text)?;
        match self.inner.client.register(subject, &minified).await {
            Err(Error::Incompatible { subject, reasons }) => {
                let detailed = self.check_compatibility(&subject, schema_text).await.unwrap_or_default();
                Err(Error::Incompatible { subject, reasons: if detailed.is_empty() { reasons } else { detailed } })
            }
            other => other,
        }
    }

    /// What is incompatible with the subject's versions under its level; empty is compatible, and so is a new subject.
    ///
    /// # Errors
    /// Transient, or when the registry refuses the request.
    pub async fn check_compatibility(&self, subject: &str, schema_text: &str) -> Result<Vec<String>, Error> {
        match self.inner.client.compatibility(subject, &minified(subject, schema_text)?).await {
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Which product it is and which version, as far as it says so. For people; nothing acts on it.
    pub async fn kind(&self) -> String {
        kind::kind(&self.inner.client).await
    }

    /// The compatibility level that holds for a subject, its own or the registry's.
    ///
    /// # Errors
    /// Transient, or a refusal.
    pub async fn compatibility(&self, subject: &str) -> Result<String, Error> {
        self.inner.client.compatibility_level(subject).await
    }

    /// Sets a subject's level, such as `FULL_TRANSITIVE`.
    ///
    /// # Errors
    /// Transient, or when the registry refuses the request.
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), Error> {
        self.inner.client.set_compatibility(subject, level).await
    }

    /// Asks for one id and lets the reader learn it. A registry that keeps denying it makes its records unreadable at last.
    ///
    /// # Errors
    /// Transient: also while the registry denies the id, but not for long enough yet.
    pub async fn teach(&self, reader: &Reader, id: i32) -> Result<(), Error> {
        if !self.inner.patience.may_ask(id) {
            return self.inner.patience.verdict(reader, id);
        }
        let answer = self.schema(id).await;
        self.answered(reader, id, answer)
    }

    /// As [`Registry::teach`], for many ids, which are asked for side by side: a registry that denies them all costs its patience once.
    ///
    /// # Errors
    /// Transient. One that does not answer is told at once, whatever else is open; what was answered is learned all the same.
    pub async fn teach_all(&self, reader: &Reader, ids: impl IntoIterator<Item = i32>) -> Result<(), Error> {
        const AT_ONCE: usize = 16;
        let mut ids = ids.into_iter();
        let mut asked = JoinSet::new();
        let mut pending = Ok(());
        loop {
            while asked.len() < AT_ONCE
                && let Some(id) = ids.next()
            {
                if self.inner.patience.may_ask(id) {
                    let registry = self.clone();
                    asked.spawn(async move { (id, registry.schema(id).await) });
                } else {
                    pending = pending.and(self.inner.patience.verdict(reader, id));
                }
            }
            match asked.join_next().await {
                None => return pending,
                Some(Ok((id, answer))) => match self.answered(reader, id, answer) {
                    Err(denied @ Error::Pending { .. }) => pending = pending.and(Err(denied)),
                    Err(error) => return Err(error),
                    Ok(()) => {}
                },
                Some(Err(error)) => {
                    return Err(Error::Unavailable { what: "schemas".to_owned(), detail: error.to_string() });
                }
            }
        }
    }

    fn answered(&self, reader: &Reader, id: i32, answer: Result<Arc<str>, Error>) -> Result<(), Error> {
        match answer {
            Ok(text) => {
                self.inner.patience.forget(id);
                reader.learn(id, &text);
                Ok(())
            }
            Err(Error::NotFound { .. }) => {
                self.inner.patience.denied(id);
                self.inner.patience.verdict(reader, id)
            }
            Err(other) => Err(other),
        }
    }

    /// Teaches the reader every schema that these framed values need. Values that are not framed are left for the decoder to name.
    ///
    /// # Errors
    /// Transient, as [`Registry::teach_all`].
    pub async fn prepare<'a>(&self, reader: &Reader, values: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Error> {
        let needed: BTreeSet<i32> = values.into_iter().filter_map(|value| avro::schema_id(value).ok()).collect();
        self.teach_all(reader, needed.into_iter().filter(|id| !reader.knows(*id))).await
    }

    /// The writer of a service: the id of every schema it writes, looked up in the subject of a topic that it writes it to.
    ///
    /// # Errors
    /// [`Error::NotFound`] names the subject that lacks the schema.
    pub async fn writer(&self, schemas: &[(Schema, String)]) -> Result<Writer, Error> {
        let mut ids = HashMap::new();
        for (schema, topic) in schemas {
            ids.insert(*schema, self.id_of(&avro::subject(topic), schema.text()).await?);
        }
        Ok(Writer::new(ids))
    }
}

/// The text without its layout; the order of keys stays, because people read schemas in the registry's own console.
fn minified(subject: &str, text: &str) -> Result<String, Error> {
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|error| Error::Refused { what: format!("the schema for subject `{subject}`"), detail: error.to_string() })?;
    let mut minified = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for character in text.chars() {
        if quoted || !character.is_ascii_whitespace() {
            minified.push(character);
        }
        match character {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && character == '\\' && !escaped;
    }
    Ok(minified)
}

#[cfg(test)]
mod tests;
