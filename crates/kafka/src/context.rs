//! What every client shares: its log lines in ours, its bursts of errors held back.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use telemetry::secret;

use crate::Client;
use crate::board::Board;
use crate::refusal::is_missing_right;

const EVERY: Duration = Duration::from_secs(10);

/// Lets one message through in ten seconds, with the number of those left out.
#[derive(Default)]
pub(crate) struct Damper(Mutex<(Option<Instant>, u64)>);

impl Damper {
    /// The number left out since the last one, when it is time to speak.
    pub(crate) fn speak(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.0.is_some_and(|last| last.elapsed() < EVERY) {
            state.1 += 1;
            return None;
        }
        let left_out = std::mem::take(&mut state.1);
        state.0 = Some(Instant::now());
        Some(left_out)
    }
}

/// Log lines and errors of one librdkafka handle.
#[derive(Default)]
pub(crate) struct Voice {
    lines: Damper,
    errors: Damper,
    board: Arc<Board>,
    /// What it would say is in the answer of whoever asks.
    quiet: bool,
}

/// A context whose client has a board.
pub(crate) trait Watched {
    /// Whether events may be taken from the handle at any time: never where they belong to a loop.
    const DRAINS: bool;

    fn board(&self) -> &Board;
}

impl Voice {
    pub(crate) fn of(client: &Client) -> Self {
        Self { board: Arc::clone(&client.board), ..Self::default() }
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // Text from outside: a broker may repeat what we sent.
        let line = &*secret::scrub(line);
        self.board.logged(facility, line);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                // The board says it once, with what to do.
                if self.quiet || line.contains("AUTHORIZATION_FAILED") {
                    tracing::debug!(target: "librdkafka", facility, "{line}");
                } else if let Some(left_out) = self.lines.speak() {
                    tracing::warn!(target: "librdkafka", facility, left_out, "{line}");
                }
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, "{line}");
            }
        }
    }

    /// Transport errors come in bursts while brokers restart (C23): they heal, or the health probe speaks.
    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let reason = &*secret::scrub(reason);
        self.board.heard(code, reason);
        let is_news = !matches!(error, KafkaError::Global(RDKafkaErrorCode::PartitionEOF)) && !code.is_some_and(is_missing_right);
        if self.quiet || !is_news {
            tracing::debug!(target: "librdkafka", %error, "{reason}");
            return;
        }
        if let Some(left_out) = self.errors.speak() {
            tracing::warn!(target: "librdkafka", %error, left_out, "{reason}");
        }
    }
}

/// The context of every client that is not a group member.
pub(crate) struct Plain(Voice);

impl Plain {
    pub(crate) fn of(client: &Client) -> Self {
        Self(Voice::of(client))
    }

    /// Of a handle that asks one question: its log would follow the answer.
    pub(crate) fn asking(client: &Client) -> Self {
        Self(Voice { quiet: true, ..Voice::of(client) })
    }
}

impl Watched for Plain {
    const DRAINS: bool = true;

    fn board(&self) -> &Board {
        self.0.board()
    }
}

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log(level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Plain {}
