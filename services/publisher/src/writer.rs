//! Makes batches durable: changes, letters and cursor entries in one transaction.
//!
//! A transaction that aborted is written again. One whose end is unknown is looked up in the cursor topic, read to its uncommitted
//! end: there are its entries, or there are not, and then it is written again. Only another publisher of the same source ends this.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use avro::DecodeError;
use kafka::{Client, TransactError, Transactor};
use model::{Cursor, Domain, Outgoing, Slot, Timestamp};
use registry::Registry;
use service::{Exit, Health, Traces};

use crate::{
    backoff::Waiting,
    capture::{Batch, Tally},
    memory::Memory,
};

/// Shortest and longest pause before a transaction is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
const PART: &str = "kafka";
const BEAT: Duration = Duration::from_secs(5);

/// Why bytes are no record, or none yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecoded {
    /// The registry does not tell their schema now.
    #[error("{0}")]
    Schema(String),
    #[error("{0}")]
    Unreadable(String),
}

/// The one writer of a source.
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) group: String,
    pub(crate) cursor_topic: String,
    pub(crate) codec: avro::Writer,
    pub(crate) reader: avro::Reader,
    pub(crate) registry: Arc<Registry>,
    pub(crate) health: Health,
    pub(crate) transactor: Transactor,
    /// What the source was captured under; a higher one in the cursor ends the start.
    pub(crate) epoch: i64,
    pub(crate) traces: Traces,
}

