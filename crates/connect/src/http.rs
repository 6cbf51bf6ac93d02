//! A destination that is called over HTTP: one PUT or DELETE per revision, with the idempotency key and the revision as headers.
//!
//! Guarantees: a call ends within the timeout; redirects are not followed (an address that was checked is the one that is called);
//! at most 64 KiB of an answer are read; after a call without answer its connection is not used again, so that a late answer is
//! never taken for that of the next call.

use std::{
    error::Error as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use delivery::{Answer, AnswerClass};
use landscape::{Absent, Answers};
use mapping::View;
use model::{Domain, RecordKey, Timestamp};
use reqwest::{
    Client, Method, Url,
    header::{self, HeaderMap, HeaderValue},
    redirect,
};

use telemetry::trace::TRACEPARENT;

use crate::{
    answer::{self, Asked, Reply, Silence},
    outside,
};

/// More of an answer is not read.
pub const LARGEST_ANSWER: usize = 64 * 1024;

/// The name under which receipts know this connector.
pub const CONNECTOR: &str = "http";

/// How one destination is called.
#[derive(Clone)]
pub struct Config {
    /// Name in the landscape, for metrics.
    pub name: String,
    pub url: String,
    /// From the first byte of the request to the last of the answer.
    pub timeout: Duration,
    /// Text of the `Authorization` header: a secret, hence no `Debug`.
    pub authorization: Option<String>,
    /// Calls at once: as many connections are kept open.
    pub concurrency: usize,
    /// Its `ETag` is the revision that it holds.
    pub etag_is_revision: bool,
    /// What its answers mean, where the landscape says so.
    pub answers: Option<Answers>,
}

/// One destination.
pub struct Destination {
    name: String,
    base: Url,
    config: Config,
    /// Replaced after a call without answer.
    client: Mutex<Client>,
}

/// One revision of one key on its way.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    pub domain: Domain,
    pub key: &'a RecordKey,
    pub revision: i64,
    /// None deletes.
    pub payload: Option<String>,
    pub content_type: &'static str,
    pub idempotency_key: String,
    /// Values of personal fields: they do not appear in texts.
    pub personal: Vec<String>,
    /// Refusals that say that something is missing, and the record as their expressions see it.
    pub absent: &'a [Absent],
    pub record: Option<&'a View>,
    /// Where the call stands in its trace (W3C), for the destination's own spans.
    pub traceparent: String,
    pub now: Timestamp,
}

/// The destination cannot be called at all.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` is not an address of an HTTP destination: {why}")]
pub struct AddressError {
    url: String,
    why: String,
}

