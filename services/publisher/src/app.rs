//! Wiring: landscape → topics → registry → the source's memory → the loop over the source.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use avro::{Schema, TopicSpec};
use connect::file::Folder;
use kafka::{Producer, Transactor};
use landscape::SourceConnector;
use model::{Domain, StreamStatus};
use service::{CancellationToken, Context, Exit, Health};

use crate::{
    backoff::Waiting,
    capture::Capture,
    command::Commands,
    config::{self, Args},
    files::{Files, Trouble},
    memory::Memory,
    poll::Poll,
    position::{self, PollPosition},
    status::{Board, Speaker},
    writer::{self, Complaint, EPOCH_BEHIND, Writer},
};

/// How often the folder is looked at, and whether a poll is due.
const TURN: Duration = Duration::from_millis(100);

/// The publisher, built and ready to capture.
pub struct App {
    capture: Capture,
    writer: Writer,
    connector: Connector,
    commands: Commands,
    board: Arc<Board>,
    health: Health,
}

/// How the source is read.
enum Connector {
    Files(Files),
    Poll(Poll),
}

impl Connector {
    fn files(&mut self) -> Option<&mut Files> {
        match self {
            Connector::Files(files) => Some(files),
            Connector::Poll(_) => None,
        }
    }

    /// Why and until when the source is left alone.
    fn waiting(&self) -> Option<&Waiting> {
        match self {
            Connector::Files(_) => None,
            Connector::Poll(poll) => poll.waiting(),
        }
    }
}

/// How far each stream was read.
fn streams(capture: &Capture) -> Vec<StreamStatus> {
    let streams = capture.source().streams.iter().enumerate();
    let status = |(index, stream): (usize, &landscape::Stream)| StreamStatus {
        stream: stream.name.clone(),
        domain: stream.domain.name().to_owned(),
        cursor: match stream.input {
            landscape::Input::Path { .. } => position::read::<PollPosition>(capture.memory.position(index)).since,
            landscape::Input::Files { .. } => None,
        },
    };
    streams.map(status).collect()
}

impl service::App for App {
    const NAME: &'static str = "publisher";
    const ABOUT: &'static str = "Captures one source: its changes, as canonical records, on change.<source>.<domain>";
    type Args = Args;

    async fn build(context: Context<Args>) -> Result<Self, Exit> {
        let source = config::source(&context)?;
        let connector = connector(&context, &source.connector, source.streams.len())?;
        let client_id = format!("millrace-publisher-{}", context.args.source);
        let client = kafka::Client::of(&context.landscape.kafka, &context.brokers, client_id)
            .expecting(context.grants(&format!("publisher-{}", context.args.source)));
        let domains: Vec<Domain> = source.streams.iter().map(|stream| stream.domain).collect();
        let specs = touched(&context, &domains);
        context.wait_for_topics(|patience| kafka::topics::wrong(&client, &specs, context.common.development, patience)).await?;
        context.watch_access(&client, |client: kafka::Client| async move { client.look().await }, kafka::Client::is_outdated);
        let settings = registry::Config::of(&context.landscape.registry, &context.registry, context.common.start_timeout);
        let registry = Arc::new(registry::Registry::new(settings).map_err(Exit::config)?);
        let codec = codec(&context, &registry, &domains).await?;

        let speaker = Speaker {
            source: source.name.clone(),
            policy_version: context.landscape.policy_version.clone(),
            topic: context.topics.source(),
            codec: codec.clone(),
            client: client.clone(),
            producer: Producer::new(&client).map_err(Exit::config)?,
        };
        // Fence the predecessor first: what it left behind is read after that, and it can add nothing.
        let prefix = context.topics.prefix();
        let id = format!("{prefix}publisher.{}", source.name);
        let transactor = context.wait_for("kafka", || Transactor::new(&client, &id, "publisher")).await?;
        let writer = Writer {
            client,
            group: id.clone(),
            cursor_topic: context.topics.cursor(&source.name),
            codec: codec.clone(),
            reader: avro::Reader::default(),
            registry,
            health: context.health.clone(),
            transactor,
            epoch: source.epoch,
            traces: context.traces.clone(),
        };
        let memory = restore(&context, &writer, &source).await?;
        let capture = Capture::new(Arc::clone(&context.landscape), source, context.topics.clone(), codec, memory)
            .with_traces(context.traces.clone());
        let slots = context.landscape.kafka.slots;
        let commands = Commands::follow(&writer, &context.topics, &capture, slots, context.stop.clone())?;
        let board = Arc::new(Board::new(streams(&capture)));
        tokio::spawn(speaker.run(Arc::clone(&board), context.stop.clone()));
        Ok(Self { capture, writer, connector, commands, board, health: context.health })
    }

