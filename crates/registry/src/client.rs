//! The requests. `schema_registry_converter` makes those it knows; compatibility with reasons and levels are our own, over the same
//! connection pool and the same rules: every URL in turn, back-off between rounds, a class for every answer.

use std::{error::Error as _, future::Future, time::Instant};

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::StatusCode;
use schema_registry_converter::{
    async_impl::schema_registry::{get_all_versions, get_schema_by_id, get_schema_by_subject_and_version, post_schema},
    error::SRCError,
    schema_registry_common::{RawError, SchemaType, SuppliedSchema},
};
use serde::Deserialize;
use serde_json::json;

use crate::{Config, Error, access::Access};

pub(crate) struct Client {
    access: Access,
    urls: Vec<String>,
    backoff: ExponentialBuilder,
}

impl Client {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let urls: Vec<String> = config.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        let backoff = ExponentialBuilder::default()
            .with_min_delay(std::time::Duration::from_millis(100))
            .with_max_delay(std::time::Duration::from_secs(1))
            .without_max_times()
            .with_total_delay(Some(config.retry_for))
            .with_jitter();
        Ok(Self { access: Access::new(Config { urls: urls.clone(), ..config })?, urls, backoff })
    }

    pub(crate) async fn schema(&self, id: i32) -> Result<String, Error> {
        let what = format!("schema {id}");
        let Ok(number) = u32::try_from(id) else { return Err(Error::NotFound { what }) };
        self.request("schema", || async {
            let found = get_schema_by_id(number, &self.access.now().settings).await.map_err(|error| classed(&what, &error))?;
            ours(&what, found.schema)
        })
        .await
    }

    pub(crate) async fn versions(&self, subject: &str) -> Result<Vec<u32>, Error> {
        let what = format!("subject `{subject}`");
        self.request("versions", || async {
            get_all_versions(&self.access.now().settings, encoded(subject)).await.map_err(|error| classed(&what, &error))
        })
        .await
    }

    /// Id and text of one version.
    pub(crate) async fn version(&self, subject: &str, version: u32) -> Result<(i32, String), Error> {
        let what = format!("version {version} of subject `{subject}`");
        let found = self
            .request("version", || async {
                get_schema_by_subject_and_version(&self.access.now().settings, &encoded(subject), Some(version))
                    .await
                    .map_err(|error| classed(&what, &error))
            })
            .await?;
        Ok((opaque(found.id)?, ours(&what, found.schema)?))
    }

    pub(crate) async fn register(&self, subject: &str, text: &str) -> Result<i32, Error> {
        let registered = self
            .request("register", || async {
                let supplied = SuppliedSchema::new(None, SchemaType::Avro, text.to_owned());
                post_schema(&self.access.now().settings, encoded(subject), supplied)
                    .await
                    .map_err(|error| classed(subject, &error))
            })
            .await?;
        opaque(registered.id)
    }

    /// The registry's reasons; empty is compatible.
    pub(crate) async fn compatibility(&self, subject: &str, text: &str) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            is_compatible: bool,
            #[serde(default)]
            messages: Option<Vec<String>>,
        }
        let path = format!("/compatibility/subjects/{}/versions?verbose=true", encoded(subject));
        let body = json!({"schema": text, "schemaType": "AVRO"});
        let answer: Answer =
            self.request("compatibility", || async { self.send(reqwest::Method::POST, &path, &body, subject).await }).await?;
        Ok(match (answer.is_compatible, answer.messages) {
            (true, _) => Vec::new(),
            (false, Some(messages)) if !messages.is_empty() => messages,
            (false, _) => vec!["the registry gives no reason".to_owned()],
        })
    }

    /// The level of a subject; the registry's where it has none of its own.
    pub(crate) async fn compatibility_level(&self, subject: &str) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(alias = "compatibility", rename = "compatibilityLevel")]
            level: String,
        }
        let path = format!("/config/{}?defaultToGlobal=true", encoded(subject));
        let empty = serde_json::Value::Null;
        let answer: Answer =
            self.request("config", || async { self.send(reqwest::Method::GET, &path, &empty, subject).await }).await?;
        Ok(answer.level)
    }

    /// The addresses, without a slash at the end.
    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// An answer of some path, when there is one of that shape.
    pub(crate) async fn peek<T: serde::de::DeserializeOwned>(&self, url: &str) -> Option<T> {
        self.access.now().request(reqwest::Method::GET, url).send().await.ok()?.error_for_status().ok()?.json().await.ok()
    }

    pub(crate) async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), Error> {
        let path = format!("/config/{}", encoded(subject));
        let body = json!({"compatibility": level});
        self.request("config", || async {
            self.send::<serde_json::Value>(reqwest::Method::PUT, &path, &body, subject).await.map(drop)
        })
        .await
    }

    /// Tries again what is transient, and counts every try. What is denied comes again with the caller: the files may be others by then.
    async fn request<T, F, A>(&self, operation: &'static str, attempt: A) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
        A: Fn() -> F,
    {
        (|| async {
            let start = Instant::now();
            let answer = attempt().await.map_err(|error| self.access.refused(error.scrubbed()));
            let outcome = answer.as_ref().map_or_else(Error::outcome, |_| "ok");
            telemetry::REGISTRY_REQUESTS.with_label_values(&[operation, outcome]).inc();
            telemetry::REGISTRY_REQUEST_SECONDS.with_label_values(&[operation, outcome]).observe(start.elapsed().as_secs_f64());
            answer
        })
        .retry(self.backoff)
        .when(|error| matches!(error, Error::Unavailable { .. }))
        .await
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &serde_json::Value,
        subject: &str,
    ) -> Result<T, Error> {
        let what = format!("subject `{subject}`");
        let mut last = Error::Unavailable { what: what.clone(), detail: "no URL is given".to_owned() };
        for url in &self.urls {
            let request = self
                .access
                .now()
                .request(method.clone(), &format!("{url}{path}"))
                .header("content-type", "application/vnd.schemaregistry.v1+json")
                .header("accept", "application/vnd.schemaregistry.v1+json, application/json")
                .body(if body.is_null() { String::new() } else { body.to_string() });
            match answered(request.send().await, &what).await {
                Ok(answer) => return Ok(answer),
                Err(error @ Error::Unavailable { .. }) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

async fn answered<T: serde::de::DeserializeOwned>(
    response: Result<reqwest::Response, reqwest::Error>,
    what: &str,
) -> Result<T, Error> {
    let unavailable = |error: reqwest::Error| Error::Unavailable { what: what.to_owned(), detail: chain(&error) };
    let response = response.map_err(unavailable)?;
    let status = response.status();
    if status.is_success() {
        return response.json().await.map_err(unavailable);
    }
    let error: Option<RawError> = response.json().await.ok();
    Err(by_code(what, error.as_ref().map_or(0, |error| error.error_code), Some(status), error.map(|error| error.message)))
}

/// A schema that repeats what we sent to be let in is no schema: it would show in letters and logs.
fn ours(what: &str, schema: String) -> Result<String, Error> {
    if telemetry::secret::occurs(&schema) {
        let detail = "the answer repeats our own credentials".to_owned();
        return Err(Error::Unavailable { what: what.to_owned(), detail });
    }
    Ok(schema)
}

/// The class of a failed call of `schema_registry_converter`, by the numeric code it carries.
fn classed(what: &str, error: &SRCError) -> Error {
    let raw = error.source().and_then(|source| source.downcast_ref::<RawError>());
    match raw {
        Some(raw) => by_code(what, raw.error_code, None, Some(raw.message.clone())),
        // No answer at all, or one that is not the registry's.
        None => Error::Unavailable { what: what.to_owned(), detail: error.source().map_or_else(|| error.error.clone(), chain) },
    }
}

/// `code` is a status, or a status and two digits more.
fn by_code(what: &str, code: u32, status: Option<StatusCode>, message: Option<String>) -> Error {
    let what = what.to_owned();
    let detail = message.unwrap_or_else(|| status.map_or_else(|| "no reason given".to_owned(), |status| status.to_string()));
    let class = if code >= 1000 { code / 100 } else { code };
    match if class == 0 { status.map_or(0, |status| u32::from(status.as_u16())) } else { class } {
        // A 404 without the registry's own code comes from a proxy or a wrong path: the registry did not speak.
        404 if code != 0 => Error::NotFound { what },
        401 | 403 => Error::Denied { what, detail },
        409 => Error::Incompatible { subject: what, reasons: vec![detail] },
        400 | 405 | 415 | 422 => Error::Refused { what, detail },
        _ => Error::Unavailable { what, detail },
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A subject as one path segment.
fn encoded(subject: &str) -> String {
    subject.bytes().fold(String::with_capacity(subject.len()), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

fn opaque(id: u32) -> Result<i32, Error> {
    i32::try_from(id)
        .map_err(|_| Error::Refused { what: format!("schema id {id}"), detail: "it does not fit the framing".to_owned() })
}
