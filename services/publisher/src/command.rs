//! `command.<source>`: capture a source key again.
//!
//! A command that names a letter maps the letter's row anew, unless a later good row of that key came. One without a letter, or
//! about a whole file, lets the next pass read everything again and send that key whatever was sent before.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use connect::{csv, http_poll};
use kafka::{FollowConfig, Followed, Follower, Record, Start};
use landscape::Input;
use model::{Act, Command, DeadLetter, LetterId, Slot, Stage, Transient};
use service::{CancellationToken, Exit};
use telemetry::trace::{TRACEPARENT, TraceContext};
use tokio::sync::mpsc;

use crate::{
    capture::{Capture, Pass},
    files::{Files, Trouble},
    memory::NOTICE,
    poll,
    position::{self, CommandPosition, FilesPosition},
    queue::Queue,
    writer::{Undecoded, Writer, now},
};

const PART: &str = "commands";
/// Between two attempts at commands that wait.
const PAUSE: Duration = Duration::from_secs(1);

/// The commands of one source.
pub(crate) struct Commands {
    records: mpsc::Receiver<Followed>,
    dlq_topic: String,
    slots: u32,
    queue: Queue,
    tried: Instant,
    /// Why the last one waits, so that it is said once.
    told: Option<String>,
}

impl Commands {
    /// Follows the topic from where the memory says.
    pub(crate) fn follow(
        writer: &Writer,
        topics: &avro::Topics,
        capture: &Capture,
        slots: u32,
        stop: CancellationToken,
    ) -> Result<Self, Exit> {
        let source = &capture.source().name;
        let done: CommandPosition = position::read(capture.memory.commands());
        let start = if done.is_empty() { Start::Beginning } else { Start::Offsets(done.clone()) };
        let config = FollowConfig {
            client: writer.client.clone(),
            group: writer.group.clone(),
            topics: vec![(topics.command(source), start)],
        };
        let records = Follower::spawn(config, stop).map_err(Exit::died)?;
        Ok(Self { records, dlq_topic: topics.dlq(source), slots, queue: Queue::new(done), tried: Instant::now(), told: None })
    }

