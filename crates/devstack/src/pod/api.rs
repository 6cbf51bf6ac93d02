//! A small client of a Kubernetes API: plain JSON over TLS with one token. Blocking, for threads and tests that are not async.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use reqwest::{Certificate, Method, header::CONTENT_TYPE};
use serde_json::Value;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(30);

/// How a person or a controller reaches the API.
#[derive(Clone)]
pub struct Api {
    url: String,
    token: String,
    client: reqwest::Client,
    runtime: Arc<Runtime>,
}

/// The API's answer when it refuses.
#[derive(Clone, Debug)]
pub struct Refused {
    pub status: u16,
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the API refuses with {}: {}", self.status, self.message)
    }
}

impl std::error::Error for Refused {}

impl Api {
    /// # Errors
    /// When the authority's certificate cannot be read.
    pub fn new(url: impl Into<String>, token: impl Into<String>, authority: &str) -> Result<Self> {
        let certificates = Certificate::from_pem_bundle(authority.as_bytes()).context("reading the API's certificates")?;
        let client = reqwest::Client::builder().timeout(PATIENCE).tls_certs_only(certificates);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("kubernetes client")
            .enable_all()
            .build()
            .context("starting the runtime of a Kubernetes client")?;
        Ok(Self {
            url: url.into(),
            token: token.into(),
            client: client.build().context("building a Kubernetes client")?,
            runtime: Arc::new(runtime),
        })
    }

    /// The same API for somebody else.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// An object; none when there is none.
    ///
    /// # Errors
    /// When the API does not answer or refuses.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        missing_is_none(self.call(Method::GET, path, None))
    }

    /// The items of a list; none when the kind is not known.
    ///
    /// # Errors
    /// When the API does not answer or refuses.
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.get(path)?.unwrap_or_default();
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Creates an object in a collection.
    ///
    /// # Errors
    /// When the API does not answer or refuses ([`Refused`]).
    pub fn create(&self, collection: &str, object: &Value) -> Result<Value> {
        self.call(Method::POST, collection, Some(("application/json", serde_json::to_vec(object)?)))
    }

    /// As [`Api::create`], for an object that is written as YAML.
    ///
    /// # Errors
    /// When the API does not answer or refuses.
    pub fn create_yaml(&self, collection: &str, text: &str) -> Result<Value> {
        self.call(Method::POST, collection, Some(("application/yaml", text.as_bytes().to_vec())))
    }

    /// Creates an object or leaves it when it is there.
    ///
    /// # Errors
    /// When the API does not answer or refuses.
    pub fn ensure(&self, collection: &str, object: &Value) -> Result<()> {
        match self.create(collection, object) {
            Err(error) if status_of(&error) == Some(409) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Merges into an object; none when it is gone.
    ///
    /// # Errors
    /// When the API does not answer or refuses.
    pub fn merge(&self, path: &str, patch: &Value) -> Result<Option<Value>> {
        missing_is_none(self.call(Method::PATCH, path, Some(("application/merge-patch+json", serde_json::to_vec(patch)?))))
    }

    /// Deletes an object; one that is gone or is another one by now is left alone.
    ///
    /// # Errors
    /// When the API does not answer or refuses.
    pub fn delete(&self, path: &str, options: &Value) -> Result<()> {
        match self.call(Method::DELETE, path, Some(("application/json", serde_json::to_vec(options)?))) {
            Err(error) if matches!(status_of(&error), Some(404 | 409)) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Whether the API answers that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let request = self.client.get(format!("{}/readyz", self.url)).bearer_auth(&self.token);
        self.runtime.block_on(async { request.send().await }).is_ok_and(|response| response.status().is_success())
    }

    fn call(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Result<Value> {
        let doing = || format!("asking the Kubernetes API for {method} {path}");
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some((kind, body)) = body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let answer = self.runtime.block_on(async {
            let response = request.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        });
        let (status, bytes) = answer.with_context(doing)?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let message = body["message"].as_str().map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), str::to_owned);
        Err(anyhow::Error::new(Refused { status: status.as_u16(), message }).context(doing()))
    }
}

/// The status of a refusal.
#[must_use]
pub fn status_of(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Refused>().map(|refused| refused.status)
}

fn missing_is_none(answer: Result<Value>) -> Result<Option<Value>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if status_of(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}