    async fn run(mut self, stop: CancellationToken) -> Result<(), Exit> {
        let source = self.capture.source();
        writer::zeros(&source.name, source.streams.iter().map(|stream| stream.domain));
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut complaint = Complaint::default();
        loop {
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                record = self.commands.next() => {
                    self.commands.obey(record, &mut self.capture, &mut self.writer, self.connector.files()).await?;
                    Ok(false)
                }
                _ = turns.tick() => {
                    self.commands.try_again(&mut self.capture, &mut self.writer, self.connector.files()).await?;
                    match &mut self.connector {
                        Connector::Files(files) => files.turn(&mut self.capture, &mut self.writer, &stop).await.map(|()| true),
                        Connector::Poll(poll) => poll.turn(&mut self.capture, &mut self.writer, &stop).await,
                    }
                }
            };
            self.health.tick();
            let name = self.capture.source().name.clone();
            match ended {
                Ok(true) => {
                    complaint.settle(&name);
                    self.health.ready("source");
                    self.board.read(streams(&self.capture));
                    succeeded(&name);
                }
                Ok(false) => {}
                Err(Trouble::Exit(exit)) => return Err(exit),
                Err(Trouble::Source(trouble)) => {
                    // What was read before the trouble is good: nothing of it waits for the source.
                    self.writer.commit(self.capture.batch()).await?;
                    let waiting = self.connector.waiting();
                    complaint.tell(&name, &trouble.to_string(), waiting);
                    self.board.failed(trouble.to_string().trim_start_matches("source: "), waiting.map(|waiting| waiting.until));
                    let until = waiting.map(|waiting| format!("; it is asked again at {}", waiting.until)).unwrap_or_default();
                    self.health.not_ready("source", format!("{trouble}{until}"));
                }
            }
        }
    }
}

fn connector(context: &Context<Args>, declared: &SourceConnector, streams: usize) -> Result<Connector, Exit> {
    match declared {
        SourceConnector::File { folder, after, settle } => {
            let folder = config::folder(context, folder.as_deref())?;
            Ok(Connector::Files(Files::new(Folder::new(folder, *settle), *after)))
        }
        SourceConnector::HttpPoll { .. } => Ok(Connector::Poll(Poll::new(config::http(context, declared)?, declared, streams))),
    }
}

/// The topics that this publisher reads and writes.
fn touched(context: &Context<Args>, domains: &[Domain]) -> Vec<TopicSpec> {
    let (topics, source) = (&context.topics, context.args.source.as_str());
    let mut own = vec![topics.cursor(source), topics.command(source), topics.dlq(source), topics.source()];
    own.extend(domains.iter().map(|domain| topics.change(source, *domain)));
    context.landscape.topic_specs(topics).into_iter().filter(|spec| own.contains(&spec.name)).collect()
}

async fn codec(context: &Context<Args>, registry: &registry::Registry, domains: &[Domain]) -> Result<avro::Writer, Exit> {
    let source = &context.args.source;
    let mut subjects = vec![
        (Schema::Cursor, context.topics.cursor(source)),
        (Schema::DeadLetter, context.topics.dlq(source)),
        (Schema::SourceStatus, context.topics.source()),
    ];
    subjects.extend(domains.iter().map(|domain| (Schema::change(*domain), context.topics.change(source, *domain))));
    context.wait_for("registry", || registry.writer(&subjects)).await
}

/// The memory as the cursor topic has it.
async fn restore(context: &Context<Args>, writer: &Writer, source: &landscape::Source) -> Result<Memory, Exit> {
    let empty = || Memory::new(source.epoch, source.streams.iter().map(|stream| (stream.name.clone(), stream.domain)));
    let memory = context
        .health
        .wait_for("cursor", context.common.start_timeout, || async {
            let mut memory = empty();
            match writer.restore(&mut memory).await {
                Ok(()) => Ok(Ok(memory)),
                Err(why) if why.starts_with(EPOCH_BEHIND) => Ok(Err(why)),
                Err(why) => Err(why),
            }
        })
        .await?;
    memory.map_err(|why| {
        Exit::config(anyhow::anyhow!("{why}, the landscape says {}: raise `epoch` in sources/{}.yaml", source.epoch, source.name))
    })
}

fn succeeded(source: &str) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    telemetry::SOURCE_LAST_SUCCESS.with_label_values(&[source]).set(now.as_secs_f64());
}
