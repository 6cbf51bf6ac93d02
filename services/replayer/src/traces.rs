//! A replay begins a trace of its own, linked to the one that failed: whoever looks at either finds the other, and a replay of last
//! month's letter does not stretch last month's trace.

use model::{LetterStatus, Outgoing, Stage};
use telemetry::trace::{TRACEPARENT, TraceContext, attribute};

use crate::execute::Replayer;

impl Replayer {
    /// Gives what is sent again its own trace; its span ends with the transaction.
    pub(crate) fn trace(&mut self, sent: &mut Outgoing, status: &LetterStatus, plan: &str) {
        if !self.traces.is_on() {
            return;
        }
        let trace = self.traces.begin();
        let header = sent.headers.iter().position(|(name, _)| name == TRACEPARENT).map(|index| sent.headers.remove(index));
        sent.headers.push((TRACEPARENT.to_owned(), trace.header().into_bytes()));
        if let Some(mut span) = self.traces.send(trace, None, &sent.topic, sent.slot.0, &sent.key) {
            span.set(attribute::PLAN, plan.to_owned());
            span.set(attribute::LETTER_CODE, status.code.clone());
            // A change still says where it came from; a command is new, and the letter's state knows the change behind it.
            let failed = header.and_then(|(_, value)| TraceContext::parse(&value)).or_else(|| failed(status));
            if let Some(failed) = failed {
                span.link(failed);
            }
            self.spans.push(span);
        }
    }
}

/// Where the golden revision came into being that a destination refused.
fn failed(status: &LetterStatus) -> Option<TraceContext> {
    let (Stage::Deliver, Some(revision)) = (status.stage, status.revision) else { return None };
    let change = model::ChangeId(status.change_id.as_deref()?.parse().ok()?);
    let span = avro::headers::accepted_span(change, revision);
    Some(TraceContext { trace: change.0.as_u128(), span, is_sampled: true })
}
