//! Headers of changes and golden records: CloudEvents 1.0 in Kafka's binary mode, and the trace (domain.md 4.2).
//!
//! A reader can route without decoding. The trace id is the correlation id, so every hop of one chain shares it without a lookup; only
//! a replay begins a trace of its own. The span of a record's creation follows from its ids: who has the record can point at it.

use model::{Change, ChangeId, ChangeMeta, Domain, Golden, GoldenMeta, Operation, RecordKey, Timestamp};
use telemetry::trace::{TRACEPARENT, TraceContext};

/// Everything of `ce_*`, `content-type` and `traceparent`, in a fixed order.
type Headers = Vec<(String, Vec<u8>)>;

/// The source named on golden records.
pub const SOURCE: &str = "millrace";

/// Headers of a `change.<source>.<domain>` record; `trace` is [`created`], or that of a replay.
#[must_use]
pub fn change(change: &Change, domain: Domain, key: &RecordKey, trace: TraceContext) -> Headers {
    let meta = &change.meta;
    headers(&Event {
        id: meta.change_id,
        source: &meta.source,
        operation: meta.operation,
        time: meta.occurred_at,
        sequence: meta.source_sequence,
        trace,
        record: "Change",
        domain,
        key,
    })
}

/// Headers of a `golden.<domain>` record; `trace` is [`accepted`].
#[must_use]
pub fn golden(golden: &Golden, domain: Domain, key: &RecordKey, trace: TraceContext) -> Headers {
    let meta = &golden.meta;
    headers(&Event {
        id: meta.change_id,
        source: SOURCE,
        operation: meta.operation,
        time: meta.occurred_at,
        sequence: meta.revision,
        trace,
        record: "Golden",
        domain,
        key,
    })
}

struct Event<'a> {
    id: ChangeId,
    source: &'a str,
    operation: Operation,
    time: Timestamp,
    sequence: i64,
    trace: TraceContext,
    record: &'a str,
    domain: Domain,
    key: &'a RecordKey,
}

fn headers(event: &Event<'_>) -> Headers {
    let what = match event.operation {
        Operation::Upsert | Operation::Unknown => "upserted",
        Operation::Delete => "deleted",
        Operation::Snapshot => "snapshot",
    };
    let record = match event.domain {
        Domain::Customer => "Customer",
        Domain::Item => "Item",
        Domain::WorkCenter => "WorkCenter",
        Domain::Reference => "Reference",
    };
    [
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", event.id.to_string()),
        ("ce_source", event.source.to_owned()),
        ("ce_type", format!("mdm.{}.{what}", event.domain)),
        ("ce_time", event.time.to_string()),
        ("ce_subject", event.key.to_string()),
        ("ce_dataschema", format!("urn:avro:mdm.v1.{record}{}", event.record)),
        ("ce_partitionkey", event.key.partition_key(event.domain).to_owned()),
        // Zero-padded: text order is number order.
        ("ce_sequence", format!("{:020}", event.sequence)),
        ("content-type", "application/avro".to_owned()),
        (TRACEPARENT, event.trace.header()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.into_bytes()))
    .collect()
}

/// Where a change came into being: its correlation id is the trace, its own last eight bytes are the span.
#[must_use]
pub fn created(meta: &ChangeMeta, is_sampled: bool) -> TraceContext {
    TraceContext { trace: meta.correlation_id.0.as_u128(), span: meta.change_id.0.as_u64_pair().1, is_sampled }
}

/// Where a golden revision came into being, in the trace of what caused it.
#[must_use]
pub fn accepted(meta: &GoldenMeta, cause: TraceContext) -> TraceContext {
    cause.with_span(accepted_span(meta.change_id, meta.revision))
}

/// The span of a revision's creation. Not the change's own: that one wrote `change.<source>.<domain>`.
#[must_use]
pub fn accepted_span(change: ChangeId, revision: i64) -> u64 {
    // SplitMix64: every bit of both counts, and no two revisions of a change share a span.
    let mut bits = change.0.as_u64_pair().1 ^ u64::from_ne_bytes(revision.to_ne_bytes()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ bits >> 31).max(1)
}

/// The chain of a golden record that says nothing of its trace.
#[must_use]
pub fn correlated(meta: &GoldenMeta) -> TraceContext {
    TraceContext { trace: meta.correlation_id.0.as_u128(), span: accepted_span(meta.change_id, meta.revision), is_sampled: false }
}
