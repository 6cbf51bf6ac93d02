//! One call: payload from the mapping, hash, request, answer.

use std::sync::Arc;

use avro::DecodeError;
use connect::http;
use data_encoding::HEXLOWER;
use delivery::{Answer, AnswerClass, Call, Operation, Problem, Suspicion};
use landscape::OnDelete;
use mapping::View;
use model::{Golden, LetterClass, Topical};
use service::Span;
use sha2::{Digest, Sha256};
use telemetry::trace::{TraceContext, attribute};

use crate::{
    record::{Taken, problem},
    shared::{Shared, now},
};

/// What a call turned out to be, before any byte is sent.
pub(crate) enum Prepared {
    Send(Request),
    /// The destination holds exactly these bytes.
    Unchanged(String),
    /// Answered on our side: a mapping said no, or a destination keeps what is deleted.
    Answered(Answer),
}

/// Ready to be sent.
pub(crate) struct Request {
    pub(crate) key: Topical,
    pub(crate) revision: i64,
    pub(crate) payload: Option<String>,
    pub(crate) hash: String,
    pub(crate) suspicion: Option<Suspicion>,
    content_type: &'static str,
    idempotency_key: String,
    personal: Vec<String>,
    /// The record as expressions over the answer see it, where some are declared.
    record: Option<View>,
}

pub(crate) fn prepare(shared: &Shared, call: &Call<Arc<Taken>>) -> Prepared {
    let request = |payload: Option<String>, hash: String, content_type, personal, record| Request {
        key: call.key.clone(),
        revision: call.revision(),
        payload,
        hash,
        suspicion: call.suspicion.clone(),
        content_type,
        idempotency_key: call.idempotency_key(shared.name()),
        personal,
        record,
    };
    if let Some(fault) = &call.offer.payload.fault {
        return Prepared::Answered(Answer::permanent((**fault).clone()));
    }
    let Some(delivery) = shared.delivery(call.key.domain) else {
        return Prepared::Answered(Answer::bare(AnswerClass::Accepted));
    };
    if call.offer.operation == Operation::Remove {
        return match delivery.on_delete {
            OnDelete::Delete => Prepared::Send(request(None, String::new(), "", Vec::new(), None)),
            OnDelete::Ignore => {
                let note = Some("kept: the destination does not delete".to_owned());
                Prepared::Answered(Answer { note, ..Answer::bare(AnswerClass::Accepted) })
            }
        };
    }
    let golden = match decode(shared, call) {
        // A mapping may print the revision: it says the same number as the request.
        Ok(golden) => Golden { meta: model::GoldenMeta { revision: call.revision(), ..golden.meta }, ..golden },
        Err(problem) => return Prepared::Answered(Answer::permanent(problem)),
    };
    match shared.landscape.mappings.to_payload(&delivery.mapping, &golden, call.key.domain, &call.key.key) {
        Err(error) => Prepared::Answered(Answer::permanent(problem(&error))),
        Ok(payload) => {
            let hash = HEXLOWER.encode(&Sha256::digest(payload.as_bytes()));
            if call.is_unchanged(&hash) {
                return Prepared::Unchanged(hash);
            }
            let personal = personal(shared, call.key.domain, &golden);
            let is_asked = !delivery.absent.is_empty();
            let record = is_asked.then(|| View::new(&golden, call.key.domain, &call.key.key));
            Prepared::Send(request(Some(payload), hash, content_type(&delivery.mapping), personal, record))
        }
    }
}

/// Makes the call; the membership proof is asked for last, right before the first byte.
pub(crate) async fn send(shared: &Shared, request: &Request, trace: TraceContext) -> Option<Answer> {
    if !shared.handle.may_call() {
        return None;
    }
    let span = called(shared, request, trace);
    let delivery = http::Delivery {
        domain: request.key.domain,
        key: &request.key.key,
        revision: request.revision,
        payload: request.payload.clone(),
        content_type: request.content_type,
        idempotency_key: request.idempotency_key.clone(),
        personal: request.personal.clone(),
        absent: shared.delivery(request.key.domain).map(|delivery| delivery.absent.as_slice()).unwrap_or_default(),
        record: request.record.as_ref(),
        traceparent: span.as_ref().map_or(trace, Span::context).header(),
        now: now(),
    };
    let answer = shared.endpoint.deliver(delivery).await;
    if let Some(span) = span {
        answered(shared, span, &answer);
    }
    Some(answer)
}

/// The span of the request itself. It names no key: the address is told as a template.
fn called(shared: &Shared, request: &Request, trace: TraceContext) -> Option<Span> {
    let method = if request.payload.is_some() { "PUT" } else { "DELETE" };
    let mut span = shared.traces.call(method, trace)?;
    let (host, port) = shared.endpoint.server();
    span.set(attribute::SERVER_ADDRESS, host.to_owned());
    if let Some(port) = port {
        span.set(attribute::SERVER_PORT, i64::from(port));
    }
    span.set(attribute::URL_TEMPLATE, "/{domain}/{key}");
    span.set(attribute::DESTINATION, shared.name().to_owned());
    Some(span)
}

fn answered(shared: &Shared, mut span: Span, answer: &Answer) {
    let status = answer.code.as_deref().and_then(|code| code.parse::<i64>().ok());
    if let Some(status) = status {
        span.set(attribute::HTTP_STATUS, status);
    }
    match (status, &answer.code) {
        (Some(400..), Some(code)) => span.fail(code),
        (None, _) => span.fail(answer.class.name()),
        _ => {}
    }
    shared.traces.end(span);
}

/// It was decoded when it was taken up, so its schema is known.
fn decode(shared: &Shared, call: &Call<Arc<Taken>>) -> Result<Golden, Problem> {
    let value = call.offer.payload.record.value.as_deref().unwrap_or_default();
    shared.reader.decode_golden(call.key.domain, value).map_err(|error| {
        let code = match &error {
            DecodeError::NeedSchema(_) => "SCHEMA_UNKNOWN",
            DecodeError::Unreadable { code, .. } => code,
        };
        let (code, message) = (code.to_owned(), error.to_string());
        Problem { class: LetterClass::Schema, code, field: None, observed: None, message }
    })
}

/// Templates say by their name what they write.
fn content_type(mapping: &str) -> &'static str {
    if mapping.ends_with(".xml.j2") {
        "application/xml"
    } else if mapping.ends_with(".csv.j2") {
        "text/csv"
    } else if mapping.ends_with(".txt.j2") {
        "text/plain"
    } else {
        "application/json"
    }
}

/// Values of the record's personal fields: an error text may repeat what it was sent.
fn personal(shared: &Shared, domain: model::Domain, golden: &Golden) -> Vec<String> {
    fn walk(value: &serde_json::Value, fields: &[String], found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(object) => {
                for (name, value) in object {
                    match value {
                        serde_json::Value::String(text) if fields.contains(name) => found.push(text.clone()),
                        other => walk(other, fields, found),
                    }
                }
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| walk(value, fields, found)),
            _ => {}
        }
    }
    // Every domain's meta has an actor; only where the data itself is personal can a destination repeat it.
    let mut found = Vec::new();
    if domain == model::Domain::Customer
        && let (Some(fields), Some(Ok(data))) = (shared.personal.get(&domain), golden.data.as_ref().map(serde_json::to_value))
    {
        walk(&data, fields, &mut found);
    }
    found
}
