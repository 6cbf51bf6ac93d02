use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use model::Outgoing;

use crate::{Client, Error, TransactError};

/// Idempotent producer without transactions (sink, tracker). Records of one caller reach a partition in the order of `enqueue`.
pub struct Producer {}

/// Resolves to the record's offset once the broker has it. Dropping it does not take the record back.
pub struct Delivery {}

impl Future for Delivery {
    type Output = Result<i64, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = cx;
        todo!()
    }
}

impl Producer {
    pub fn new(client: &Client) -> Result<Self, Error> {
        let _ = client;
        todo!()
    }

    /// Hands a record over, after all that were handed over before; waits while the queue is full. The record is not durable before
    /// the delivery resolves. After an `Err`, of this or of a delivery, send again: fences absorb a duplicate.
    pub async fn enqueue(&self, record: &Outgoing) -> Result<Delivery, Error> {
        let _ = record;
        todo!()
    }

    /// `enqueue`, and waits for the broker: the record's offset.
    pub async fn send(&self, record: &Outgoing) -> Result<i64, Error> {
        self.enqueue(record).await?.await
    }

    /// Waits until nothing is in flight any more.
    pub async fn flush(&self, timeout: Duration) -> Result<(), Error> {
        let _ = timeout;
        todo!()
    }
}

/// Transactions without consumed offsets (publisher: its input position is a record among the others).
pub struct Transactor {}

impl Transactor {
    /// Fences whoever used this id before and aborts what it left open. `component` labels the metrics: `publisher`.
    /// Waits for the cluster; cancel by dropping the future.
    pub async fn new(client: &Client, transactional_id: &str, component: &'static str) -> Result<Self, Error> {
        let _ = (client, transactional_id, component);
        todo!()
    }

    /// All of these records or none of them. Not cancellable half-way: dropping the future does not stop the transaction.
    pub async fn commit(&mut self, records: Vec<Outgoing>) -> Result<(), TransactError> {
        let _ = records;
        todo!()
    }
}
