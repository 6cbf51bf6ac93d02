//! An OTLP endpoint that keeps what it gets.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::{Context as _, Result};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1 as otlp,
};
use prost::Message as _;
use telemetry::trace::TraceContext;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Consumer,
    Producer,
    Client,
    Other,
}

/// A span, in the words of the tests.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) context: TraceContext,
    pub(crate) parent: Option<u64>,
    links: Vec<(u128, u64)>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) is_error: bool,
}

impl Span {
    pub(crate) fn links_to(&self, other: &Span) -> bool {
        self.links.contains(&(other.context.trace, other.context.span))
    }
}

pub(crate) struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self> {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.context("listening for spans")?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, spans })
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        lock(&self.spans).clone()
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Span>>>>, body: Bytes) -> Result<Vec<u8>, StatusCode> {
    let request = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    for of_service in request.resource_spans {
        let resource = attributes(of_service.resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = resource.get("service.name").cloned().ok_or(StatusCode::BAD_REQUEST)?;
        for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            lock(&spans).push(read(&service, span).ok_or(StatusCode::BAD_REQUEST)?);
        }
    }
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}

fn read(service: &str, span: otlp::Span) -> Option<Span> {
    let link = |link: &otlp::span::Link| Some((trace_id(&link.trace_id)?, span_id(&link.span_id)?));
    Some(Span {
        service: service.to_owned(),
        kind: match span.kind() {
            otlp::span::SpanKind::Consumer => Kind::Consumer,
            otlp::span::SpanKind::Producer => Kind::Producer,
            otlp::span::SpanKind::Client => Kind::Client,
            _ => Kind::Other,
        },
        context: TraceContext {
            trace: trace_id(&span.trace_id)?,
            span: span_id(&span.span_id)?,
            is_sampled: span.flags & 1 == 1,
        },
        parent: span_id(&span.parent_span_id).filter(|parent| *parent != 0),
        links: span.links.iter().map(link).collect::<Option<_>>()?,
        is_error: span.status.as_ref().is_some_and(|status| status.code() == otlp::status::StatusCode::Error),
        attributes: attributes(span.attributes),
        name: span.name,
    })
}

fn trace_id(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}

fn span_id(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn lock(spans: &Mutex<Vec<Span>>) -> MutexGuard<'_, Vec<Span>> {
    spans.lock().expect("nobody panics while holding it")
}
