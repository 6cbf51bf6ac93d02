//! What the state machine says, carried out in its order: writes to the journal, payloads read again, offsets done.

use std::sync::Arc;

use delivery::{Action, Counted, Job};
use kafka::Coordinate;
use model::{Domain, Ledger, Outgoing, Topical};

use super::{Input, SlotActor, intake};
use crate::{journal::Write, letter, record::Taken};

impl SlotActor {
    pub(super) async fn carry_out(&mut self) {
        loop {
            let actions: Vec<_> = self.state.actions().collect();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(action).await;
            }
        }
    }

    async fn act(&mut self, action: Action<Arc<Taken>>) {
        match action {
            Action::WriteLetter(job, letter) => {
                let letter = letter::compose(&self.shared, &letter);
                let domain = letter.domain.map_or("", Domain::name);
                let labels = ["deliver", self.shared.name(), domain, letter.class.name(), letter.code.as_str()];
                telemetry::DEAD_LETTERS_WRITTEN.with_label_values(&labels).inc();
                tracing::info!(destination = self.shared.name(), letter = %letter.id, code = letter.code, "dead letter");
                let key = match (letter.domain, &letter.key) {
                    (Some(domain), Some(key)) => format!("{domain}/{key}"),
                    _ => letter.id.0.clone(),
                };
                let headers = deadletter::headers(&letter);
                let value = self.encode(&letter);
                self.write(job, &self.shared.names.dlq, key, value, headers, true).await;
            }
            Action::WriteLedger(job, key, entry) => {
                let value = self.encode(&Ledger { entry: Some(*entry), lease: None });
                self.write(job, &self.shared.names.ledger, key.to_string(), value, Vec::new(), false).await;
            }
            Action::EraseLedger(job, key) => {
                self.write(job, &self.shared.names.ledger, key.to_string(), None, Vec::new(), false).await;
            }
            Action::WriteReceipt(job, receipt) => {
                let value = self.encode(&*receipt);
                let place = Topical::new(receipt.domain, receipt.key.clone());
                let (topic, key) = (self.shared.names.receipt.clone(), place.to_string());
                let mut outgoing = Outgoing { topic, slot: self.slot, key, value, headers: Vec::new() };
                let span = self.chains.receipt(&self.shared, &place, &mut outgoing);
                self.journal.write(Write { job, outgoing, receipt: Some(receipt), is_letter: false, span }).await;
            }
            Action::WriteLease(job, lease) => {
                let value = self.encode(&Ledger { entry: None, lease: Some(*lease) });
                let key = model::ledger::LEASE_KEY.to_owned();
                self.write(job, &self.shared.names.ledger, key, value, Vec::new(), false).await;
            }
            Action::Fetch(key, place) => {
                let (shared, sender, slot) = (Arc::clone(&self.shared), self.sender.clone(), self.slot);
                self.tasks.spawn(async move {
                    let found = intake::fetch(&shared, slot, &key, place).await;
                    drop(sender.send(Input::Fetched(key, found.map(Box::new))));
                });
            }
            Action::Done(ticket) => self.shared.handle.done(Coordinate {
                topic: ticket.topic,
                partition: self.slot.0,
                offset: ticket.offset,
                epoch: self.epoch,
            }),
            Action::Count(domain, counted) => count(self.shared.name(), domain, counted),
        }
    }

    /// Encoding our own record fails only if a schema is missing here: a fault of the build, which must not pass unnoticed.
    pub(super) fn encode<T: avro::Wire>(&self, record: &T) -> Option<Vec<u8>> {
        Some(self.shared.writer.encode(record).expect("every schema that a sink writes was looked up at start"))
    }

    async fn write(
        &self,
        job: Job,
        topic: &str,
        key: String,
        value: Option<Vec<u8>>,
        headers: Vec<(String, Vec<u8>)>,
        is_letter: bool,
    ) {
        let outgoing = Outgoing { topic: topic.to_owned(), slot: self.slot, key, value, headers };
        self.journal.write(Write { job, outgoing, receipt: None, is_letter, span: None }).await;
    }
}

fn count(destination: &str, domain: Domain, counted: Counted) {
    let outcome = match counted {
        Counted::Accepted | Counted::Unchanged => "ok",
        Counted::Stale => "stale",
        Counted::Skipped => "skipped",
        Counted::Held => "held",
        Counted::Superseded => "superseded",
        Counted::DeadLettered => "dead_lettered",
        Counted::Conflict => {
            tracing::warn!(
                destination,
                domain = domain.name(),
                "an accepted revision came again from another change, or the destination is ahead of golden"
            );
            return telemetry::REVISION_CONFLICTS.with_label_values(&[destination, domain.name()]).inc();
        }
        Counted::LateEntry => {
            return tracing::warn!(destination, domain = domain.name(), "ignored a ledger entry of a former owner");
        }
    };
    telemetry::RECORDS.with_label_values(&[domain.name(), "deliver", destination, outcome]).inc();
}
