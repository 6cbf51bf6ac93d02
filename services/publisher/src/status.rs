//! What the publisher says about its source: the record in topic `source`, once a minute and on change. A task of its own writes it,
//! so that a source that hangs, and a loop that waits for it, are still told.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kafka::{Client, Producer};
use model::{Outgoing, Slot, SourceState, SourceStatus, StreamStatus, Timestamp};
use service::CancellationToken;

use crate::writer::now;

const LOOK: Duration = Duration::from_millis(200);
const REPEAT: Duration = Duration::from_secs(60);
/// A trouble whose words change with every attempt is told this often at most.
const PAUSE: Duration = Duration::from_secs(5);
/// Of a reason, in bytes: what a source says is not ours to store at length.
const LONGEST: usize = 1024;

/// What the loop over the source last came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    state: SourceState,
    since: Timestamp,
    reason: Option<String>,
    next_at: Option<Timestamp>,
    read_at: Option<Timestamp>,
    streams: Vec<StreamStatus>,
    /// What the brokers refuse to this publisher: it reads, and cannot write.
    refused: Option<String>,
}

/// Shared by the loop and the task that speaks.
#[derive(Debug)]
pub(crate) struct Board {
    seen: Mutex<Seen>,
}

impl Board {
    pub(crate) fn new(streams: Vec<StreamStatus>) -> Self {
        Self { seen: Mutex::new(Seen { since: now(), streams, ..Seen::default() }) }
    }

    /// The source was read to its end.
    pub(crate) fn read(&self, streams: Vec<StreamStatus>) {
        self.post(|seen, now| {
            seen.turn(SourceState::Ok, now);
            (seen.reason, seen.next_at, seen.read_at, seen.streams) = (None, None, Some(now), streams);
        });
    }

    /// It could not be, and is asked again then.
    pub(crate) fn failed(&self, reason: &str, next_at: Option<Timestamp>) {
        self.post(|seen, now| {
            seen.turn(SourceState::Unavailable, now);
            (seen.reason, seen.next_at) = (Some(clipped(reason)), next_at);
        });
    }

    fn post(&self, change: impl FnOnce(&mut Seen, Timestamp)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner), now());
    }

    fn look(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    fn turn(&mut self, state: SourceState, now: Timestamp) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }

    /// Whether people must hear of this, after what they last heard.
    fn is_news(&self, told: Option<&(Seen, Timestamp)>, now: Timestamp) -> bool {
        let Some((before, at)) = told else { return true };
        let quiet = now.since(*at);
        self.state != before.state
            || self.refused != before.refused
            || quiet >= REPEAT
            || (self.reason != before.reason && quiet >= PAUSE)
    }
}

fn clipped(text: &str) -> String {
    model::clip(&text.split_whitespace().collect::<Vec<_>>().join(" "), LONGEST)
}

/// Writes what the board says.
pub(crate) struct Speaker {
    pub(crate) source: String,
    pub(crate) policy_version: String,
    pub(crate) topic: String,
    pub(crate) codec: avro::Writer,
    pub(crate) client: Client,
    pub(crate) producer: Producer,
}

impl Speaker {
    /// Speaks until `stop`.
    pub(crate) async fn run(self, board: Arc<Board>, stop: CancellationToken) {
        let mut told: Option<(Seen, Timestamp)> = None;
        while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
            let refused = self.client.refusals().first().map(ToString::to_string);
            let (seen, now) = (Seen { refused, ..board.look() }, now());
            if seen.is_news(told.as_ref(), now) && self.tell(&seen, now).await {
                told = Some((seen, now));
            }
        }
    }

    async fn tell(&self, seen: &Seen, now: Timestamp) -> bool {
        let reasons: Vec<String> = seen.reason.iter().chain(&seen.refused).cloned().collect();
        let status = SourceStatus {
            source: self.source.clone(),
            state: seen.state,
            since: seen.since,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            next_at: seen.next_at,
            read_at: seen.read_at,
            streams: seen.streams.clone(),
            policy_version: self.policy_version.clone(),
            at: now,
        };
        let value = match self.codec.encode(&status) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::error!(source = self.source, %error, "encoding the source's state");
                return false;
            }
        };
        let (topic, key) = (self.topic.clone(), self.source.clone());
        match self.producer.send(&Outgoing { topic, slot: Slot(0), key, value, headers: Vec::new() }).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(source = self.source, %error, "writing the source's state");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_change_of_state_is_told_at_once_other_words_a_little_later_and_all_once_a_minute() {
        let ok = Seen { state: SourceState::Ok, ..Seen::default() };
        let failed = |reason: &str| Seen { state: SourceState::Unavailable, reason: Some(reason.to_owned()), ..Seen::default() };
        let told = Some((failed("401"), at(0)));
        assert!(ok.is_news(None, at(0)));
        assert!(ok.is_news(told.as_ref(), at(0)));
        assert!(!failed("401").is_news(told.as_ref(), at(59)));
        assert!(failed("401").is_news(told.as_ref(), at(60)));
        assert!(!failed("404").is_news(told.as_ref(), at(4)));
        assert!(failed("404").is_news(told.as_ref(), at(5)));
        let denied = Seen { refused: Some("may not write".to_owned()), ..failed("401") };
        assert!(denied.is_news(told.as_ref(), at(1)));
    }

    #[test]
    fn a_state_keeps_its_beginning_and_a_reason_is_one_short_line() {
        let board = Board::new(Vec::new());
        board.failed("it answers 401\n<html>", None);
        let since = board.look().since;
        board.failed(&"é".repeat(5_000), Some(at(9)));
        let seen = board.look();
        assert_eq!((seen.since, seen.next_at), (since, Some(at(9))));
        assert!(seen.reason.is_some_and(|reason| reason.len() <= LONGEST));
        board.read(Vec::new());
        let seen = board.look();
        assert_eq!((seen.state, seen.reason, seen.next_at), (SourceState::Ok, None, None));
        assert!(seen.read_at.is_some());
        board.failed("it answers 401\n<html>", None);
        assert_eq!(board.look().reason.as_deref(), Some("it answers 401 <html>"));
    }
}
