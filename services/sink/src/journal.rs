//! The durable writes of one slot: handed to the producer in the order of the actions, acknowledged in that order.
//!
//! Invariant: a write that fails is written again, named on `/readyz`, until it stands; nothing is acknowledged before.
//! Invariant: every record fits: letters are bounded, and the texts of answers and commands are cut where they are read. What is refused
//! for its size all the same is refused by a topic that takes less than it should: that is named and waited for, like any other outage.

use std::{sync::Arc, time::Duration};

use delivery::Job;
use kafka::Delivery;
use model::{Outgoing, Receipt};
use service::Span;
use tokio::sync::mpsc;

use crate::{shared::Shared, slot::Input};

const AGAIN: Duration = Duration::from_secs(1);

/// One write on its way.
pub(crate) struct Write {
    pub(crate) job: Job,
    pub(crate) outgoing: Outgoing,
    /// The receipt that this write is, where it is one.
    pub(crate) receipt: Option<Box<Receipt>>,
    pub(crate) is_letter: bool,
    /// Ends when it stands.
    pub(crate) span: Option<Span>,
}

/// The slot's side.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedSender<(Write, Option<Delivery>)>,
}

impl Journal {
    /// A journal and the task that waits for its acknowledgements.
    pub(crate) fn new(shared: Arc<Shared>, part: String, slot: mpsc::UnboundedSender<Input>) -> (Self, impl Future<Output = ()>) {
        let (queue, writes) = mpsc::unbounded_channel();
        let journal = Self { shared: Arc::clone(&shared), queue };
        (journal, acknowledge(shared, part, writes, slot))
    }

    /// Hands a write over, after all that were handed over before. Waits only while the producer's queue is full.
    pub(crate) async fn write(&self, write: Write) {
        let delivery = self.shared.producer.enqueue(&write.outgoing).await.ok();
        // The task ends with the slot.
        drop(self.queue.send((write, delivery)));
    }
}

async fn acknowledge(
    shared: Arc<Shared>,
    part: String,
    mut writes: mpsc::UnboundedReceiver<(Write, Option<Delivery>)>,
    slot: mpsc::UnboundedSender<Input>,
) {
    while let Some((write, delivery)) = writes.recv().await {
        let mut written = match delivery {
            Some(delivery) => delivery.await,
            None => shared.producer.send(&write.outgoing).await,
        };
        let mut named = None;
        while let Err(error) = written {
            let text = format!("{:#}", anyhow::Error::new(error));
            if write.is_letter {
                telemetry::DEAD_LETTER_WRITE_FAILURES.with_label_values(&["deliver", shared.name()]).inc();
            }
            // Said once for each reason: it may last until somebody mends something.
            if named.as_ref() != Some(&text) {
                tracing::error!(destination = shared.name(), topic = write.outgoing.topic, error = text, "writing again");
                shared.health.not_ready(&part, text.as_str());
                named = Some(text);
            }
            tokio::time::sleep(AGAIN).await;
            written = shared.producer.send(&write.outgoing).await;
        }
        if named.is_some() {
            shared.health.ready(&part);
        }
        if let Some(span) = write.span {
            shared.traces.end(span);
        }
        drop(slot.send(Input::Acknowledged(write.job, write.receipt)));
    }
}
