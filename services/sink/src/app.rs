//! Wiring: landscape → topics → registry → producer → reader → one task per slot.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use avro::TopicSpec;
use kafka::{Bounds, Client, Event, Fetcher, Producer, Reader, ReaderConfig};
use model::{DestinationState, Slot};
use service::{CancellationToken, Context, Exit, Health};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    config::{self, Args},
    restore::Ledgers,
    shared::{Names, Parts, Shared},
    slot::{self, Input, Start},
    status::{self, Board},
    there,
};

/// A group that has nothing for this instance says so by silence: ready after this.
const ASSIGNMENT: Duration = Duration::from_secs(15);

/// The sink, built and ready to deliver.
pub struct App {
    shared: Arc<Shared>,
    board: Arc<Board>,
    events: mpsc::UnboundedReceiver<Event>,
    reader_stop: CancellationToken,
    health: Health,
}

impl service::App for App {
    const NAME: &'static str = "sink";
    const ABOUT: &'static str = "Delivers golden records to one destination and keeps its receipts";
    type Args = Args;

    async fn build(context: Context<Args>) -> Result<Self, Exit> {
        let destination = config::destination(&context)?;
        let (endpoint, request_timeout) = config::http(&context, &destination)?;
        let client_id = format!("millrace-sink-{}", context.args.destination);
        let client = Client::of(&context.landscape.kafka, &context.brokers, client_id)
            .expecting(context.grants(&format!("sink-{}", context.args.destination)));
        let names = Names::new(&context.topics, &destination.name);
        let goldens: Vec<String> = destination.domains.keys().map(|domain| context.topics.golden(*domain)).collect();
        let specs = touched(&context, &names, &goldens);
        context.wait_for_topics(|patience| kafka::topics::wrong(&client, &specs, context.common.development, patience)).await?;
        context.watch_access(&client, |client: Client| async move { client.look().await }, Client::is_outdated);
        let settings = registry::Config::of(&context.landscape.registry, &context.registry, context.common.start_timeout);
        let registry = registry::Registry::new(settings).map_err(Exit::config)?;
        let subjects = names.subjects();
        let writer = context.wait_for("registry", || registry.writer(&subjects)).await?;

        let group = format!("{}sink.{}", context.topics.prefix(), destination.name);
        let reader_stop = CancellationToken::new();
        let mut topics = goldens;
        topics.push(names.command.clone());
        let session_timeout = context.common.session_timeout;
        let config = ReaderConfig {
            client: client.clone(),
            group: group.clone(),
            instance: format!("{group}.{}", context.instance),
            topics,
            never_paused: vec![names.command.clone()],
            session_timeout,
            bounds: Bounds::default(),
        };
        let producer = Producer::new(&client).map_err(Exit::config)?;
        let fetcher = Fetcher::new(&client, &group).map_err(Exit::config)?;
        context.health.not_ready("assignment", "waiting for the group to assign slots");
        let (handle, events) = Reader::spawn(config, reader_stop.clone()).map_err(Exit::config)?;
        let shared = Shared::new(Parts {
            landscape: context.landscape,
            destination,
            instance: context.instance,
            topics: context.topics,
            client,
            group,
            writer,
            registry,
            producer,
            fetcher,
            endpoint,
            request_timeout,
            drain: Duration::from_secs(10).min(session_timeout / 3),
            handle,
            health: context.health.clone(),
            traces: context.traces,
        });
        status::gauges(&shared, DestinationState::Ok, shared.traffic().rate());
        status::zeros(&shared);
        Ok(Self { shared: Arc::new(shared), board: Arc::default(), events, reader_stop, health: context.health })
    }

