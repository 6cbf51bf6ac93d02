//! A JSON source that is asked: pages of changed items since a stamp, and pages of all ids.
//!
//! Every answer that is not one page of items is trouble of the source, never of a record: [`Unavailable`], and the pass is done
//! again from its start. An endless chain of pages (a token that comes twice, more pages than [`Config::most_pages`]) is trouble
//! too, and so is a page with more items than were asked for. One bad item among good ones is a [`Broken`].
//!
//! Invariant: a page costs its bytes, an index of its items and one parsed item at a time, whatever it holds.

use std::{collections::HashSet, fmt, ops::Range, time::Duration};

use mapping::read_json;
use model::Timestamp;
use reqwest::{
    Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use serde::{
    Deserializer as _,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};
use telemetry::secret;

use crate::{
    answer::wait,
    outside,
    rows::{Broken, Fault, Read, Row, cut},
};

/// A page larger than this is not read to its end.
pub const LARGEST_PAGE: usize = 32 * 1024 * 1024;
/// A larger item is not parsed: it takes many times its bytes then, and no record of that size is written anyway.
const LARGEST_ITEM: usize = 1024 * 1024;
/// Bytes of an id, and of a page's token.
const LONGEST_ID: usize = 4 * 1024;
/// Ids of one sweep.
const MOST_IDS: usize = 5_000_000;

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

/// The source gave no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Unavailable {
    pub detail: String,
    /// How long the source asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// Items of one page, read one by one.
#[derive(Debug)]
pub struct Page {
    list: List,
    shape: Shape,
    number: u64,
}

/// Where the elements of a list lie in an answer.
struct List {
    body: Vec<u8>,
    elements: std::vec::IntoIter<Range<usize>>,
}

impl fmt::Debug for List {
    /// The body may repeat what we were let in with.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("List").field("elements", &self.elements.len()).finish_non_exhaustive()
    }
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
            // What the environment says would see the source's data and credentials.
            .no_proxy()
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
    pub async fn ids(&self, path: &str) -> Result<HashSet<String>, Unavailable> {
        let mut pages = self.items(&format!("{}/ids", path.trim_matches('/')), None);
        let mut ids = HashSet::new();
        while let Some(mut list) = pages.list("ids").await? {
            while let Some(raw) = list.next_raw() {
                match short(raw) {
                    Some(id) => _ = ids.insert(id),
                    None => return Err(unavailable(format!("`{path}/ids` lists {}, which is no id", cut(raw, 80)))),
                }
            }
            if ids.len() > MOST_IDS {
                return Err(unavailable(format!("`{path}/ids` lists more than {MOST_IDS} ids")));
            }
        }
        Ok(ids)
    }

    /// The body of an answer with status 2xx, and the path that was asked, with its content type.
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answered, Unavailable> {
        let url = self.base.join(path).map_err(|error| unavailable(format!("`{path}` is no path: {error}")))?;
        let asked = url.path().to_owned();
        let mut response = self.client.get(url).query(query).send().await.map_err(|error| unavailable(chain(&error)))?;
        let status = response.status();
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok()).map(outside::text);
        let content_type = header(header::CONTENT_TYPE).unwrap_or_else(|| "unstated".to_owned());
        let retry_after = header(header::RETRY_AFTER).and_then(|text| wait(&text, clock(header(header::DATE).as_deref())));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(chain(&error)))? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_PAGE {
                return Err(unavailable(format!("`{asked}` answers more than {} MiB a page", LARGEST_PAGE / 1024 / 1024)));
            }
        }
        let answered = Answered { asked, content_type, body };
        if !status.is_success() {
            let detail = format!("`{}` answers {status}: {}", answered.asked, answered.excerpt());
            return Err(Unavailable { retry_after, ..unavailable(detail) });
        }
        Ok(answered)
    }
}

struct Answered {
    asked: String,
    content_type: String,
    body: Vec<u8>,
}

impl Answered {
    fn excerpt(&self) -> String {
        cut(outside::text(String::from_utf8_lossy(&self.body).trim()).as_str(), 120)
    }

    fn envelope(&self, member: &str) -> Result<Envelope<'_>, Unavailable> {
        let Self { asked, content_type, body } = self;
        let mut json = serde_json::Deserializer::from_slice(body);
        let envelope = (&mut json).deserialize_map(Members { member }).and_then(|envelope| json.end().map(|()| envelope));
        envelope.map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                unavailable(format!("`{asked}` answers JSON that is no page: {}", self.excerpt()))
            }
            _ => unavailable(format!("`{asked}` answers no JSON ({content_type}), {error}: {}", self.excerpt())),
        })
    }
}

/// The members of a page that matter, as they are written.
struct Envelope<'a> {
    list: Option<&'a RawValue>,
    next: Option<&'a RawValue>,
}

struct Members<'a> {
    member: &'a str,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Envelope<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a page")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope { list: None, next: None };
        while let Some(name) = map.next_key::<String>()? {
            if name == self.member {
                envelope.list = Some(map.next_value()?);
            } else if name == "next" {
                envelope.next = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(envelope)
    }
}

