//! Producers outside the consume loops: [`Producer`] (idempotent) and [`Transactor`] (transactions without offsets).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use landscape::Operation;
use model::Outgoing;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, Producer as _};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::config::{Role, settings};
use crate::context::Plain;
use crate::error::is_unwritable;
use crate::refusal::{Subject, code};
use crate::transact::{Ended, Transactional, headers, is_queue_full, record};
use crate::{Cause, Client, Error, TransactError};

/// Idempotent producer without transactions (sink, tracker). Records of one caller reach a partition in the order of `enqueue`.
pub struct Producer {
    client: Client,
    /// The lock keeps the order of callers while the queue is full, and covers the replacement after a fatal error (P15).
    inner: Mutex<FutureProducer<Plain>>,
}

/// Resolves to the record's offset once the broker has it. Dropping it does not take the record back.
pub struct Delivery {
    board: Arc<Board>,
    topic: String,
    key: String,
    future: DeliveryFuture,
}

impl Future for Delivery {
    type Output = Result<i64, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.future).poll(cx).map(|outcome| match outcome {
            Ok(Ok(delivery)) => {
                self.board.works(Subject::Topic(&self.topic, Operation::Write));
                Ok(delivery.offset)
            }
            Ok(Err((error, _))) => Err(write_error(&self.board, &self.topic, &self.key, error)),
            Err(_) => Err(write_error(&self.board, &self.topic, &self.key, KafkaError::Canceled)),
        })
    }
}

fn write_error(board: &Board, topic: &str, key: &str, error: KafkaError) -> Error {
    if error.rdkafka_error_code().is_some_and(is_unwritable) {
        let key = model::clip(key, model::LONGEST_KEY);
        Error::Unwritable { topic: topic.to_owned(), key, source: Cause::not_taken(topic, error) }
    } else {
        let source = board.cause(error, Subject::Topic(topic, Operation::Write));
        Error::Delivery { topic: topic.to_owned(), source }
    }
}

impl Producer {
    /// Does not wait for the cluster.
    pub fn new(client: &Client) -> Result<Self, Error> {
        Ok(Self { client: client.clone(), inner: Mutex::new(create(client)?) })
    }

    /// Hands a record over, after all that were handed over before; waits while the queue is full. The record is not durable before
    /// the delivery resolves. After an `Err`, of this or of a delivery, send again: fences absorb a duplicate.
    pub async fn enqueue(&self, outgoing: &Outgoing) -> Result<Delivery, Error> {
        let mut inner = self.inner.lock().await;
        if inner.client().fatal_error().is_some() {
            tracing::warn!("the idempotent producer ended and is made again");
            *inner = create(&self.client)?;
        }
        loop {
            let error = match inner.send_result(record(outgoing, headers(outgoing))) {
                Ok(future) => {
                    let board = Arc::clone(&self.client.board);
                    return Ok(Delivery { board, topic: outgoing.topic.clone(), key: outgoing.key.clone(), future });
                }
                Err((error, _)) => error,
            };
            if !is_queue_full(&error) {
                if code(&error) == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
                    refresh(&inner, &outgoing.topic);
                }
                return Err(write_error(&self.client.board, &outgoing.topic, &outgoing.key, error));
            }
            // The lock is held meanwhile: the same record goes before any other (P1).
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// `enqueue`, and waits for the broker: the record's offset.
    pub async fn send(&self, outgoing: &Outgoing) -> Result<i64, Error> {
        self.enqueue(outgoing).await?.await
    }

    /// Waits until nothing is in flight any more.
    pub async fn flush(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        let inner = self.inner.lock().await;
        while inner.in_flight_count() > 0 {
            if Instant::now() > deadline {
                let source = KafkaError::Flush(rdkafka::error::RDKafkaErrorCode::OperationTimedOut);
                return Err(Error::unreachable(format!("flushing {} records", inner.in_flight_count()), source));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

/// The library remembers for minutes that a topic was refused; asked for it by name, it learns that it no longer is. Nobody waits.
pub(crate) fn refresh(producer: &FutureProducer<Plain>, topic: &str) {
    let (producer, topic) = (producer.clone(), topic.to_owned());
    std::thread::spawn(move || {
        if let Err(error) = producer.client().fetch_metadata(Some(&topic), Duration::from_secs(2)) {
            tracing::debug!(%error, topic, "asking again for a refused topic");
        }
    });
}

fn create(client: &Client) -> Result<FutureProducer<Plain>, Error> {
    settings(client, &Role::Idempotent)?
        .create_with_context(Plain::of(client))
        .map_err(|source| Error::Settings { what: "creating a producer".to_owned(), source: Cause::new(source).into() })
}

impl Drop for Producer {
    fn drop(&mut self) {
        // A record still counts for an instant after its delivery resolved.
        let deadline = Instant::now() + Duration::from_millis(50);
        while self.inner.get_mut().in_flight_count() > 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let lost = self.inner.get_mut().in_flight_count();
        if lost > 0 {
            tracing::error!(lost, "a producer was dropped with records in flight; flush first");
        }
    }
}

/// Transactions without consumed offsets (publisher: its input position is a record among the others).
pub struct Transactor {
    /// None while a commit runs, and for good when the future of one was dropped.
    inner: Option<Transactional>,
    stop: CancellationToken,
}

impl Transactor {
    /// Fences whoever used this id before and aborts what it left open. `component` labels the metrics: `publisher`.
    /// Waits for the cluster; cancel by dropping the future. A right that is missing is an error at once.
    pub async fn new(client: &Client, transactional_id: &str, component: &'static str) -> Result<Self, Error> {
        let (client, id) = (client.clone(), transactional_id.to_owned());
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let token = stop.clone();
        let runtime = tokio::runtime::Handle::current();
        let inner = tokio::task::spawn_blocking(move || Transactional::new(&client, &id, component, 20_000, runtime, &token))
            .await
            .map_err(|_| Error::Stopped { what: "creating a transactional producer" })??;
        guard.disarm();
        Ok(Self { inner: Some(inner), stop })
    }

    /// All of these records or none of them. A future that is dropped half-way does not stop its transaction, so its outcome is
    /// unknown and this transactor is spent: make a new one, and read the state back.
    pub async fn commit(&mut self, records: Vec<Outgoing>) -> Result<(), TransactError> {
        const SPENT: Error = Error::Stopped { what: "committing a transaction" };
        if records.is_empty() {
            return Ok(());
        }
        let mut inner = self.inner.take().ok_or(TransactError::Fatal(SPENT))?;
        let stop = self.stop.clone();
        let (inner, ended) = tokio::task::spawn_blocking(move || {
            let ended = inner.transact(&records, None, &stop);
            (inner, ended)
        })
        .await
        .map_err(|_| TransactError::Fatal(SPENT))?;
        self.inner = Some(inner);
        match ended {
            Ok(Ended::Committed) => Ok(()),
            Ok(Ended::Aborted(cause)) => Err(TransactError::Aborted(cause)),
            Ok(Ended::Unknown(cause)) => Err(TransactError::Unknown(cause)),
            Err(Error::Fenced { id }) => Err(TransactError::Fenced { id }),
            Err(error) => Err(TransactError::Fatal(error)),
        }
    }
}

impl Drop for Transactor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
