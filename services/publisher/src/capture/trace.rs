//! The trace of a change begins where it is captured, and here it is decided whether it is recorded.

use model::{ChangeMeta, Domain, Outgoing};
use telemetry::trace::{TraceContext, attribute};

use super::Capture;

impl Capture {
    /// What the header of a change says.
    pub(super) fn created(&self, meta: &ChangeMeta) -> TraceContext {
        let created = avro::headers::created(meta, false);
        TraceContext { is_sampled: self.traces.samples(created.trace), ..created }
    }

    /// The span of a change that goes into the batch, where its trace is recorded.
    pub(super) fn trace(&mut self, meta: &ChangeMeta, domain: Domain, sent: &Outgoing) {
        let created = self.created(meta);
        if let Some(mut span) = self.traces.send(created, None, &sent.topic, sent.slot.0, &sent.key) {
            span.started_at(meta.captured_at);
            span.set(attribute::DOMAIN, domain.name());
            span.set(attribute::SOURCE, self.source.name.clone());
            if let Some(cause) = self.cause {
                span.link(cause);
            }
            self.batch.spans.push(span);
        }
    }
}
