//! Traces of records: where a change went, from the publisher to the destination's answer (docs/tracing.md).
//!
//! What it guarantees:
//! * Off, or for a record whose trace is not sampled, no span is made: the caller pays one branch.
//! * A span never waits for the collector. Spans that it did not get are counted, and said once per change of state.
//! * One trace is recorded as a whole: whoever begins it decides by its id, and everybody behind obeys the flag in `traceparent`.
//!
//! What it does not guarantee: that a span arrives. Nothing but its metric depends on that.
//!
//! Spans have explicit ids, because a record's span travels in its header before it ends (docs/adr/0011).

mod export;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use model::Timestamp;
use opentelemetry::{
    InstrumentationScope, KeyValue, Value,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use rand::RngExt as _;
use telemetry::trace::{PROCESS, SEND, TraceContext, attribute};

use self::export::Export;
use crate::{Exit, TraceOptions};

/// The traces of this process. Cheap to clone; off by default.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    export: Option<Arc<Export>>,
}

impl Traces {
    /// Starts the exporter where an address is given.
    ///
    /// # Errors
    /// [`Exit::arguments`] when the address is none.
    pub(crate) fn start(options: &TraceOptions, service: &str, instance: &str) -> Result<Self, Exit> {
        let Some(endpoint) = options.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) else {
            return Ok(Self::default());
        };
        landscape::no_login(endpoint).map_err(|why| Exit::arguments(anyhow::anyhow!("--otlp-endpoint: {why}")))?;
        let export = Export::start(endpoint, options, service, instance).map_err(|why| {
            Exit::arguments(anyhow::anyhow!(
                "--otlp-endpoint `{endpoint}`: {why}; give the address of a collector's OTLP/HTTP receiver, such as http://collector:4318"
            ))
        })?;
        Ok(Self { export: Some(Arc::new(export)) })
    }

    /// Whether this process records anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.export.is_some()
    }

    /// Whether a trace that begins here is recorded. The same answer for the same trace at the same ratio, in every process.
    #[must_use]
    pub fn samples(&self, trace: u128) -> bool {
        self.export.as_ref().is_some_and(|export| is_within(trace, export.ratio))
    }

    /// A new trace that begins here.
    #[must_use]
    pub fn begin(&self) -> TraceContext {
        let trace: u128 = rand::rng().random();
        TraceContext { trace, span: new_span(), is_sampled: self.samples(trace) }
    }

    /// What a record says of its trace; where it says nothing that can be read, its trace begins at `created`, by this process's
    /// own decision.
    #[must_use]
    pub fn arrived(&self, header: Option<&[u8]>, created: impl FnOnce() -> TraceContext) -> TraceContext {
        header.and_then(TraceContext::parse).unwrap_or_else(|| {
            let created = created();
            TraceContext { is_sampled: self.samples(created.trace), ..created }
        })
    }

    /// A point inside `parent` that a record or call is about to name.
    #[must_use]
    pub fn inside(&self, parent: TraceContext) -> TraceContext {
        parent.with_span(new_span())
    }

    /// Work on a record that was read: linked to the record's creation, and behind it in its trace.
    #[must_use]
    pub fn process(&self, creation: TraceContext, read: &Read<'_>) -> Option<Span> {
        let mut span = self.span(SpanKind::Consumer, named(PROCESS, read.topic), creation.with_span(new_span()))?;
        span.parent(creation, true);
        span.link(creation);
        span.messaging(PROCESS, read.topic, read.partition);
        span.set(attribute::MESSAGING_OFFSET, read.offset);
        if let Some(group) = read.group {
            span.set(attribute::MESSAGING_GROUP, group.to_owned());
        }
        self.key(&mut span, read.key);
        Some(span)
    }

    /// A record that is written: `creation` is what its header says. `parent` is in the same trace.
    #[must_use]
    pub fn send(&self, creation: TraceContext, parent: Option<TraceContext>, topic: &str, slot: i32, key: &str) -> Option<Span> {
        let mut span = self.span(SpanKind::Producer, named(SEND, topic), creation)?;
        if let Some(parent) = parent {
            span.parent(parent, false);
        }
        span.messaging(SEND, topic, slot);
        self.key(&mut span, Some(key.as_bytes()));
        Some(span)
    }

    /// A call of a system, inside `parent`.
    #[must_use]
    pub fn call(&self, method: &'static str, parent: TraceContext) -> Option<Span> {
        let mut span = self.span(SpanKind::Client, Cow::Borrowed(method), parent.with_span(new_span()))?;
        span.parent(parent, false);
        span.set(attribute::HTTP_METHOD, method);
        Some(span)
    }

    /// The span is complete; it ends now, unless it was [stopped](Span::stop) before. Never waits.
    pub fn end(&self, mut span: Span) {
        if let Some(export) = &self.export {
            span.stop();
            export.take(*span.data);
        }
    }

    /// Hands over what waits, for at most so long; the rest is lost, and counted.
    pub(crate) fn shut_down(&self, patience: Duration) {
        if let Some(export) = &self.export {
            export.shut_down(patience);
        }
    }

    fn span(&self, kind: SpanKind, name: Cow<'static, str>, context: TraceContext) -> Option<Span> {
        let export = self.export.as_ref().filter(|_| context.is_sampled)?;
        Some(Span {
            context,
            data: Box::new(SpanData {
                span_context: of(context, false),
                parent_span_id: SpanId::INVALID,
                parent_span_is_remote: false,
                span_kind: kind,
                name,
                start_time: SystemTime::now(),
                end_time: SystemTime::UNIX_EPOCH,
                attributes: Vec::with_capacity(10),
                dropped_attributes_count: 0,
                events: SpanEvents::default(),
                links: SpanLinks::default(),
                status: Status::Unset,
                instrumentation_scope: export.scope.clone(),
            }),
        })
    }

    fn key(&self, span: &mut Span, key: Option<&[u8]>) {
        if let (Some(export), Some(key)) = (&self.export, key)
            && export.has_keys
        {
            span.set(attribute::MESSAGING_KEY, String::from_utf8_lossy(key).into_owned());
        }
    }
}

