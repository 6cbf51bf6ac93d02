//! Errors of the talker, with the class that decides what happens next (kafka.md 6.5).

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::refusal::{Refusal, sentences};

/// What this crate answers when it cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting, a file of the security settings or a wrong build: nothing that waiting would heal.
    #[error("{what}")]
    Settings { what: String, source: Box<dyn StdError + Send + Sync> },
    #[error("reading `{path}`")]
    File { path: PathBuf, source: std::io::Error },
    /// The cluster, or a topic, does not answer.
    #[error("{what}")]
    Unreachable { what: String, source: Cause },
    /// Security stands in the way: a person mends it, nothing else does, and nothing is lost meanwhile.
    #[error("{}", sentences(.0))]
    Refused(Vec<Refusal>),
    #[error("topic `{0}` does not exist")]
    MissingTopic(String),
    /// All that a service looked for and did not find.
    #[error("missing: {}; `millrace topics apply` creates topics", .0.join(", "))]
    MissingTopics(Vec<String>),
    /// A record that was written did not arrive; whether it stands in the log is unknown unless the producer is transactional.
    #[error("writing to `{topic}`")]
    Delivery { topic: String, source: Cause },
    /// The record is larger than any broker takes, or has a partition that does not exist.
    #[error("record `{key}` cannot be written to `{topic}`")]
    Unwritable { topic: String, key: String, source: Cause },
    /// Another instance owns this identity: exit 75.
    #[error("another instance took over `{id}`")]
    Fenced { id: String },
    #[error("transaction of `{id}`")]
    Transaction { id: String, source: Cause },
    /// Retention overtook a committed offset: records were lost, the sources must be resynced.
    #[error("the committed offset of `{group}` is no longer in the log; resync the sources, then reset the group's offsets")]
    OffsetLost { group: String, source: Cause },
    #[error("consumer of group `{group}`")]
    Consumer { group: String, source: Cause },
    /// The processor cannot go on.
    #[error("processing a batch")]
    Processor { source: Fatal },
    /// The processor broke its contract (one outcome per record, outgoing records of owned slots only).
    #[error("processor: {0}")]
    Broken(String),
    /// The thread behind this call ended, or the service is stopping.
    #[error("{what}: stopped")]
    Stopped { what: &'static str },
}

impl Error {
    /// True where trying again later may succeed without anybody's help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Refused(_)
            | Self::MissingTopic(_)
            | Self::MissingTopics(_)
            | Self::Delivery { .. } => true,
            Self::Settings { .. }
            | Self::File { .. }
            | Self::Unwritable { .. }
            | Self::Fenced { .. }
            | Self::Transaction { .. }
            | Self::OffsetLost { .. }
            | Self::Consumer { .. }
            | Self::Processor { .. }
            | Self::Broken(_)
            | Self::Stopped { .. } => false,
        }
    }

    /// True when another instance owns the identity of this one: exit 75.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        match self {
            Self::Fenced { .. } => true,
            Self::Consumer { source, .. } => source.is_fenced(),
            _ => false,
        }
    }

    pub(crate) fn unreachable(what: impl Into<String>, source: KafkaError) -> Self {
        Self::Unreachable { what: what.into(), source: Cause::new(source) }
    }
}

/// Why the processor cannot go on: its own fault or a lost identity, never the record's.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Fatal(Box<dyn StdError + Send + Sync>);

impl Fatal {
    /// Takes an error or a text.
    pub fn new(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// How a transaction of a [`crate::Transactor`] ended, when it did not commit.
#[derive(Debug, thiserror::Error)]
pub enum TransactError {
    /// Nothing of it is visible, now or later: do it again, after a pause.
    #[error("transaction aborted")]
    Aborted(#[source] Cause),
    /// It may have been committed: read the state back before anything else.
    #[error("outcome of the transaction is unknown")]
    Unknown(#[source] Cause),
    /// Another instance owns the transactional id: exit 75.
    #[error("another instance took over `{id}`")]
    Fenced { id: String },
    /// No retry helps.
    #[error(transparent)]
    Fatal(Error),
}

/// What the client library said, or what that means. Boxed: it would make every result of this crate large.
pub struct Cause(Said);

enum Said {
    Library(Box<KafkaError>),
    /// A topic that does not take a record which it should.
    NotTaken(String, Box<KafkaError>),
    Refused(Box<Refusal>),
}

impl Cause {
    pub(crate) fn new(error: KafkaError) -> Self {
        Self(Said::Library(Box::new(error)))
    }

    pub(crate) fn not_taken(topic: &str, error: KafkaError) -> Self {
        Self(Said::NotTaken(topic.to_owned(), Box::new(error)))
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self(Said::Refused(Box::new(refusal)))
    }

    pub(crate) fn is_fenced(&self) -> bool {
        match &self.0 {
            Said::Library(error) => error.rdkafka_error_code().is_some_and(is_fencing),
            Said::NotTaken(..) | Said::Refused(_) => false,
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Said::Library(error) => fmt::Debug::fmt(error, f),
            Said::NotTaken(topic, error) => write!(f, "{topic}: {error:?}"),
            Said::Refused(refusal) => fmt::Debug::fmt(refusal, f),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // rdkafka's chain repeats the code inside its own text, so this one has no source.
            Said::Library(error) => fmt::Display::fmt(error, f),
            Said::NotTaken(topic, error) => write!(
                f,
                "topic {topic} does not take a record that it should take: {error}; its max.message.bytes must be at least {}, its \
                 partitions must not change",
                crate::topics::TAKEN_BYTES
            ),
            Said::Refused(refusal) => fmt::Display::fmt(refusal, f),
        }
    }
}

impl StdError for Cause {}

/// What a failed call of a transaction means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// rdkafka's own flush failed: EndTxn was not sent (P4).
    Flush,
    /// The same call, again.
    Retriable,
    /// This transaction cannot commit.
    Abortable,
    /// This producer cannot go on.
    Fatal,
}

/// The order of tests matters: a fatal error may carry other flags too.
pub(crate) fn classify(error: &KafkaError) -> Class {
    match error {
        KafkaError::Flush(_) => Class::Flush,
        KafkaError::Transaction(e) if e.is_fatal() => Class::Fatal,
        KafkaError::Transaction(e) if e.txn_requires_abort() => Class::Abortable,
        KafkaError::Transaction(e) if e.is_retriable() => Class::Retriable,
        _ => Class::Fatal,
    }
}

/// Codes that say: somebody else has this identity now.
pub(crate) fn is_fencing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::FencedInstanceId
    )
}

/// Codes of a send that no retry heals.
pub(crate) fn is_unwritable(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::UnknownPartition)
}