impl Destination {
    /// # Errors
    /// When the address or the authorization cannot be used.
    pub fn new(config: Config) -> Result<Self, AddressError> {
        let wrong = |why: String| AddressError { url: landscape::without_login(&config.url), why };
        let mut base = Url::parse(&config.url).map_err(|error| wrong(error.to_string()))?;
        landscape::no_login(&config.url)
            .map_err(|_| wrong("it carries a user or password; name a file with it instead".to_owned()))?;
        if base.cannot_be_a_base() || !["http", "https"].contains(&base.scheme()) {
            return Err(wrong("it is neither http nor https".to_owned()));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let client = client(&config).map_err(wrong)?;
        // A quiet destination shows zeros, so that a first refusal is an increase.
        for (operation, class) in ["upsert", "delete"].into_iter().flat_map(|one| AnswerClass::ALL.map(|class| (one, class))) {
            telemetry::DESTINATION_REQUESTS.with_label_values(&[config.name.as_str(), operation, class.name()]);
        }
        Ok(Self { name: config.name.clone(), base, client: Mutex::new(client), config })
    }

    /// Host and port that are called.
    #[must_use]
    pub fn server(&self) -> (&str, Option<u16>) {
        (self.base.host_str().unwrap_or_default(), self.base.port_or_known_default())
    }

    /// Makes one call and says what the answer means.
    pub async fn deliver(&self, delivery: Delivery<'_>) -> Answer {
        let operation = if delivery.payload.is_some() { "upsert" } else { "delete" };
        let started = Instant::now();
        let answer = self.call(delivery).await;
        let labels = [self.name.as_str(), operation, answer.class.name()];
        telemetry::DESTINATION_REQUESTS.with_label_values(&labels).inc();
        telemetry::DESTINATION_REQUEST_SECONDS.with_label_values(&labels).observe(started.elapsed().as_secs_f64());
        if answer.class == AnswerClass::Retryable && answer.code.is_none() {
            self.renew();
        }
        answer
    }

    async fn call(&self, delivery: Delivery<'_>) -> Answer {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let url = self.address(delivery.domain, delivery.key);
        let is_delete = delivery.payload.is_none();
        let mut request = client
            .request(if is_delete { Method::DELETE } else { Method::PUT }, url)
            .header("Idempotency-Key", &delivery.idempotency_key)
            .header("Millrace-Revision", delivery.revision)
            .header(TRACEPARENT, &delivery.traceparent);
        if let Some(payload) = delivery.payload {
            request = request.header(header::CONTENT_TYPE, delivery.content_type).body(payload);
        }
        let asked = Asked {
            revision: delivery.revision,
            is_delete,
            personal: &delivery.personal,
            now: delivery.now,
            answers: self.config.answers.as_ref(),
            absent: delivery.absent,
            record: delivery.record,
        };
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return silent(&error),
        };
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = LARGEST_ANSWER - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if body.len() == LARGEST_ANSWER {
                        break;
                    }
                }
                Ok(None) => break,
                // The status is known, but what it applied is not: the same call again finds out.
                Err(error) => return silent(&error),
            }
        }
        let body = outside::body(body);
        let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(outside::text);
        let [content_type, retry_after, location, etag] =
            [header::CONTENT_TYPE, header::RETRY_AFTER, header::LOCATION, header::ETAG].map(text);
        let reply = Reply {
            status,
            content_type: content_type.as_deref(),
            retry_after: retry_after.as_deref(),
            location: location.as_deref(),
            etag: etag.as_deref().filter(|_| self.config.etag_is_revision),
            body: &body,
        };
        answer::classify(&reply, &asked)
    }

    /// `{url}/{domain}/{key}`; a key's components are percent-encoded in the key, and so are stable as path segments once encoded
    /// again. A component of dots is written as its code, or everybody on the way would read it as a step in the path.
    fn address(&self, domain: Domain, key: &RecordKey) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(domain.name());
            for component in key.as_str().split('/') {
                segments.push(match component {
                    "." => "%2E",
                    ".." => "%2E%2E",
                    other => other,
                });
            }
        }
        url
    }

    /// A call ended without an answer, and its connection may still carry one: new connections from here on.
    fn renew(&self) {
        match client(&self.config) {
            Ok(client) => *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client,
            Err(error) => tracing::warn!(destination = self.name, error, "keeping the old connections"),
        }
    }
}

fn client(config: &Config) -> Result<Client, String> {
    let mut headers = HeaderMap::new();
    if let Some(text) = &config.authorization {
        telemetry::secret::keep_authorization(text);
        let value = HeaderValue::from_str(text.trim());
        let mut value = value.map_err(|_| "its authorization is no header value".to_owned())?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Client::builder()
        .default_headers(headers)
        .timeout(config.timeout)
        .connect_timeout(config.timeout.min(Duration::from_secs(5)))
        .pool_max_idle_per_host(config.concurrency)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| error.to_string())
}

/// No answer: what was sent decides whose turn it is.
fn silent(error: &reqwest::Error) -> Answer {
    let silence = if error.is_builder() {
        Silence::Impossible
    } else if error.is_connect() {
        Silence::Unreachable
    } else if error.is_timeout() {
        Silence::Timeout
    } else {
        Silence::Lost
    };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    answer::unanswered(silence, &outside::text(&text))
}

#[cfg(test)]
mod tests;
