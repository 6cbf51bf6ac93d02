//! The JSON API under `/api/v1`. Reads come from the store (eventually consistent: `X-Millrace-As-Of` says as of when), acts
//! become an audit entry and then a command on a topic.
//!
//! Without configured authentication (`--api-tokens`) the tracker listens on loopback only, and the actor is `local/` and the name that
//! the caller states in `X-Millrace-Actor`; with it the actor is the token's name, and a stated name follows behind a `/`. Keys contain `/`, so a key travels as the query parameter `key`; unknown query
//! parameters are refused. Lists are `{version, items, next, total?}`. Errors are `application/problem+json` with a stable `code`.

mod about;
mod ask;
mod destinations;
mod letters;
pub mod overview;
mod plans;
mod problem;
mod records;

use std::{path::Path, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{
        HeaderName, HeaderValue,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
        uri::Authority,
    },
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Serialize;

use crate::{act::Acts, fleet::Fleet, follow::Progress, store::Reads, tokens::Tokens};

pub use problem::Problem;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub fleet: Arc<Fleet>,
    pub reads: Reads,
    /// None where nobody may act: a store that is only read.
    pub acts: Option<Arc<Acts>>,
    pub progress: Arc<Progress>,
    pub reader: Arc<avro::Reader>,
    /// None: nobody signs in, and only this machine may ask.
    pub tokens: Option<Arc<Tokens>>,
    /// Where the store lies.
    pub store: Arc<Path>,
}

impl Api {
    /// The part that writes; refused until the store has caught up, because an act on yesterday's state misleads.
    fn acts(&self) -> Result<&Acts, Problem> {
        self.settled()?;
        self.acts.as_deref().ok_or_else(|| Problem::new(503, "READ_ONLY", "this tracker only reads"))
    }

    /// Reads of single records wait for the store: half a history is a wrong answer.
    fn settled(&self) -> Result<(), Problem> {
        if self.progress.caught_up() {
            return Ok(());
        }
        let as_of = self.progress.as_of();
        Err(Problem::new(503, "STORE_REBUILDING", format!("the store is being read from the topics, now at {as_of}")))
    }
}

/// A list as every list of the API is shaped.
#[derive(Serialize)]
struct Listed<T> {
    version: u8,
    items: Vec<T>,
    /// Value of `cursor` for the next page.
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<i64>,
}

impl<T> Listed<T> {
    fn all(items: Vec<T>) -> Self {
        Self { version: 1, items, next: None, total: None }
    }
}

/// The routes of `/api/v1`.
pub fn router(api: Api) -> Router {
    let routes = Router::new()
        .route("/about", get(about::get))
        .route("/overview", get(overview::get))
        .route("/records/{domain}", get(records::find))
        .route("/records/{domain}/history", get(records::history))
        .route("/records/{domain}/status", get(records::status))
        .route("/records/{domain}/lineage", get(records::lineage))
        .route("/records/{domain}/resend", post(records::resend))
        .route("/records/{domain}/block", post(records::block))
        .route("/records/{domain}/unblock", post(records::unblock))
        .route("/dead-letters", get(letters::list))
        .route("/dead-letters/stats", get(letters::stats))
        .route("/dead-letters/discard", post(letters::discard))
        .route("/dead-letters/{*id}", get(letters::one))
        .route("/replay-plans", get(plans::list).post(plans::make))
        .route("/replay-plans/{id}", get(plans::one))
        .route("/replay-plans/{id}/run", post(plans::run))
        .route("/replay-plans/{id}/cancel", post(plans::cancel))
        .route("/destinations", get(destinations::list))
        .route("/destinations/{name}", get(destinations::one))
        .route("/destinations/{name}/pause", post(destinations::pause))
        .route("/destinations/{name}/resume", post(destinations::resume));
    Router::new()
        .nest("/api/v1", routes)
        .fallback(|| async { Problem::new(404, "NOT_FOUND", "no such path; the API is below /api/v1") })
        .method_not_allowed_fallback(|| async { Problem::new(405, "METHOD_NOT_ALLOWED", "this path takes another method") })
        .layer(DefaultBodyLimit::max(ask::LARGEST_BODY))
        .layer(middleware::from_fn_with_state(api.clone(), admit))
        .layer(middleware::from_fn_with_state(api.clone(), stamp))
        .with_state(api)
}

/// Who has signed in, for the handlers: set here, never taken from outside.
pub(crate) const SIGNED_IN: HeaderName = HeaderName::from_static("x-millrace-signed-in");

/// With tokens: whoever has one, under its name. Without: nobody signs in, so only this machine may ask, and no page of another site
/// through a browser on it, neither by a foreign `Origin` nor by a name that somebody pointed at 127.0.0.1.
async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    request.headers_mut().remove(SIGNED_IN);
    let Some(tokens) = &api.tokens else {
        return match foreign(&request) {
            Some(why) => Problem::new(403, "FOREIGN_ORIGIN", why).into_response(),
            None => next.run(request).await,
        };
    };
    let credentials = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = credentials.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let name = token.and_then(|(_, token)| tokens.name_of(token.trim()));
    match name.and_then(|name| HeaderValue::from_str(&name).ok()) {
        Some(name) => {
            request.headers_mut().insert(SIGNED_IN, name);
            next.run(request).await
        }
        // Whether a token was missing, old or mistyped is nobody's business who has none.
        None => {
            let mut response = Problem::new(401, "NOT_SIGNED_IN", "the tracker wants a bearer token").into_response();
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
    }
}

fn foreign(request: &Request) -> Option<String> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = header("host").or(request.uri().authority().map(Authority::as_str)).unwrap_or_default();
    if !is_local(host) {
        return Some(format!("`{host}` is not a name of this machine's loopback address"));
    }
    header("origin")
        .filter(|origin| *origin != format!("http://{host}"))
        .map(|origin| format!("pages of {origin} may not ask the tracker"))
}

fn is_local(host: &str) -> bool {
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

/// Says as of when the answer holds, and keeps it out of caches.
async fn stamp(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(as_of) = HeaderValue::from_str(&api.progress.as_of().to_string()) {
        headers.insert(HeaderName::from_static("x-millrace-as-of"), as_of);
    }
    headers.insert(axum::http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
