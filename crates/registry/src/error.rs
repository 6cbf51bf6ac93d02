//! What can go wrong between us and the registry.

/// Whether it heals by itself decides: [`Error::is_transient`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Unreachable, overloaded, broken, or another program answers: wait.
    #[error("schema registry: {what}: {detail}")]
    Unavailable { what: String, detail: String },
    /// The registry answers and does not have it.
    #[error("schema registry has no {what}")]
    NotFound { what: String },
    /// Denied so far, but not for long enough to call the records unreadable.
    #[error("schema registry has no schema {id}, asked {tries} times; its records wait")]
    Pending { id: i32, tries: u32 },
    #[error("schema is not compatible with subject `{subject}`: {}", .reasons.join("; "))]
    Incompatible { subject: String, reasons: Vec<String> },
    /// Wrong credentials, rights or certificates: somebody mends it; the sentence says how.
    #[error("schema registry denies {what}: {detail}")]
    Denied { what: String, detail: String },
    /// It understood and says no, or what we ask makes no sense.
    #[error("schema registry refuses {what}: {detail}")]
    Refused { what: String, detail: String },
    #[error("setting up the schema registry's client: {0}")]
    Setup(String),
}

impl Error {
    /// True: wait and try again; never a dead letter.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Error::Unavailable { .. } | Error::Pending { .. } | Error::Denied { .. } => true,
            Error::NotFound { .. } | Error::Incompatible { .. } | Error::Refused { .. } | Error::Setup(_) => false,
        }
    }

    /// Without what we sent: an answer may repeat it.
    pub(crate) fn scrubbed(self) -> Self {
        let clean = |text: String| telemetry::secret::scrub(&text).into_owned();
        match self {
            Error::Unavailable { what, detail } => Error::Unavailable { what, detail: clean(detail) },
            Error::Incompatible { subject, reasons } => {
                Error::Incompatible { subject, reasons: reasons.into_iter().map(clean).collect() }
            }
            Error::Denied { what, detail } => Error::Denied { what, detail: clean(detail) },
            Error::Refused { what, detail } => Error::Refused { what, detail: clean(detail) },
            other @ (Error::NotFound { .. } | Error::Pending { .. } | Error::Setup(_)) => other,
        }
    }

    /// Label of the metrics.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Error::Unavailable { .. } | Error::Pending { .. } => "unavailable",
            Error::NotFound { .. } => "not_found",
            Error::Incompatible { .. } => "incompatible",
            Error::Denied { .. } => "denied",
            Error::Refused { .. } | Error::Setup(_) => "refused",
        }
    }
}

impl From<Error> for model::Transient {
    /// For `Processor::prepare`: the caller keeps the batch and tries again.
    fn from(error: Error) -> Self {
        model::Transient { what: "registry", detail: error.to_string() }
    }
}
