//! What a destination's answer means: seven classes, whatever the protocol (delivery.md 5.2). A connector maps to them.

use std::time::Duration;

use model::{LetterClass, Topical};

/// Whose turn it is after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AnswerClass {
    /// The destination says it applied the revision, now or before.
    Accepted,
    /// The destination holds a higher revision already.
    HasNewer,
    /// Its transport took it; whether it was applied is still open.
    Delivered,
    /// The destination cannot serve anybody: refused, name or TLS trouble, our credentials. No attempt of the record is counted.
    Destination,
    /// It asks to slow down. No attempt is counted.
    Throttled,
    /// It may work later and may be the record's fault: a timeout after sending, a 500. An attempt is counted.
    Retryable,
    /// It will say no to these bytes every time.
    Permanent,
}

impl AnswerClass {
    pub const ALL: [AnswerClass; 7] = [
        AnswerClass::Accepted,
        AnswerClass::HasNewer,
        AnswerClass::Delivered,
        AnswerClass::Destination,
        AnswerClass::Throttled,
        AnswerClass::Retryable,
        AnswerClass::Permanent,
    ];

    /// The label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AnswerClass::Accepted => "accepted",
            AnswerClass::HasNewer => "has_newer",
            AnswerClass::Delivered => "delivered",
            AnswerClass::Destination => "destination",
            AnswerClass::Throttled => "throttled",
            AnswerClass::Retryable => "retryable",
            AnswerClass::Permanent => "permanent",
        }
    }

    /// True where the answer proves that the destination serves requests, whatever it thinks of this one.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        match self {
            AnswerClass::Accepted
            | AnswerClass::HasNewer
            | AnswerClass::Delivered
            | AnswerClass::Throttled
            | AnswerClass::Permanent => true,
            AnswerClass::Destination | AnswerClass::Retryable => false,
        }
    }
}

/// A destination's answer to one call, in the words of the house.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub class: AnswerClass,
    /// Protocol code such as `201`; none where there was no answer.
    pub code: Option<String>,
    /// Scrubbed, at most 1 KiB.
    pub text: Option<String>,
    /// The destination's own reference (Location, staging row id).
    pub reference: Option<String>,
    /// The record's number there.
    pub external_id: Option<String>,
    /// The revision that the destination says it holds.
    pub revision_there: Option<i64>,
    pub retry_after: Option<Duration>,
    /// `deactivated` where a destination cannot delete.
    pub note: Option<String>,
    /// Present for every class but accepted, has newer and delivered.
    pub problem: Option<Problem>,
    /// A refusal because something is missing there.
    pub absence: Option<Absence>,
}

/// The record that a destination misses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    pub record: Topical,
    /// How long it is waited for.
    pub hold: Duration,
    /// The destination accepted it already, as far as is known here: a wait for it would have no end.
    pub is_there: bool,
}

impl Answer {
    /// An answer of which nothing but its class is known.
    #[must_use]
    pub const fn bare(class: AnswerClass) -> Self {
        Self {
            class,
            code: None,
            text: None,
            reference: None,
            external_id: None,
            revision_there: None,
            retry_after: None,
            note: None,
            problem: None,
            absence: None,
        }
    }

    /// A no to these bytes, decided on our side before any call (a mapping error).
    #[must_use]
    pub fn permanent(problem: Problem) -> Self {
        Self { problem: Some(problem), ..Self::bare(AnswerClass::Permanent) }
    }
}

/// What is wrong, for a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub class: LetterClass,
    /// From a closed list, each with a page in docs/errors.
    pub code: String,
    pub field: Option<String>,
    pub observed: Option<String>,
    /// One sentence, scrubbed, at most 1 KiB.
    pub message: String,
}