/// Where a record was read.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub group: Option<&'a str>,
    pub key: Option<&'a [u8]>,
}

/// Work on one record, under way.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    data: Box<SpanData>,
}

impl Span {
    /// What others put into headers to point here.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Adds an attribute; its name is a constant of [`telemetry::trace::attribute`]. Never personal data.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.data.attributes.push(KeyValue::new(name, value));
    }

    /// Points at a span of another trace, or at one that is not the parent.
    pub fn link(&mut self, to: TraceContext) {
        self.data.links.links.push(Link::new(of(to, true), Vec::new(), 0));
    }

    /// What was done failed; `code` is one of docs/errors or a status, never a text.
    pub fn fail(&mut self, code: &str) {
        self.data.status = Status::error(String::new());
        self.set(attribute::ERROR_TYPE, code.to_owned());
    }

    /// It began earlier than its span was made.
    pub fn started_at(&mut self, at: Timestamp) {
        let since = Duration::from_micros(u64::try_from(at.micros()).unwrap_or_default());
        self.data.start_time = SystemTime::UNIX_EPOCH + since;
    }

    /// The work ends here, whenever the span is handed over.
    pub fn stop(&mut self) {
        if self.data.end_time == SystemTime::UNIX_EPOCH {
            self.data.end_time = SystemTime::now().max(self.data.start_time);
        }
    }

    fn parent(&mut self, parent: TraceContext, is_remote: bool) {
        self.data.parent_span_id = SpanId::from(parent.span);
        self.data.parent_span_is_remote = is_remote;
    }

    fn messaging(&mut self, operation: &'static str, topic: &str, partition: i32) {
        self.set(attribute::MESSAGING_SYSTEM, "kafka");
        self.set(attribute::MESSAGING_OPERATION_NAME, operation);
        self.set(attribute::MESSAGING_OPERATION_TYPE, operation);
        self.set(attribute::MESSAGING_DESTINATION_NAME, topic.to_owned());
        self.set(attribute::MESSAGING_PARTITION, partition.to_string());
    }
}

/// The random end of a UUIDv7 is compared: its front is the time, which would sample all or nothing of an hour.
fn is_within(trace: u128, ratio: f64) -> bool {
    let random = u32::try_from(trace & u128::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(random) < ratio * 4_294_967_296.0
}

fn new_span() -> u64 {
    rand::rng().random_range(1..=u64::MAX)
}

fn named(operation: &str, topic: &str) -> Cow<'static, str> {
    Cow::Owned(format!("{operation} {topic}"))
}

fn of(context: TraceContext, is_remote: bool) -> SpanContext {
    let flags = if context.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(TraceId::from(context.trace), SpanId::from(context.span), flags, is_remote, TraceState::NONE)
}

fn scope(version: &'static str) -> InstrumentationScope {
    InstrumentationScope::builder("millrace").with_version(version).build()
}

#[cfg(test)]
mod tests;