    /// The next command, as a record. Never answers once the follower has ended, or while too many wait.
    pub(crate) async fn next(&mut self) -> Record {
        if self.queue.is_full() {
            return std::future::pending().await;
        }
        loop {
            match self.records.recv().await {
                Some(Followed::Record(record)) => return record,
                Some(Followed::CaughtUp) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Does what the command says; durable with the position behind it. What it needs and cannot have now is waited for.
    pub(crate) async fn obey(
        &mut self,
        record: Record,
        capture: &mut Capture,
        writer: &mut Writer,
        files: Option<&mut Files>,
    ) -> Result<(), Exit> {
        match self.queue.arrive(record) {
            Some(record) => self.try_all(vec![record], capture, writer, files).await,
            None => Ok(()),
        }
    }

    /// Tries the commands that wait, now and then.
    pub(crate) async fn try_again(
        &mut self,
        capture: &mut Capture,
        writer: &mut Writer,
        files: Option<&mut Files>,
    ) -> Result<(), Exit> {
        if self.queue.is_empty() || self.tried.elapsed() < PAUSE {
            return Ok(());
        }
        self.tried = Instant::now();
        let records = self.queue.take();
        self.try_all(records, capture, writer, files).await
    }

    async fn try_all(
        &mut self,
        records: Vec<Record>,
        capture: &mut Capture,
        writer: &mut Writer,
        mut files: Option<&mut Files>,
    ) -> Result<(), Exit> {
        let mut records = VecDeque::from(records);
        while let Some(record) = records.pop_front() {
            match self.act(&record, capture, writer, files.as_deref_mut()).await {
                Ok(()) => {}
                Err(Trouble::Exit(exit)) => return Err(exit),
                Err(Trouble::Source(trouble)) => {
                    if self.told.replace(trouble.to_string()).as_deref() != self.told.as_deref() {
                        tracing::warn!(error = %trouble, offset = record.offset, "a command waits");
                    }
                    writer.health.not_ready(PART, format!("a command waits: {trouble}"));
                    self.queue.wait(record);
                }
            }
            capture.move_commands(position::write(&self.queue.position(records.make_contiguous())));
            writer.commit(capture.batch()).await?;
        }
        if self.queue.is_empty() {
            self.told = None;
            writer.health.ready(PART);
        }
        Ok(())
    }

    async fn act(
        &self,
        record: &Record,
        capture: &mut Capture,
        writer: &mut Writer,
        files: Option<&mut Files>,
    ) -> Result<(), Trouble> {
        let Some(value) = &record.value else { return Ok(()) };
        let command = match writer.decode::<Command>(value).await {
            Ok(command) => command,
            Err(Undecoded::Schema(detail)) => return Err(Trouble::Source(Transient { what: "registry", detail })),
            Err(error @ Undecoded::Unreadable(_)) => {
                tracing::error!(%error, offset = record.offset, "a command cannot be read and is passed over");
                return Ok(());
            }
        };
        if command.act != Act::Capture || command.stage == Stage::Deliver {
            return Ok(());
        }
        capture.cause = record.header(TRACEPARENT).and_then(TraceContext::parse);
        let captured = self.capture(&command, capture, writer, files).await;
        capture.cause = None;
        captured
    }

    async fn capture(
        &self,
        command: &Command,
        capture: &mut Capture,
        writer: &Writer,
        files: Option<&mut Files>,
    ) -> Result<(), Trouble> {
        let Some(source_key) = &command.source_key else {
            tracing::warn!(command = %command.command_id, "a capture command without source key is passed over");
            return Ok(());
        };
        let Some(letter) = &command.letter else {
            for stream in streams_of(command, capture) {
                capture.send_again(stream, source_key);
                read_all_again(stream, capture);
            }
            return Ok(());
        };
        let found = streams_of(command, capture).into_iter().find_map(|stream| {
            let keys = [source_key.clone(), format!("{NOTICE}{source_key}")];
            keys.into_iter().find(|key| capture.memory.letter(stream, key).as_ref() == Some(letter)).map(|key| (stream, key))
        });
        let Some((stream, known_as)) = found else {
            tracing::info!(%letter, "a later row of that key came; the letter is not captured again");
            return Ok(());
        };
        if known_as.starts_with(NOTICE) && !source_key.starts_with("row:") {
            capture.forget_notice(stream, &known_as);
            read_all_again(stream, capture);
            return Ok(());
        }
        match self.find(letter, command, source_key, writer).await? {
            // The row that counts is another one: only the whole file tells whether there still are two.
            Some(letter) if letter.code == "KEY_TWICE" => {
                capture.forget_notice(stream, &known_as);
                read_all_again(stream, capture);
                Ok(())
            }
            Some(letter) => map_again(stream, &known_as, &letter, capture, files),
            None => {
                tracing::warn!(%letter, "the letter is no longer in the topic; the whole source is read again");
                capture.send_again(stream, source_key);
                read_all_again(stream, capture);
                Ok(())
            }
        }
    }

    /// The letter's bytes, from the slot that its key has.
    async fn find(
        &self,
        id: &LetterId,
        command: &Command,
        source_key: &str,
        writer: &Writer,
    ) -> Result<Option<DeadLetter>, Trouble> {
        let away = |what: &'static str, detail: String| Trouble::Source(Transient { what, detail });
        let slot = command.domain.map(|domain| Slot::of(&format!("{domain}/{source_key}"), self.slots).0);
        let records = kafka::read_all(&writer.client, &writer.group, &self.dlq_topic, slot.map(|slot| vec![slot])).await;
        let records = records.map_err(|error| away("kafka", format!("reading the letters: {:#}", anyhow::Error::new(error))))?;
        for value in records.into_iter().rev().filter_map(|record| record.value) {
            match writer.decode::<DeadLetter>(&value).await {
                Ok(letter) if letter.id == *id => return Ok(Some(letter)),
                Ok(_) | Err(Undecoded::Unreadable(_)) => {}
                Err(Undecoded::Schema(detail)) => return Err(away("registry", detail)),
            }
        }
        Ok(None)
    }
}

fn streams_of(command: &Command, capture: &Capture) -> Vec<usize> {
    let streams = capture.source().streams.iter().enumerate();
    streams.filter(|(_, stream)| command.domain.is_none_or(|domain| stream.domain == domain)).map(|(index, _)| index).collect()
}

/// What is known is dropped as a duplicate, so reading everything again sends only what is new.
fn read_all_again(stream: usize, capture: &mut Capture) {
    let position = match &capture.stream(stream).input {
        Input::Files { .. } => {
            let position: FilesPosition = position::read(capture.memory.position(stream));
            position::write(&FilesPosition { again: true, reading: None, ..position })
        }
        Input::Path { .. } => position::write(&position::PollPosition::default()),
    };
    capture.move_to(stream, position);
}

fn map_again(
    stream: usize,
    known_as: &str,
    letter: &DeadLetter,
    capture: &mut Capture,
    files: Option<&mut Files>,
) -> Result<(), Trouble> {
    if letter.truncated {
        tracing::warn!(letter = %letter.id, "the letter's row was cut; correct it at the source");
        return Ok(());
    }
    let place: &BTreeMap<String, String> = &letter.headers;
    let declared = capture.stream(stream).clone();
    let name = place.get("file").cloned().unwrap_or_else(|| letter.system.clone());
    let mut pass = Pass::new(stream, name, now());
    pass.is_replay = true;
    pass.proves = &[];
    let read = match &declared.input {
        Input::Files { format, .. } => {
            pass.columns = place.get("columns").cloned();
            let columns: Vec<String> = position::read(pass.columns.as_deref());
            if let Some(files) = files {
                pass.tables = files.tables(&declared.lookups)?;
            }
            csv::read_again(&letter.payload, &csv::Format::from(format), &columns)
        }
        Input::Path { .. } => http_poll::read_again(&letter.payload, &poll::shape(&declared)),
    };
    let is_named = read.is_ok();
    capture.take(&mut pass, read, now());
    if is_named && known_as.starts_with(NOTICE) {
        capture.close_notice(stream, known_as);
    }
    Ok(())
}