/// Where the elements of a list are, up to so many: with more there is none.
struct Elements {
    most: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            if elements.len() >= self.most {
                return Err(A::Error::custom("too many"));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

impl List {
    fn next_raw(&mut self) -> Option<&str> {
        // The range is that of a text inside the body.
        self.elements.next().map(|range| std::str::from_utf8(&self.body[range]).unwrap_or_default())
    }
}

impl Page {
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.elements.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Iterator for Page {
    type Item = Read;

    fn next(&mut self) -> Option<Read> {
        let raw = self.list.next_raw()?;
        self.number += 1;
        Some(read(self.number, raw, &self.shape))
    }
}

impl Pages<'_> {
    /// The next page's items; none after the last page.
    ///
    /// # Errors
    /// When the source gives no page, or too many.
    pub async fn next_page(&mut self, shape: &Shape) -> Result<Option<Page>, Unavailable> {
        let Some(list) = self.list("items").await? else { return Ok(None) };
        let page = Page { number: self.number, shape: shape.clone(), list };
        self.number += page.len() as u64;
        Ok(Some(page))
    }

    async fn list(&mut self, member: &str) -> Result<Option<List>, Unavailable> {
        let token = match &self.next {
            Next::Done => return Ok(None),
            Next::First => None,
            Next::Token(token) => Some(token.clone()),
        };
        let most = self.source.limit;
        let limit = most.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(self.since.as_deref().map(|since| ("since", since)));
        query.extend(token.as_deref().map(|token| ("page", token)));
        let answered = self.source.get(&self.path, &query).await?;
        let envelope = answered.envelope(member)?;
        let Some(list) = envelope.list.filter(|list| list.get().starts_with('[')) else {
            return Err(unavailable(format!("`{}` answers a page without a list `{member}`", self.path)));
        };
        let elements = serde_json::Deserializer::from_str(list.get()).deserialize_seq(Elements { most }).map_err(|_| {
            unavailable(format!(
                "`{}` answers a page of more than {most} {member}, which is the `limit` it was asked for",
                self.path
            ))
        })?;
        let start = answered.body.as_ptr() as usize;
        let range =
            |raw: &&RawValue| (raw.get().as_ptr() as usize - start)..(raw.get().as_ptr() as usize - start + raw.get().len());
        let elements: Vec<_> = elements.iter().map(range).collect();
        self.next = match envelope.next.map(RawValue::get) {
            None | Some("null") => Next::Done,
            Some(next) => match short(next) {
                Some(token) => Next::Token(token),
                None => return Err(unavailable(format!("`{}` names {} as its next page", self.path, cut(next, 80)))),
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
        Ok(Some(List { body: answered.body, elements: elements.into_iter() }))
    }
}

fn read(number: u64, raw: &str, shape: &Shape) -> Read {
    let refused = |fault, supposed| Err(Box::new(Broken { number, line: 0, raw: raw.as_bytes().to_vec(), fault, supposed }));
    if raw.len() > LARGEST_ITEM {
        return Err(Box::new(too_large(number, raw, shape)));
    }
    if secret::occurs(raw) {
        return Err(Box::new(echo(number, raw.to_owned())));
    }
    match read_json(raw) {
        Ok(Value::Object(value)) => match fault_of(&value, shape) {
            None => Ok(Row { number, line: 0, raw: raw.as_bytes().to_vec(), value }),
            Some(fault) => refused(fault, value),
        },
        Ok(other) => refused(broken("the item is no JSON object").observed(other.to_string()), Map::new()),
        Err(error) => refused(broken(error.to_string()), named(raw, shape)),
    }
}

/// Its beginning is kept for people.
fn too_large(number: u64, raw: &str, shape: &Shape) -> Broken {
    let (size, most) = (raw.len().div_ceil(1024), LARGEST_ITEM / 1024);
    let fault = Fault::new("TOO_LARGE", format!("the item has {size} KiB, an item may have {most} KiB"));
    let beginning = secret::scrub(&raw[..raw.floor_char_boundary(LARGEST_ITEM)]).into_owned().into_bytes();
    let fault = fault.observed(format!("{} bytes", raw.len()));
    Broken { number, line: 0, raw: beginning, fault, supposed: named(raw, shape) }
}

/// The fields that name an item, without the rest of it.
fn named(raw: &str, shape: &Shape) -> Map<String, Value> {
    let read = serde_json::Deserializer::from_str(raw).deserialize_map(Keys(&shape.keys));
    read.unwrap_or_default()
}

struct Keys<'a>(&'a [String]);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let raw: &RawValue = map.next_value()?;
            if self.0.contains(&name) && raw.get().len() <= LONGEST_ID {
                found.insert(name, read_json(raw.get()).unwrap_or_default());
            }
        }
        Ok(found)
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
    match std::str::from_utf8(raw) {
        Ok(text) => read(1, text, shape),
        Err(error) => {
            let fault = broken(format!("the item is no text: {error}"));
            Err(Box::new(Broken { number: 1, line: 0, raw: raw.to_vec(), fault, supposed: Map::new() }))
        }
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

/// Text of an id or a token, as [`scalar`] has it.
fn short(raw: &str) -> Option<String> {
    (raw.len() <= LONGEST_ID).then(|| read_json(raw).ok()).flatten().as_ref().and_then(scalar)
}

/// The source's clock, else ours: what it asks for by date counts from there.
fn clock(date: Option<&str>) -> Timestamp {
    let theirs = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|zoned| zoned.timestamp());
    Timestamp::from_micros(theirs.unwrap_or_else(jiff::Timestamp::now).as_microsecond())
}

fn unavailable(detail: String) -> Unavailable {
    Unavailable { detail: outside::text(&detail), retry_after: None }
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
