//! One transaction after another, and what to do when one of them ends in doubt (kafka.md 6.3, 6.5, 6.6).
//!
//! Invariant: after [`Ended::Committed`] everything is visible, after [`Ended::Aborted`] nothing ever will be; in both cases no
//! request of that transaction can reach a later one. In doubt the producer is thrown away and made again under the same id, which
//! bumps its epoch and fences whatever is still on its way. librdkafka #5423: drop the recycling when KIP-890 is spoken.
//!
//! Blocking: a worker calls it on its own thread, [`crate::Transactor`] on a blocking one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use landscape::Operation;
use model::Outgoing;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::config::{Role, TRANSACTION_RETRY_BACKOFF, settings};
use crate::context::Plain;
use crate::error::{Class, classify, is_fencing, is_unwritable};
use crate::lookup::wait;
use crate::producer::refresh;
use crate::refusal::{Subject, code, is_missing_right, sentences};
use crate::worker::Alive;
use crate::{Cause, Client, Error};

type Sender = FutureProducer<Plain>;

/// From begin to the call of commit, and for each call.
const CALL: Duration = Duration::from_secs(10);
/// An unanswered commit is resumed until then.
const COMMIT: Duration = Duration::from_secs(20);
const INIT: Duration = Duration::from_secs(5);
/// How soon a missing right is asked for again.
const REFUSED: Duration = Duration::from_secs(1);
/// Being fenced a second time within this is not the broker's transaction timeout any more (P11).
const AGAIN: Duration = Duration::from_secs(60);
/// Other fatal errors within `AGAIN` (a broker that loses its connections over and over), before the worker gives up.
const PATIENCE: usize = 5;

/// Which offsets a transaction carries.
pub(crate) type Offsets<'a> = (&'a TopicPartitionList, &'a ConsumerGroupMetadata);

/// How it ended.
pub(crate) enum Ended {
    Committed,
    /// Nothing of it is visible.
    Aborted(Cause),
    /// Read back what the broker knows.
    Unknown(Cause),
}

/// What one attempt came to, before anything was repaired.
enum Attempt {
    Committed { in_doubt: bool },
    Abort { recycle: bool, cause: Cause },
    Unknown(KafkaError),
    Fatal(KafkaError),
}

pub(crate) struct Transactional {
    client: Client,
    id: String,
    component: &'static str,
    queue: usize,
    runtime: Handle,
    /// Told while a producer cannot be made: whoever waits here is alive.
    pub(crate) alive: Option<Alive>,
    /// None only while one is thrown away and the next is made.
    producer: Option<Sender>,
    /// Of the last minute, and whether each was a fencing.
    fatals: VecDeque<(Instant, bool)>,
    pub(crate) aborted: u64,
    pub(crate) recycled: u64,
    pub(crate) hurried: u64,
}

impl Transactional {
    /// Fences the predecessor; waits for the cluster until `stop`.
    pub(crate) fn new(
        client: &Client,
        id: &str,
        component: &'static str,
        queue: usize,
        runtime: Handle,
        stop: &CancellationToken,
    ) -> Result<Self, Error> {
        // A quiet component shows zeros, so that a first abort is an increase.
        telemetry::TRANSACTIONS_ABORTED.with_label_values(&[component]);
        telemetry::PRODUCER_RECYCLES.with_label_values(&[component]);
        let mut this = Self {
            client: client.clone(),
            id: id.to_owned(),
            component,
            queue,
            runtime,
            alive: None,
            producer: None,
            fatals: VecDeque::new(),
            aborted: 0,
            recycled: 0,
            hurried: 0,
        };
        this.init(stop)?;
        Ok(this)
    }

