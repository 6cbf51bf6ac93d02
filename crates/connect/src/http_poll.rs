//! A JSON source that is asked: pages of changed items since a stamp, and pages of all ids.
//!
//! Every answer that is not one page of items is trouble of the source, never of a record: a [`Transient`], and the pass is done
//! again from its start. An endless chain of pages (a token that comes twice, more pages than [`Config::most_pages`]) is trouble too. One
//! bad item among good ones is a [`Broken`].

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use mapping::read_json;
use model::{Timestamp, Transient};
use reqwest::{
    Url,
    header::{self, HeaderMap, HeaderValue},
    redirect,
};
use serde_json::{Map, Value, value::RawValue};
use telemetry::secret;

use crate::outside;
use crate::rows::{Broken, Fault, Read, Row, cut};

/// A page larger than this is not read to its end.
pub const LARGEST_PAGE: usize = 32 * 1024 * 1024;

/// Where and how one source is asked.
#[derive(Clone)]
pub struct Config {
    pub url: String,
    pub timeout: Duration,
    /// Items a page.
    pub limit: usize,
    /// More pages than this are endless paging.
    pub most_pages: usize,
    /// Text of the `Authorization` header: a secret, hence no `Debug`.
    pub authorization: Option<String>,
}

/// One source.
#[derive(Clone, Debug)]
pub struct Source {
    client: reqwest::Client,
    base: Url,
    limit: usize,
    most_pages: usize,
}

/// One stream's items since a stamp, page by page.
#[derive(Debug)]
pub struct Pages<'a> {
    source: &'a Source,
    path: String,
    since: Option<String>,
    next: Next,
    tokens: HashSet<String>,
    number: u64,
}

#[derive(Debug)]
enum Next {
    First,
    Token(String),
    Done,
}

/// What one item has to have.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Fields that name it.
    pub keys: Vec<String>,
    /// Field of its stamp; none: the source has no stamps.
    pub stamp: Option<String>,
}

/// The address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` is not an address of an HTTP source: {why}")]
pub struct AddressError {
    url: String,
    why: String,
}

impl Source {
    /// # Errors
    /// When the address is none.
    pub fn new(config: &Config) -> Result<Self, AddressError> {
        let wrong = |why: String| AddressError { url: landscape::without_login(&config.url), why };
        let mut base = Url::parse(&config.url).map_err(|error| wrong(error.to_string()))?;
        landscape::no_login(&config.url)
            .map_err(|_| wrong("it carries a user or password; name a file with it instead".into()))?;
        if base.cannot_be_a_base() || !["http", "https"].contains(&base.scheme()) {
            return Err(wrong("it is neither http nor https".into()));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut headers = HeaderMap::new();
        if let Some(text) = &config.authorization {
            telemetry::secret::keep_authorization(text);
            let mut value =
                HeaderValue::from_str(text.trim()).map_err(|_| wrong("its authorization is no header value".into()))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(config.timeout)
            .connect_timeout(config.timeout.min(Duration::from_secs(5)))
            // A login page at the end of a redirect is no answer.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| wrong(chain(&error)))?;
        Ok(Self { client, base, limit: config.limit.max(1), most_pages: config.most_pages.max(1) })
    }

    /// Items of `path` that changed at or after `since`; all without it.
    #[must_use]
    pub fn items(&self, path: &str, since: Option<&str>) -> Pages<'_> {
        Pages {
            source: self,
            path: path.trim_matches('/').to_owned(),
            since: since.map(ToOwned::to_owned),
            next: Next::First,
            tokens: HashSet::new(),
            number: 0,
        }
    }

    /// Every id of `path`: complete, or an error.
    ///
    /// # Errors
    /// When one page is missing.
    pub async fn ids(&self, path: &str) -> Result<HashSet<String>, Transient> {
        let mut pages = self.items(&format!("{}/ids", path.trim_matches('/')), None);
        let mut ids = HashSet::new();
        while let Some(list) = pages.list("ids").await? {
            for id in list {
                match read_json(id.get()).ok().as_ref().and_then(scalar) {
                    Some(id) => _ = ids.insert(id),
                    None => return Err(unavailable(format!("`{path}/ids` lists {id}, which is no id"))),
                }
            }
        }
        Ok(ids)
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<HashMap<String, Box<RawValue>>, Transient> {
        let url = self.base.join(path).map_err(|error| unavailable(format!("`{path}` is no path: {error}")))?;
        let asked = url.path().to_owned();
        let mut response = self.client.get(url).query(query).send().await.map_err(|error| unavailable(chain(&error)))?;
        let status = response.status();
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(outside::text);
        let content_type = content_type.unwrap_or_else(|| "unstated".to_owned());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(chain(&error)))? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_PAGE {
                return Err(unavailable(format!("`{asked}` answers more than {} MiB a page", LARGEST_PAGE / 1024 / 1024)));
            }
        }
        let excerpt = || cut(outside::text(String::from_utf8_lossy(&body).trim()).as_str(), 120);
        if !status.is_success() {
            return Err(unavailable(format!("`{asked}` answers {status}: {}", excerpt())));
        }
        match serde_json::from_slice::<HashMap<String, Box<RawValue>>>(&body) {
            Ok(page) => Ok(page),
            Err(error) if error.is_data() => Err(unavailable(format!("`{asked}` answers JSON that is no page: {}", excerpt()))),
            Err(error) => Err(unavailable(format!("`{asked}` answers no JSON ({content_type}), {error}: {}", excerpt()))),
        }
    }
}

