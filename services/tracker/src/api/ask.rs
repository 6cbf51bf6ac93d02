//! What a request says: strict query parameters, strict bodies, the actor, domain and key.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Query, Request, rejection::JsonRejection},
    http::{HeaderMap, HeaderName, request::Parts},
};
use model::{Domain, RecordKey, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};

use super::Problem;
use crate::act::Wish;

/// Query parameters. Their type carries `deny_unknown_fields`: a mistyped filter must not widen the answer.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri).map(|Query(asked)| Self(asked)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// A JSON body; none at all reads as `{}`.
pub(super) struct Told<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Told<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let refuse = |rejection: JsonRejection| Problem::bad_request(rejection.body_text());
        if request.headers().contains_key(axum::http::header::CONTENT_TYPE) {
            let Json(told) = Json::from_request(request, state).await.map_err(refuse)?;
            return Ok(Self(told));
        }
        serde_json::from_str("{}").map(Self).map_err(|error| Problem::bad_request(format!("the body is missing: {error}")))
    }
}

/// `?key=` and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) key: String,
}

pub(super) fn domain(text: &str) -> Result<Domain, Problem> {
    text.parse().map_err(|error: model::domain::UnknownDomain| Problem::not_found(error.to_string()).field("domain"))
}

pub(super) fn key(domain: Domain, text: &str) -> Result<RecordKey, Problem> {
    RecordKey::parse(domain, text).map_err(|error| Problem::bad_request(error.to_string()).field("key"))
}

/// A reason goes into the audit log, the command and what follows from it: ledger entries, plans, letters.
const LONGEST_REASON: usize = 4096;
/// Of a body. What a command holds fits into a record, with what the replayer makes of it.
pub(super) const LARGEST_BODY: usize = 256 * 1024;

/// Why somebody acts, and until when.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reason {
    pub(super) reason: Option<String>,
    pub(super) until: Option<Timestamp>,
}

impl Reason {
    /// Acts that hold something up or give something up must say why.
    pub(super) fn required(self, headers: &HeaderMap) -> Result<Wish, Problem> {
        match self.reason.as_deref().map(str::trim) {
            None | Some("") => {
                Err(Problem::new(422, "REASON_MISSING", "say why: the reason goes into the audit log").field("reason"))
            }
            Some(_) => self.optional(headers),
        }
    }

    pub(super) fn optional(self, headers: &HeaderMap) -> Result<Wish, Problem> {
        if self.reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_REASON) {
            return Err(Problem::bad_request(format!("a reason has at most {LONGEST_REASON} bytes")).field("reason"));
        }
        Ok(Wish { actor: actor(headers), reason: self.reason, until: self.until })
    }
}

/// The token's name, behind it what the caller says of himself. Where nobody signs in, the name is the caller's word and marked as such.
pub(super) fn actor(headers: &HeaderMap) -> String {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let stated: Option<String> = text(&HeaderName::from_static("x-millrace-actor"))
        .map(|stated| stated.chars().filter(|character| !character.is_control()).take(100).collect());
    match (text(&super::SIGNED_IN), stated) {
        (Some(name), None) => name.to_owned(),
        (Some(name), Some(stated)) if stated == name => stated,
        (Some(name), Some(stated)) => format!("{name}/{stated}"),
        (None, stated) => format!("local/{}", stated.as_deref().unwrap_or("unknown").trim_start_matches("local/")),
    }
}

/// A page's size: 1 to 500.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked {
        None => Ok(100),
        Some(limit @ 1..=500) => Ok(limit),
        Some(limit) => Err(Problem::bad_request(format!("limit {limit} is not between 1 and 500")).field("limit")),
    }
}