    /// All of `records` and the offsets, or nothing. Every record fits: who makes them sees to it.
    pub(crate) fn transact(
        &mut self,
        records: &[Outgoing],
        offsets: Option<Offsets<'_>>,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        if let Some(large) = records.iter().find(|record| !record.fits()) {
            let (topic, key) = (large.topic.clone(), model::clip(&large.key, model::LONGEST_KEY));
            let source = Cause::new(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
            return Err(Error::Unwritable { topic, key, source });
        }
        match self.attempt(records, offsets) {
            Attempt::Committed { in_doubt } => {
                if in_doubt {
                    self.recycle("a call of a committed transaction was slow or repeated", stop)?;
                }
                Ok(Ended::Committed)
            }
            Attempt::Abort { recycle, cause } => self.abort(recycle, cause, stop),
            Attempt::Unknown(cause) => {
                self.recycle("the commit was not answered", stop)?;
                Ok(Ended::Unknown(Cause::new(cause)))
            }
            Attempt::Fatal(cause) => self.fatal(cause, stop),
        }
    }

    fn attempt(&mut self, records: &[Outgoing], offsets: Option<Offsets<'_>>) -> Attempt {
        let Some(producer) = &self.producer else {
            return Attempt::Fatal(KafkaError::Canceled);
        };
        let deadline = Instant::now() + CALL;
        if let Err(error) = producer.begin_transaction() {
            return Attempt::Fatal(error);
        }
        if let Err(attempt) = send_all(producer, &self.runtime, &self.client.board, records, deadline) {
            return attempt;
        }
        // The delivery future resolves before the message stops counting, and a commit with one outstanding costs 100 ms (P2).
        while producer.in_flight_count() > 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let mut in_doubt = false;
        if let Some((list, member)) = offsets {
            match send_offsets(producer, &self.client.board, list, member) {
                Ok(doubt) => in_doubt |= doubt,
                Err(attempt) => return attempt,
            }
        }
        if producer.in_flight_count() > 0 {
            self.hurried += 1;
        }
        match commit(producer) {
            Ok(doubt) => Attempt::Committed { in_doubt: in_doubt | doubt },
            Err(attempt) => attempt,
        }
    }

    fn abort(&mut self, recycle: bool, cause: Cause, stop: &CancellationToken) -> Result<Ended, Error> {
        self.aborted += 1;
        telemetry::TRANSACTIONS_ABORTED.with_label_values(&[self.component]).inc();
        let mut recycle = recycle;
        let mut retries = 0;
        while let Some(producer) = &self.producer {
            match producer.abort_transaction(CALL) {
                Ok(()) => break,
                Err(error) => match classify(&error) {
                    Class::Retriable | Class::Flush if retries == 0 => {
                        retries += 1;
                        recycle = true;
                    }
                    Class::Retriable | Class::Flush | Class::Abortable => {
                        recycle = true;
                        break;
                    }
                    // Nothing was ever opened there: not one partition was let in. A commit was not asked for, so nothing can be visible.
                    Class::Fatal if code(&error) == Some(RDKafkaErrorCode::InvalidTransactionalState) => {
                        recycle = true;
                        break;
                    }
                    Class::Fatal => return self.fatal(error, stop),
                },
            }
        }
        if recycle {
            self.recycle("the abort followed a refused or unanswered call", stop)?;
        }
        Ok(Ended::Aborted(cause))
    }

    /// Once it may be the broker's own transaction timeout, which looks the same as being fenced; twice it is not.
    fn fatal(&mut self, cause: KafkaError, stop: &CancellationToken) -> Result<Ended, Error> {
        let fatal = self.producer.as_ref().and_then(|producer| producer.client().fatal_error());
        let is_fenced = cause.rdkafka_error_code().is_some_and(is_fencing) || fatal.is_some_and(|(code, _)| is_fencing(code));
        self.fatals.retain(|(at, _)| at.elapsed() < AGAIN);
        let id = self.id.clone();
        // A right that was taken away says nothing about this producer: it is made again until the right is back.
        if code(&cause).is_some_and(is_missing_right) {
            let cause = self.client.board.cause(cause, Subject::TransactionalId(&id));
            self.recycle("a right is missing", stop)?;
            return Ok(Ended::Unknown(cause));
        }
        if is_fenced && self.fatals.iter().any(|(_, was_fenced)| *was_fenced) {
            return Err(Error::Fenced { id });
        }
        if self.fatals.len() >= PATIENCE {
            return Err(Error::Transaction { id, source: Cause::new(cause) });
        }
        self.fatals.push_back((Instant::now(), is_fenced));
        self.recycle("the producer ended", stop)?;
        Ok(Ended::Unknown(Cause::new(cause)))
    }

