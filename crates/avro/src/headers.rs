//! Headers of changes and golden records: CloudEvents 1.0 in Kafka's binary mode, and the trace (domain.md 4.2).
//!
//! A reader can route without decoding. The trace id is the correlation id, so every hop of one chain shares it without a lookup.

use model::{Change, ChangeId, Domain, Golden, Operation, RecordKey, Timestamp};

/// Everything of `ce_*`, `content-type` and `traceparent`, in a fixed order.
type Headers = Vec<(String, Vec<u8>)>;

/// The source named on golden records.
pub const SOURCE: &str = "millrace";

/// Headers of a `change.<domain>` record.
#[must_use]
pub fn change(change: &Change, domain: Domain, key: &RecordKey) -> Headers {
    let meta = &change.meta;
    headers(&Event {
        id: meta.change_id,
        source: &meta.source,
        operation: meta.operation,
        time: meta.occurred_at,
        sequence: meta.source_sequence,
        correlation: meta.correlation_id,
        record: "Change",
        domain,
        key,
    })
}

/// Headers of a `golden.<domain>` record.
#[must_use]
pub fn golden(golden: &Golden, domain: Domain, key: &RecordKey) -> Headers {
    let meta = &golden.meta;
    headers(&Event {
        id: meta.change_id,
        source: SOURCE,
        operation: meta.operation,
        time: meta.occurred_at,
        sequence: meta.revision,
        correlation: meta.correlation_id,
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
    correlation: ChangeId,
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
        ("traceparent", traceparent(event.correlation, event.id)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.into_bytes()))
    .collect()
}

/// W3C trace context of a chain: the correlation id is the trace, the change's last eight bytes are the parent span.
#[must_use]
pub fn traceparent(correlation: ChangeId, change: ChangeId) -> String {
    let parent = change.0.as_u64_pair().1;
    format!("00-{}-{:016x}-01", correlation.0.simple(), parent)
}