    async fn run(self, stop: CancellationToken) -> Result<(), Exit> {
        let Self { shared, board, mut events, reader_stop, health } = self;
        let status_stop = CancellationToken::new();
        there::follow(Arc::clone(&shared), status_stop.clone()).map_err(Exit::died)?;
        let status = tokio::spawn(status::watch(Arc::clone(&shared), Arc::clone(&board), status_stop.clone()));
        let mut owned = Owned { shared: Arc::clone(&shared), board, slots: BTreeMap::new(), tasks: JoinSet::new() };
        let mut pulse = tokio::time::interval(Duration::from_secs(1));
        let begun = tokio::time::Instant::now();
        let ended = loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Ended(ended)) => break ended,
                    Some(event) => {
                        if matches!(event, Event::Assigned { .. }) {
                            health.ready("assignment");
                        }
                        owned.take(event);
                    }
                    None => break Ok(()),
                },
                _ = pulse.tick() => {
                    health.tick();
                    if begun.elapsed() > ASSIGNMENT {
                        health.ready("assignment");
                    }
                }
                Some(ended) = owned.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        return Err(Exit::died(anyhow::anyhow!("a slot's task died: {error}")));
                    }
                }
                // The reader revokes everything, with its drain, and then says that it ended.
                () = stop.cancelled(), if !reader_stop.is_cancelled() => reader_stop.cancel(),
            }
        };
        status_stop.cancel();
        if let Err(error) = status.await {
            tracing::debug!(%error, "the status task");
        }
        if let Err(error) = shared.producer.flush(shared.drain).await {
            tracing::warn!(%error, "flushing at the end");
        }
        match ended {
            Ok(()) if stop.is_cancelled() => Ok(()),
            Ok(()) => Err(Exit::died(anyhow::anyhow!("the reader ended by itself"))),
            Err(error) if error.is_fenced() => Err(Exit::again(error)),
            Err(error) => Err(Exit::died(error)),
        }
    }
}

/// The slots of the current assignment.
struct Owned {
    shared: Arc<Shared>,
    board: Arc<Board>,
    slots: BTreeMap<Slot, Running>,
    tasks: JoinSet<()>,
}

struct Running {
    epoch: u64,
    inbox: mpsc::UnboundedSender<Input>,
    gone: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Owned {
    fn take(&mut self, event: Event) {
        match event {
            Event::Assigned { slots, epoch } => self.assign(slots, epoch),
            Event::Record { slot, epoch, record } => {
                if let Some(running) = self.slots.get(&slot).filter(|running| running.epoch == epoch) {
                    // A slot that ended by itself reads it again after its next assignment.
                    drop(running.inbox.send(Input::Record(record)));
                }
            }
            Event::Revoked { slots, drained, .. } => self.revoke(slots, drained),
            Event::Ended(_) => {}
        }
    }

    fn assign(&mut self, slots: Vec<Slot>, epoch: u64) {
        let all = usize::try_from(self.shared.landscape.kafka.slots).unwrap_or(usize::MAX);
        self.shared.traffic().set_share(slots.len(), all);
        tracing::info!(destination = self.shared.name(), slots = slots.len(), epoch, "slots assigned");
        let ledgers = Arc::new(Ledgers::new(slots.clone()));
        for slot in slots {
            let (inbox, receiver) = mpsc::unbounded_channel();
            let (done, ended) = oneshot::channel();
            let gone = CancellationToken::new();
            let served = slot::serve(Start {
                shared: Arc::clone(&self.shared),
                board: Arc::clone(&self.board),
                ledgers: Arc::clone(&ledgers),
                slot,
                epoch,
                sender: inbox.clone(),
                inbox: receiver,
                gone: gone.clone(),
            });
            self.tasks.spawn(async move {
                served.await;
                drop(done);
            });
            if let Some(before) = self.slots.insert(slot, Running { epoch, inbox, gone, ended }) {
                before.gone.cancel();
            }
        }
    }

    /// Every slot finishes what is running; the reader lets go when all have, or when its patience ends.
    fn revoke(&mut self, slots: Vec<Slot>, drained: oneshot::Sender<()>) {
        let patience = self.shared.drain;
        let mut leaving = Vec::new();
        for slot in slots {
            if let Some(running) = self.slots.remove(&slot) {
                drop(running.inbox.send(Input::Drain));
                leaving.push(running);
            }
        }
        self.tasks.spawn(async move {
            let deadline = tokio::time::Instant::now() + patience;
            for running in &mut leaving {
                if tokio::time::timeout_at(deadline, &mut running.ended).await.is_err() {
                    tracing::warn!("a slot did not finish in time; its next owner waits one request timeout");
                }
            }
            for running in leaving {
                running.gone.cancel();
            }
            // A reader whose patience ended does not listen any more.
            drained.send(()).ok();
        });
    }
}

/// The topics that this sink reads and writes.
fn touched(context: &Context<Args>, names: &Names, goldens: &[String]) -> Vec<TopicSpec> {
    let own = [&names.ledger, &names.receipt, &names.command, &names.dlq, &names.status];
    let specs = context.landscape.topic_specs(&context.topics).into_iter();
    specs.filter(|spec| own.contains(&&spec.name) || goldens.contains(&spec.name)).collect()
}