    fn recycle(&mut self, why: &'static str, stop: &CancellationToken) -> Result<(), Error> {
        tracing::info!(id = self.id, why, "recycling the transactional producer");
        self.recycled += 1;
        telemetry::PRODUCER_RECYCLES.with_label_values(&[self.component]).inc();
        // Dropped first: a producer that lives on could still send.
        self.producer = None;
        loop {
            match self.init(stop) {
                Err(Error::Refused(refusals)) => {
                    self.alive.iter().for_each(|alive| alive());
                    tracing::debug!(id = self.id, refusals = sentences(&refusals), "waiting for a right");
                    if !wait(&self.runtime, stop, REFUSED) {
                        return Err(Error::Stopped { what: "waiting for a right" });
                    }
                }
                other => return other,
            }
        }
    }

    fn init(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let config = settings(&self.client, &Role::Transactional { id: &self.id, queue: self.queue })?;
        let producer: Sender = config.create_with_context(Plain::of(&self.client)).map_err(|source| Error::Settings {
            what: format!("creating the producer `{}`", self.id),
            source: Cause::new(source).into(),
        })?;
        loop {
            let error = match producer.init_transactions(INIT) {
                Ok(()) => break,
                Err(error) => error,
            };
            let subject = Subject::TransactionalId(&self.id);
            let missing =
                code(&error).filter(|code| is_missing_right(*code)).and_then(|code| self.client.board.missing(code, subject));
            if let Some(refusal) = missing.or_else(|| self.client.board.connection()) {
                return Err(Error::Refused(vec![refusal]));
            }
            match classify(&error) {
                Class::Retriable | Class::Flush => {}
                Class::Abortable | Class::Fatal if error.rdkafka_error_code().is_some_and(is_fencing) => {
                    return Err(Error::Fenced { id: self.id.clone() });
                }
                Class::Abortable | Class::Fatal => {
                    return Err(Error::Transaction { id: self.id.clone(), source: Cause::new(error) });
                }
            }
            self.alive.iter().for_each(|alive| alive());
            tracing::warn!(%error, id = self.id, "waiting for the transaction coordinator");
            if !wait(&self.runtime, stop, Duration::from_millis(200)) {
                return Err(Error::Stopped { what: "waiting for the transaction coordinator" });
            }
        }
        self.client.board.works(Subject::TransactionalId(&self.id));
        self.producer = Some(producer);
        Ok(())
    }
}

/// Hands all records over in order and waits for the broker to have them.
fn send_all(producer: &Sender, runtime: &Handle, board: &Board, records: &[Outgoing], deadline: Instant) -> Result<(), Attempt> {
    let mut deliveries = VecDeque::with_capacity(records.len());
    for outgoing in records {
        let headers = headers(outgoing);
        let mut record = record(outgoing, headers);
        loop {
            match producer.send_result(record) {
                Ok(delivery) => {
                    deliveries.push_back((delivery, outgoing.topic.as_str()));
                    break;
                }
                // The same record again before any other, or its key would be reordered (P1).
                Err((error, back)) if is_queue_full(&error) && !deliveries.is_empty() => {
                    record = back;
                    if let Some((oldest, topic)) = deliveries.pop_front() {
                        delivered(runtime, board, oldest, topic, deadline)?;
                    }
                }
                Err((error, _)) => {
                    if code(&error) == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
                        refresh(producer, &outgoing.topic);
                    }
                    return Err(Attempt::Abort { recycle: false, cause: said(board, &outgoing.topic, error) });
                }
            }
        }
    }
    for (delivery, topic) in deliveries {
        delivered(runtime, board, delivery, topic, deadline)?;
    }
    Ok(())
}

