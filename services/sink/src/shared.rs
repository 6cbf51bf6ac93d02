//! What all slots of this process share: the destination and its limits, codecs, the producer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use avro::Schema;
use delivery::{Answer, AnswerClass, Gate, Traffic};
use kafka::{Client, Fetcher, Producer, ReaderHandle};
use landscape::{Delivery, Destination, Landscape};
use model::{Domain, Timestamp};
use service::{Health, Traces};
use tokio::sync::Notify;

use crate::there::There;

/// Version that letters name.
pub(crate) const SERVICE: &str = concat!("sink ", env!("CARGO_PKG_VERSION"));

pub(crate) struct Shared {
    pub(crate) landscape: Arc<Landscape>,
    pub(crate) destination: Destination,
    pub(crate) instance: String,
    pub(crate) topics: avro::Topics,
    pub(crate) names: Names,
    pub(crate) client: Client,
    pub(crate) group: String,
    pub(crate) writer: avro::Writer,
    pub(crate) reader: avro::Reader,
    pub(crate) registry: registry::Registry,
    pub(crate) producer: Producer,
    pub(crate) fetcher: Fetcher,
    pub(crate) endpoint: connect::http::Destination,
    /// One request to the destination, at most.
    pub(crate) request_timeout: Duration,
    /// How long a slot that goes may take to finish what is running.
    pub(crate) drain: Duration,
    traffic: Mutex<Traffic>,
    fault: Mutex<Option<Fault>>,
    /// What the destination accepted, for records that wait for others.
    pub(crate) there: There,
    /// A place became free, or the destination is back.
    pub(crate) free: Notify,
    pub(crate) handle: ReaderHandle,
    pub(crate) health: Health,
    pub(crate) traces: Traces,
    /// Names of personal fields per domain: their values do not appear in texts.
    pub(crate) personal: BTreeMap<Domain, Vec<String>>,
}

/// The destination's own topics.
pub(crate) struct Names {
    pub(crate) ledger: String,
    pub(crate) receipt: String,
    pub(crate) command: String,
    pub(crate) dlq: String,
    pub(crate) status: String,
}

impl Names {
    pub(crate) fn new(topics: &avro::Topics, destination: &str) -> Self {
        Self {
            ledger: topics.ledger(destination),
            receipt: topics.receipt(destination),
            command: topics.command(destination),
            dlq: topics.dlq(destination),
            status: topics.destination(),
        }
    }

    /// What the sink writes, and where.
    pub(crate) fn subjects(&self) -> [(Schema, String); 4] {
        [
            (Schema::Ledger, self.ledger.clone()),
            (Schema::Receipt, self.receipt.clone()),
            (Schema::DeadLetter, self.dlq.clone()),
            (Schema::DestinationStatus, self.status.clone()),
        ]
    }
}

/// Why the last call that nobody could serve was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What [`Shared::new`] is made of.
pub(crate) struct Parts {
    pub(crate) landscape: Arc<Landscape>,
    pub(crate) destination: Destination,
    pub(crate) instance: String,
    pub(crate) topics: avro::Topics,
    pub(crate) client: Client,
    pub(crate) group: String,
    pub(crate) writer: avro::Writer,
    pub(crate) registry: registry::Registry,
    pub(crate) producer: Producer,
    pub(crate) fetcher: Fetcher,
    pub(crate) endpoint: connect::http::Destination,
    pub(crate) request_timeout: Duration,
    pub(crate) drain: Duration,
    pub(crate) handle: ReaderHandle,
    pub(crate) health: Health,
    pub(crate) traces: Traces,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let destination = &parts.destination;
        let breaker = &destination.breaker;
        let tolerance = delivery::Tolerance {
            failures: breaker.failures,
            first_probe: breaker.probe_first,
            longest_probe: breaker.probe_max,
        };
        let rate = destination.rate.map(landscape::Rate::per_second);
        let traffic = Traffic::new(destination.concurrency, rate, tolerance);
        let personal = destination.domains.keys().map(|domain| (*domain, personal_fields(*domain))).collect();
        Self {
            names: Names::new(&parts.topics, &destination.name),
            landscape: parts.landscape,
            instance: parts.instance,
            topics: parts.topics,
            client: parts.client,
            group: parts.group,
            writer: parts.writer,
            reader: avro::Reader::default(),
            registry: parts.registry,
            producer: parts.producer,
            fetcher: parts.fetcher,
            endpoint: parts.endpoint,
            request_timeout: parts.request_timeout,
            drain: parts.drain,
            traffic: Mutex::new(traffic),
            fault: Mutex::default(),
            there: There::new(&parts.destination),
            free: Notify::new(),
            handle: parts.handle,
            health: parts.health,
            traces: parts.traces,
            personal,
            destination: parts.destination,
        }
    }

    pub(crate) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an answer that tells why a destination takes nothing now.
    pub(crate) fn remember_fault(&self, answer: &Answer, whose: delivery::Fault) {
        let is_refusing = answer.class == AnswerClass::Permanent && whose == delivery::Fault::Destination;
        let is_own = matches!(whose, delivery::Fault::Record { .. });
        let served_nobody = !answer.class.is_alive() || answer.class == AnswerClass::Throttled || is_refusing;
        if let Some(problem) = answer.problem.as_ref().filter(|_| served_nobody && !is_own) {
            let message = if is_refusing {
                format!("every record is refused alike, is its address right? {}", problem.message)
            } else {
                problem.message.clone()
            };
            let fault = Fault { code: problem.code.clone(), message };
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        }
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn name(&self) -> &str {
        &self.destination.name
    }

    pub(crate) fn delivery(&self, domain: Domain) -> Option<&Delivery> {
        self.destination.domains.get(&domain)
    }
}

/// The gates of a delivery, in the words of the decision crate.
pub(crate) fn gates(delivery: &Delivery) -> Vec<Gate> {
    let gate = |gate: &landscape::Gate| match gate {
        landscape::Gate::Approval => Gate::Approval,
    };
    delivery.gates.iter().map(gate).collect()
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Fields that the schema tags with `mdm.pii`.
fn personal_fields(domain: Domain) -> Vec<String> {
    fn walk(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(object) => {
                if let (Some(_), Some(serde_json::Value::String(name))) = (object.get("mdm.pii"), object.get("name")) {
                    found.push(name.clone());
                }
                object.values().for_each(|value| walk(value, found));
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(schema) = serde_json::from_str(avro::Schema::golden(domain).text()) {
        walk(&schema, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_fields_come_from_the_schema() {
        let fields = personal_fields(Domain::Customer);
        for name in ["email", "phone", "iban", "family_name"] {
            assert!(fields.iter().any(|field| field == name), "{name} in {fields:?}");
        }
        assert!(!fields.iter().any(|field| field == "customer_id"));
    }
}