impl Pages<'_> {
    /// The next page's items; none after the last page.
    ///
    /// # Errors
    /// When the source gives no page, or too many.
    pub async fn next_page(&mut self, shape: &Shape) -> Result<Option<Vec<Read>>, Transient> {
        let Some(items) = self.list("items").await? else { return Ok(None) };
        Ok(Some(items.into_iter().map(|item| self.check(item, shape)).collect()))
    }

    async fn list(&mut self, member: &str) -> Result<Option<Vec<Box<RawValue>>>, Transient> {
        let token = match &self.next {
            Next::Done => return Ok(None),
            Next::First => None,
            Next::Token(token) => Some(token.clone()),
        };
        let limit = self.source.limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(self.since.as_deref().map(|since| ("since", since)));
        query.extend(token.as_deref().map(|token| ("page", token)));
        let mut page = self.source.get(&self.path, &query).await?;
        let list = page.remove(member).and_then(|list| serde_json::from_str(list.get()).ok());
        let Some(list) = list else {
            return Err(unavailable(format!("`{}` answers a page without a list `{member}`", self.path)));
        };
        let next = page.remove("next").map(|next| read_json(next.get())).transpose();
        let next =
            next.map_err(|error| unavailable(format!("`{}` names a next page that cannot be read: {error}", self.path)))?;
        self.next = match next {
            None | Some(Value::Null) => Next::Done,
            Some(next) => match scalar(&next) {
                Some(token) => Next::Token(token),
                None => return Err(unavailable(format!("`{}` names {next} as its next page", self.path))),
            },
        };
        if let Next::Token(token) = &self.next {
            if !self.tokens.insert(token.clone()) {
                return Err(unavailable(format!(
                    "`{}` pages in a circle: token `{}` came twice",
                    self.path,
                    cut(&outside::text(token), 80)
                )));
            }
            if self.tokens.len() >= self.source.most_pages {
                return Err(unavailable(format!("`{}` does not end after {} pages", self.path, self.source.most_pages)));
            }
        }
        Ok(Some(list))
    }

    fn check(&mut self, item: Box<RawValue>, shape: &Shape) -> Read {
        self.number += 1;
        let raw = String::from(Box::<str>::from(item));
        if secret::occurs(&raw) {
            return Err(Box::new(echo(self.number, raw)));
        }
        let (value, fault) = match read_json(&raw) {
            Ok(Value::Object(value)) => {
                let fault = fault_of(&value, shape);
                (value, fault)
            }
            Ok(other) => (Map::new(), Some(broken("the item is no JSON object").observed(other.to_string()))),
            Err(error) => (Map::new(), Some(broken(error.to_string()))),
        };
        let raw = raw.into_bytes();
        match fault {
            None => Ok(Row { number: self.number, line: 0, raw, value }),
            Some(fault) => Err(Box::new(Broken { number: self.number, line: 0, raw, fault, supposed: value })),
        }
    }
}

/// An item that repeats what we sent to be let in is no data; kept as it is, it would be in letters, golden records and payloads.
fn echo(number: u64, raw: String) -> Broken {
    let raw = outside::body(raw.into_bytes());
    let supposed = serde_json::from_slice(&raw).unwrap_or_default();
    Broken { number, line: 0, raw, fault: broken("the item repeats the credentials that it was asked with"), supposed }
}

fn broken(message: impl Into<String>) -> Fault {
    Fault::new("ITEM_BROKEN", message)
}

/// Reads the item of a dead letter again.
///
/// # Errors
/// When the item is still broken.
pub fn read_again(raw: &[u8], shape: &Shape) -> Read {
    let broken = |fault| Err(Box::new(Broken { number: 1, line: 0, raw: raw.to_vec(), fault, supposed: Map::new() }));
    match std::str::from_utf8(raw).ok().and_then(|text| read_json(text).ok()) {
        Some(Value::Object(value)) => match fault_of(&value, shape) {
            None => Ok(Row { number: 1, line: 0, raw: raw.to_vec(), value }),
            Some(fault) => broken(fault),
        },
        _ => broken(Fault::new("ITEM_BROKEN", "the item is no JSON object")),
    }
}

fn fault_of(value: &Map<String, Value>, shape: &Shape) -> Option<Fault> {
    let missing = shape.keys.iter().find(|key| value.get(*key).and_then(scalar).is_none_or(|text| text.trim().is_empty()));
    if let Some(key) = missing {
        return Some(Fault::new("KEY_MISSING", format!("the item has no `{key}`, which names it")).field(key));
    }
    let stamp = shape.stamp.as_ref()?;
    match value.get(stamp).and_then(Value::as_str) {
        None => Some(Fault::new("STAMP_MISSING", format!("the item has no stamp `{stamp}`")).field(stamp)),
        Some(text) => match text.parse::<Timestamp>() {
            Ok(_) => None,
            Err(why) => Some(Fault::new("STAMP_MISSING", format!("stamp `{stamp}`: {why}")).field(stamp).observed(text)),
        },
    }
}

/// Text of a string or a number.
#[must_use]
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn unavailable(detail: String) -> Transient {
    Transient { what: "source", detail: outside::text(&detail) }
}

/// The error with its causes, without the address: it may carry a secret.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else if error.is_connect() {
        "it does not take connections".to_owned()
    } else {
        "the answer breaks off".to_owned()
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