fn delivered(runtime: &Handle, board: &Board, delivery: DeliveryFuture, topic: &str, deadline: Instant) -> Result<(), Attempt> {
    let subject = Subject::Topic(topic, Operation::Write);
    let outcome = runtime.block_on(async { tokio::time::timeout_at(deadline.into(), delivery).await });
    let cause = match outcome {
        Ok(Ok(Ok(_))) => {
            board.works(subject);
            return Ok(());
        }
        Ok(Ok(Err((error, _)))) => error,
        Ok(Err(_)) => KafkaError::Canceled,
        Err(_) => KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut),
    };
    Err(Attempt::Abort { recycle: false, cause: said(board, topic, cause) })
}

/// What the brokers do not take is never the record's fault: what is larger than anything they take was held back before. A topic's
/// `max.message.bytes` or its partitions were changed: that is named and waited for.
fn said(board: &Board, topic: &str, error: KafkaError) -> Cause {
    if error.rdkafka_error_code().is_some_and(is_unwritable) {
        return Cause::not_taken(topic, error);
    }
    board.cause(error, Subject::Topic(topic, Operation::Write))
}

/// Ok(true): it went through, but not at the first try or not in time, so a copy of the request may still be on its way.
fn send_offsets(
    producer: &Sender,
    board: &Board,
    list: &TopicPartitionList,
    member: &ConsumerGroupMetadata,
) -> Result<bool, Attempt> {
    let started = Instant::now();
    let mut retries = 0;
    loop {
        let left = CALL.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
        let error = match producer.send_offsets_to_transaction(list, member, left) {
            Ok(()) => return Ok(retries > 0 || is_slow(started)),
            Err(error) => error,
        };
        match classify(&error) {
            Class::Retriable if retries < 3 && started.elapsed() < CALL => retries += 1,
            Class::Retriable | Class::Abortable | Class::Flush => {
                // A group's right is missed by the board under the group's name, which the consumer knows.
                if let Some(code) = code(&error).filter(|code| is_missing_right(*code)) {
                    board.heard(Some(code), "sending offsets to a transaction");
                }
                return Err(Attempt::Abort { recycle: true, cause: board.cause(error, Subject::Cluster) });
            }
            Class::Fatal => return Err(Attempt::Fatal(error)),
        }
    }
}

/// Ok(true) as in [`send_offsets`].
fn commit(producer: &Sender) -> Result<bool, Attempt> {
    let started = Instant::now();
    let (mut flushes, mut retries) = (0, 0);
    loop {
        let left = COMMIT.saturating_sub(started.elapsed()).clamp(Duration::from_millis(1), CALL);
        let error = match producer.commit_transaction(left) {
            Ok(()) => return Ok(retries > 0 || is_slow(started)),
            Err(error) => error,
        };
        match classify(&error) {
            // rdkafka's own flush came too late, EndTxn was not sent: the only failure of a commit that may be aborted.
            Class::Flush if retries == 0 && flushes < 2 => flushes += 1,
            Class::Flush if retries == 0 => return Err(Attempt::Abort { recycle: true, cause: Cause::new(error) }),
            // Only the same call may follow an unanswered commit (P27).
            Class::Retriable if retries < 3 && started.elapsed() < COMMIT => retries += 1,
            Class::Flush | Class::Retriable | Class::Abortable => return Err(Attempt::Unknown(error)),
            Class::Fatal => return Err(Attempt::Fatal(error)),
        }
    }
}

/// The library hides a repeated request; what it cannot hide is the time: every retry waits at least 0.8 of the back-off.
fn is_slow(started: Instant) -> bool {
    started.elapsed() > TRANSACTION_RETRY_BACKOFF.mul_f64(0.7)
}

pub(crate) fn is_queue_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

/// The partition is explicit, and a missing payload is a tombstone said on purpose (P18).
pub(crate) fn record(outgoing: &Outgoing, headers: OwnedHeaders) -> FutureRecord<'_, str, [u8]> {
    let record = FutureRecord::to(&outgoing.topic).partition(outgoing.slot.0).key(outgoing.key.as_str()).headers(headers);
    match &outgoing.value {
        Some(value) => record.payload(value),
        None => record,
    }
}

pub(crate) fn headers(outgoing: &Outgoing) -> OwnedHeaders {
    outgoing.headers.iter().fold(OwnedHeaders::new_with_capacity(outgoing.headers.len()), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