impl Writer {
    /// Returns once the batch is durable.
    ///
    /// # Errors
    /// When another instance took over this source, or the batch can never be written.
    pub(crate) async fn commit(&mut self, batch: Batch) -> Result<(), Exit> {
        if batch.is_empty() {
            count(batch.tally, None);
            return Ok(());
        }
        let mut records = batch.records;
        for (key, cursor) in &batch.cursor {
            records.push(self.outgoing(key, cursor.as_ref())?);
        }
        let mut pause = PAUSES.0;
        loop {
            let committed = alive(&self.health, self.transactor.commit(records.clone())).await;
            let trouble = match committed {
                Ok(()) => break,
                Err(TransactError::Fenced { id }) => {
                    return Err(Exit::again(anyhow::anyhow!("another publisher of this source took over `{id}`")));
                }
                Err(TransactError::Fatal(error)) => return Err(Exit::died(error)),
                Err(unknown @ TransactError::Unknown(_)) => match self.look_up(&batch.cursor, &batch.before).await {
                    Outcome::Durable => break,
                    Outcome::Absent => unknown,
                    Outcome::Foreign => return Err(Exit::again(anyhow::anyhow!("{FOREIGN}"))),
                },
                Err(aborted @ TransactError::Aborted(_)) => aborted,
            };
            let error = format!("{:#}", anyhow::Error::new(trouble));
            tracing::warn!(%error, records = records.len(), "writing again");
            let letters = batch.tally.letters.len() as u64;
            telemetry::DEAD_LETTER_WRITE_FAILURES.with_label_values(&["capture", ""]).inc_by(letters);
            self.health.not_ready(PART, error);
            self.health.tick();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        self.health.ready(PART);
        self.health.tick();
        for span in batch.spans {
            self.traces.end(span);
        }
        count(batch.tally, Some(now()));
        Ok(())
    }

    /// Fills the memory from the cursor topic.
    ///
    /// # Errors
    /// Text for `/readyz` while the topic or its schemas cannot be read.
    pub(crate) async fn restore(&self, memory: &mut Memory) -> Result<(), String> {
        let mut highest = 0;
        for (key, cursor) in self.cursors().await? {
            highest = highest.max(memory.restore(&key, cursor));
        }
        if highest > self.epoch {
            return Err(format!("{EPOCH_BEHIND}{highest}"));
        }
        Ok(())
    }

    /// What became of a transaction without answer.
    async fn look_up(&self, entries: &Entries, before: &Entries) -> Outcome {
        let mut pause = PAUSES.0;
        loop {
            match self.cursors().await {
                Ok(cursors) => {
                    let mut newest: HashMap<String, Option<Cursor>> = HashMap::new();
                    newest.extend(cursors);
                    return judge(&newest, entries, before);
                }
                Err(error) => {
                    tracing::warn!(%error, "reading the cursor back");
                    self.health.not_ready(PART, error);
                    self.health.tick();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    async fn cursors(&self) -> Result<Vec<(String, Option<Cursor>)>, String> {
        let told = |error: anyhow::Error| format!("{error:#}");
        let records = kafka::read_all(&self.client, &self.group, &self.cursor_topic, None)
            .await
            .map_err(|error| told(anyhow::Error::new(error)))?;
        let values = records.iter().filter_map(|record| record.value.as_deref());
        self.registry.prepare(&self.reader, values).await.map_err(|error| told(anyhow::Error::new(error)))?;
        let mut cursors = Vec::with_capacity(records.len());
        for record in records {
            let Some(key) = record.key_text() else { continue };
            let cursor = match &record.value {
                None => None,
                Some(value) => Some(self.decode::<Cursor>(value).await.map_err(|error| error.to_string())?),
            };
            cursors.push((key.to_owned(), cursor));
        }
        Ok(cursors)
    }

    /// Decodes with any released schema.
    pub(crate) async fn decode<T: avro::Wire>(&self, value: &[u8]) -> Result<T, Undecoded> {
        loop {
            match self.reader.decode::<T>(value) {
                Ok(record) => return Ok(record),
                Err(DecodeError::NeedSchema(id)) => {
                    let taught = self.registry.teach(&self.reader, id).await;
                    taught.map_err(|error| Undecoded::Schema(format!("{:#}", anyhow::Error::new(error))))?;
                }
                Err(error @ DecodeError::Unreadable { .. }) => return Err(Undecoded::Unreadable(error.to_string())),
            }
        }
    }

    fn outgoing(&self, key: &str, cursor: Option<&Cursor>) -> Result<Outgoing, Exit> {
        let value = cursor.map(|cursor| self.codec.encode(cursor)).transpose().map_err(Exit::died)?;
        Ok(Outgoing { topic: self.cursor_topic.clone(), slot: Slot(0), key: key.to_owned(), value, headers: Vec::new() })
    }
}

/// Waits for something that may wait for somebody to mend a right: whoever waits is alive.
async fn alive<T>(health: &Health, waited: impl Future<Output = T>) -> T {
    let mut waited = std::pin::pin!(waited);
    loop {
        match tokio::time::timeout(BEAT, &mut waited).await {
            Ok(done) => return done,
            Err(_) => health.tick(),
        }
    }
}

const FOREIGN: &str = "another publisher of this source wrote meanwhile; its memory must be read again";

type Entries = BTreeMap<String, Option<Cursor>>;

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Durable,
    /// Nothing of it: write it again.
    Absent,
    /// Neither this batch nor what was there before it: our memory is not the topic's.
    Foreign,
}

fn judge(newest: &HashMap<String, Option<Cursor>>, entries: &Entries, before: &Entries) -> Outcome {
    // An epoch that was raised since is no other content.
    let same = |found: &Option<Cursor>, wanted: &Option<Cursor>| match (found, wanted) {
        (Some(found), Some(wanted)) => (&found.position, &found.sent) == (&wanted.position, &wanted.sent),
        (None, None) => true,
        (None, Some(_)) | (Some(_), None) => false,
    };
    let all = |wanted: &Entries| wanted.iter().all(|(key, wanted)| same(&newest.get(key).cloned().flatten(), wanted));
    if all(entries) {
        Outcome::Durable
    } else if all(before) {
        Outcome::Absent
    } else {
        Outcome::Foreign
    }
}

/// Begins the reason of a start that no waiting heals.
pub(crate) const EPOCH_BEHIND: &str = "the source was captured under epoch ";

/// The clock of this process.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

/// What may happen here, at zero, so that its first time is an increase. A source that has never answered was last heard when its
/// publisher began.
pub(crate) fn zeros(source: &str, domains: impl Iterator<Item = Domain>) {
    telemetry::SOURCE_LAST_SUCCESS.with_label_values(&[source]).set(now().since(Timestamp::from_micros(0)).as_secs_f64());
    telemetry::DEAD_LETTER_WRITE_FAILURES.with_label_values(&["capture", ""]);
    for domain in domains {
        for outcome in ["ok", "duplicate", "echo", "dead_lettered"] {
            telemetry::RECORDS.with_label_values(&[domain.name(), "capture", "", outcome]);
        }
    }
}

fn count(tally: Tally, durable_at: Option<Timestamp>) {
    for ((domain, outcome), rows) in tally.outcomes {
        telemetry::RECORDS.with_label_values(&[domain, "capture", "", outcome]).inc_by(rows);
    }
    for (domain, class, code) in tally.letters {
        telemetry::DEAD_LETTERS_WRITTEN.with_label_values(&["capture", "", domain, class, code.as_str()]).inc();
    }
    if let Some(durable_at) = durable_at {
        for (domain, captured_at) in tally.captured {
            let took = durable_at.since(captured_at).as_secs_f64();
            telemetry::STAGE_SECONDS.with_label_values(&[domain, "capture"]).observe(took);
        }
    }
}

/// Logs a trouble of the source once, and again only when it changed or a minute passed; says how many were left out.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    last: Option<(String, Instant)>,
    left_out: u32,
}

impl Complaint {
    pub(crate) fn tell(&mut self, source: &str, trouble: &str, waiting: Option<&Waiting>) {
        let is_known = self.last.as_ref().is_some_and(|(last, at)| last == trouble && at.elapsed() < Duration::from_secs(60));
        if is_known {
            self.left_out += 1;
            return;
        }
        let (failures, next) = waiting.map_or((1, None), |waiting| (waiting.failures, Some(waiting.until.to_string())));
        let since = waiting.map(|waiting| waiting.since.to_string());
        tracing::warn!(
            source,
            error = trouble,
            left_out = self.left_out,
            failures,
            since,
            next,
            "the source is not available; waiting for it"
        );
        self.last = Some((trouble.to_owned(), Instant::now()));
        self.left_out = 0;
    }

    /// The source answers again.
    pub(crate) fn settle(&mut self, source: &str) {
        if self.last.take().is_some() {
            tracing::info!(source, left_out = self.left_out, "the source is available again");
            self.left_out = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, Option<&str>)]) -> Entries {
        list.iter().map(|(key, text)| ((*key).to_owned(), text.map(cursor))).collect()
    }

    fn cursor(text: &str) -> Cursor {
        Cursor { position: Some(text.to_owned()), sent: None, epoch: 1 }
    }

    #[test]
    fn a_transaction_without_answer_is_there_or_not_or_somebody_else_wrote() {
        let before = entries(&[("a", Some("1")), ("b", None)]);
        let batch = entries(&[("a", Some("2")), ("b", Some("2"))]);
        for (found, outcome) in [
            (entries(&[("a", Some("2")), ("b", Some("2")), ("c", Some("9"))]), Outcome::Durable),
            (entries(&[("a", Some("1"))]), Outcome::Absent),
            (entries(&[("a", Some("1")), ("b", None)]), Outcome::Absent),
            (entries(&[("a", Some("3")), ("b", Some("3"))]), Outcome::Foreign),
            (entries(&[]), Outcome::Foreign),
        ] {
            assert_eq!(judge(&found.clone().into_iter().collect(), &batch, &before), outcome, "{found:?}");
        }
    }
}
