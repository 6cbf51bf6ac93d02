//! What a slot knows of traces: the work on each key under way, and the commands that ask for more.
//!
//! With traces off both maps stay empty.

use std::{collections::HashMap, sync::Arc};

use delivery::Call;
use kafka::Record;
use model::{ChangeId, Outgoing, Topical};
use service::{Read, Span};
use telemetry::trace::{TRACEPARENT, TraceContext, attribute};

use super::SlotActor;
use crate::{record::Taken, shared::Shared};

/// Commands whose key was not called since: more are not remembered, and what they ask for continues the record's own trace.
const MOST_ASKED: usize = 1_000;

#[derive(Default)]
pub(super) struct Chains {
    /// The last call of a key whose receipt is still to come.
    calls: HashMap<Topical, TraceContext>,
    /// Where a command that asks for a key again came into being.
    asked: HashMap<Topical, TraceContext>,
}

/// One call's place in its trace.
pub(super) struct Chain {
    /// The work on the record, or its creation where the work is not recorded.
    pub(super) context: TraceContext,
    pub(super) span: Option<Span>,
}

impl Chains {
    /// A command begins another trace; its first call continues that one.
    pub(super) fn asked(&mut self, shared: &Shared, key: &Topical, record: &Record) {
        if shared.traces.is_on()
            && self.asked.len() < MOST_ASKED
            && let Some(creation) = record.header(TRACEPARENT).and_then(TraceContext::parse)
        {
            self.asked.insert(key.clone(), creation);
        }
    }

    /// A call begins.
    pub(super) fn begin(&mut self, shared: &Shared, call: &Call<Arc<Taken>>) -> Chain {
        let record = &call.offer.payload.record;
        let traces = &shared.traces;
        let creation = traces.arrived(record.header(TRACEPARENT), || untold(shared, call.offer.change_id, call.offer.revision));
        if !traces.is_on() {
            return Chain { context: creation, span: None };
        }
        let asked = self.asked.remove(&call.key);
        let read = Read {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            group: Some(&shared.group),
            key: record.key.as_deref(),
        };
        let mut span = traces.process(asked.unwrap_or(creation), &read);
        if let Some(span) = &mut span {
            if asked.is_some() {
                span.link(creation);
            }
            span.set(attribute::DOMAIN, call.key.domain.name());
            span.set(attribute::DESTINATION, shared.name().to_owned());
            span.set(attribute::REVISION, call.offer.revision);
            span.set(attribute::ATTEMPT, i64::from(call.attempt));
        }
        let context = span.as_ref().map_or(asked.unwrap_or(creation), Span::context);
        self.calls.insert(call.key.clone(), context);
        Chain { context, span }
    }

    /// The receipt of the last call of a key goes out: its header, and its span where it is recorded.
    pub(super) fn receipt(&mut self, shared: &Shared, key: &Topical, receipt: &mut Outgoing) -> Option<Span> {
        let parent = self.calls.remove(key)?;
        let creation = shared.traces.inside(parent);
        receipt.headers.push((TRACEPARENT.to_owned(), creation.header().into_bytes()));
        let mut span = shared.traces.send(creation, Some(parent), &receipt.topic, receipt.slot.0, &receipt.key)?;
        span.set(attribute::DOMAIN, key.domain.name());
        span.set(attribute::DESTINATION, shared.name().to_owned());
        Some(span)
    }
}

impl SlotActor {
    /// The work of a call that sent no byte ends.
    pub(super) fn worked(&self, span: Option<Span>, outcome: &'static str, code: Option<&str>) {
        if let Some(span) = span {
            end(&self.shared, span, outcome, code);
        }
    }
}

/// The work on a record ends.
pub(super) fn end(shared: &Shared, mut span: Span, outcome: &'static str, code: Option<&str>) {
    span.set(attribute::OUTCOME, outcome);
    if let Some(code) = code {
        span.fail(code);
    }
    shared.traces.end(span);
}

/// A record that says nothing of its trace: what is known of the change behind it.
fn untold(shared: &Shared, change: ChangeId, revision: i64) -> TraceContext {
    // A tombstone has no change.
    if change == ChangeId::default() {
        return shared.traces.begin();
    }
    TraceContext { trace: change.0.as_u128(), span: avro::headers::accepted_span(change, revision), is_sampled: false }
}
