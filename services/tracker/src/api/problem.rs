//! Errors as `application/problem+json` (RFC 9457), with a code that has its page in `docs/errors`.

use axum::{
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{act, store};

/// Why there is no answer.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    field: Option<String>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, detail: detail.into(), field: None }
    }

    pub(super) fn field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::new(404, "NOT_FOUND", what)
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(400, "BAD_REQUEST", detail)
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        let text = format!("{:#}", anyhow::Error::new(error));
        tracing::error!(error = %text, "answering a question");
        Self::new(500, "STORE_FAILED", text)
    }
}

impl From<act::Error> for Problem {
    fn from(error: act::Error) -> Self {
        let text = format!("{:#}", anyhow::Error::new(error));
        tracing::warn!(error = %text, "an act did not happen");
        Self::new(503, "NOT_WRITTEN", text)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("docs/errors/{}.md", self.code),
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "field": self.field,
        });
        let mut response = (self.status, body.to_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
