//! What a person does through the API: the audit entry first, then the command. Both are acknowledged by the brokers before the
//! caller gets an answer.
//!
//! Invariant: no command without its audit entry. Entries of one tracker instance are a hash chain; its head is read back from
//! the store, which follows `audit` itself.

use std::time::Duration;

use avro::{Topics, Writer};
use deadletter::audit::seal;
use kafka::Producer;
use model::{
    Act, AuditEntry, Command, Domain, Outgoing, PlanFilter, RecordKey, Slot, Stage, Timestamp, Topical, command::ALL_KEY,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    now,
    store::{self, Reads, query},
};

/// An act that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("writing `{topic}`")]
    Write { topic: String, source: kafka::Error },
    #[error("`{topic}` did not take the record within {} s; it may still arrive", PATIENCE.as_secs())]
    Silent { topic: String },
    #[error("encoding a record for `{topic}`")]
    Encode { topic: String, source: avro::Error },
    #[error("reading the audit chain")]
    Store(#[from] store::Error),
}

/// How long the brokers may take; a person waits for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who asks, for what, and why.
#[derive(Clone, Debug)]
pub struct Wish {
    pub actor: String,
    pub reason: Option<String>,
    pub until: Option<Timestamp>,
}

/// Sequence and hash of the last entry.
struct Head {
    seq: i64,
    hash: String,
}

/// The only part of the tracker that writes to topics.
pub struct Acts {
    topics: Topics,
    slots: u32,
    producer: Producer,
    writer: Writer,
    /// `tracker/<instance>`: the name of the audit chain.
    name: String,
    reads: Reads,
    /// None before the first act and after a refused write: then the store says what stands on the topic.
    head: Mutex<Option<Head>>,
}

impl Acts {
    #[must_use]
    pub fn new(topics: Topics, slots: u32, producer: Producer, writer: Writer, instance: &str, reads: Reads) -> Self {
        let name = format!("tracker/{instance}");
        Self { topics, slots, producer, writer, name, reads, head: Mutex::new(None) }
    }

    /// Pauses or resumes a whole destination: one copy of the command in every slot.
    ///
    /// # Errors
    /// When the audit entry or a command could not be written.
    pub async fn destination(&self, wish: &Wish, act: Act, destination: &str) -> Result<String, Error> {
        let mut command = command(wish, act);
        command.stage = Stage::Deliver;
        self.audit(wish, "destination", act, &format!("destination/{destination}"), &command.command_id).await?;
        let slots = i32::try_from(self.slots).expect("a slot count of the landscape fits");
        for slot in 0..slots {
            self.command(destination, Slot(slot), ALL_KEY, &command).await?;
        }
        Ok(command.command_id)
    }

    /// Sends again, blocks or unblocks one record at one destination.
    ///
    /// # Errors
    /// When the audit entry or the command could not be written.
    pub async fn record(
        &self,
        wish: &Wish,
        act: Act,
        destination: &str,
        domain: Domain,
        key: &RecordKey,
    ) -> Result<String, Error> {
        let place = Topical::new(domain, key.clone());
        let mut command = command(wish, act);
        command.stage = Stage::Deliver;
        command.domain = Some(domain);
        command.key = Some(key.clone());
        self.audit(wish, "record", act, &format!("{place} at {destination}"), &command.command_id).await?;
        self.command(destination, place.slot(self.slots), &place.to_string(), &command).await?;
        Ok(command.command_id)
    }

    /// Asks the replayer for a plan; the plan appears under the id that is answered.
    ///
    /// # Errors
    /// When the audit entry or the command could not be written.
    pub async fn plan(&self, wish: &Wish, filter: PlanFilter) -> Result<String, Error> {
        let id = Uuid::now_v7().simple().to_string();
        let id = format!("p-{}", &id[id.len() - 8..]);
        let mut command = command(wish, Act::Plan);
        command.filter = Some(filter);
        self.replayer(wish, "dlq", command, &id).await?;
        Ok(id)
    }

    /// Runs or cancels a plan.
    ///
    /// # Errors
    /// When the audit entry or the command could not be written.
    pub async fn on_plan(&self, wish: &Wish, act: Act, plan: &str) -> Result<String, Error> {
        self.replayer(wish, "plan", command(wish, act), plan).await
    }

    /// Discards letters.
    ///
    /// # Errors
    /// When the audit entry or the command could not be written.
    pub async fn discard(&self, wish: &Wish, filter: PlanFilter) -> Result<String, Error> {
        let mut command = command(wish, Act::DiscardLetters);
        command.filter = Some(filter);
        let key = command.command_id.clone();
        self.replayer(wish, "dlq", command, &key).await
    }

    async fn replayer(&self, wish: &Wish, family: &str, mut command: Command, key: &str) -> Result<String, Error> {
        command.plan = Some(key.to_owned()).filter(|_| command.act != Act::DiscardLetters);
        self.audit(wish, family, command.act, &object(&command), &command.command_id).await?;
        self.command("replayer", Slot(0), key, &command).await?;
        Ok(command.command_id)
    }

    async fn command(&self, stage: &str, slot: Slot, key: &str, command: &Command) -> Result<(), Error> {
        let topic = self.topics.command(stage);
        let value = self.writer.encode(command).map_err(|source| Error::Encode { topic: topic.clone(), source })?;
        self.send(Outgoing { topic, slot, key: key.to_owned(), value: Some(value), headers: Vec::new() }).await
    }

    /// Seals the next link and waits until the brokers have it.
    async fn audit(&self, wish: &Wish, family: &str, act: Act, object: &str, reference: &str) -> Result<(), Error> {
        let mut head = self.head.lock().await;
        let last = match head.take() {
            Some(last) => last,
            None => {
                let name = self.name.clone();
                let last = self.reads.ask(move |sql| query::audit_head(sql, &name)).await?;
                last.map_or(Head { seq: 0, hash: String::new() }, |(seq, hash)| Head { seq, hash })
            }
        };
        let entry = seal(AuditEntry {
            writer: self.name.clone(),
            seq: last.seq + 1,
            previous_hash: last.hash,
            hash: String::new(),
            actor: wish.actor.clone(),
            roles: Vec::new(),
            act: format!("{family}.{}", act_name(act)),
            object: object.to_owned(),
            reason: wish.reason.clone(),
            reference: Some(reference.to_owned()),
            at: now(),
        });
        let topic = self.topics.audit();
        let value = self.writer.encode(&entry).map_err(|source| Error::Encode { topic: topic.clone(), source })?;
        let outgoing = Outgoing { topic, slot: Slot(0), key: wish.actor.clone(), value: Some(value), headers: Vec::new() };
        let sent = self.send(outgoing).await;
        // An entry that is only late is still in the producer's queue and comes before the next one.
        if matches!(sent, Ok(()) | Err(Error::Silent { .. })) {
            *head = Some(Head { seq: entry.seq, hash: entry.hash });
        }
        sent
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), Error> {
        let topic = outgoing.topic.clone();
        match tokio::time::timeout(PATIENCE, self.producer.send(&outgoing)).await {
            Ok(sent) => sent.map(|_| ()).map_err(|source| Error::Write { topic, source }),
            Err(_) => Err(Error::Silent { topic }),
        }
    }
}

fn command(wish: &Wish, act: Act) -> Command {
    Command {
        command_id: Uuid::now_v7().to_string(),
        act,
        stage: Stage::Unknown,
        domain: None,
        key: None,
        actor: wish.actor.clone(),
        reason: wish.reason.clone(),
        until: wish.until,
        at: now(),
        plan: None,
        letter: None,
        source_key: None,
        revision: None,
        source: None,
        source_epoch: None,
        source_sequence: None,
        exact_offset: None,
        filter: None,
    }
}

fn act_name(act: Act) -> &'static str {
    match act {
        Act::Replay => "replay",
        Act::Resend => "resend",
        Act::Discard | Act::DiscardLetters => "discard",
        Act::Block => "block",
        Act::Unblock => "unblock",
        Act::Pause => "pause",
        Act::Resume => "resume",
        Act::Resync => "resync",
        Act::Waive => "waive",
        Act::Reject => "reject",
        Act::Tombstone => "tombstone",
        Act::Capture => "capture",
        Act::Plan => "plan",
        Act::Run => "run",
        Act::Cancel => "cancel",
        Act::Unknown => "unknown",
    }
}

/// What an act on letters was done to, short enough to read.
fn object(command: &Command) -> String {
    match (&command.plan, &command.filter) {
        (Some(plan), _) => format!("plan/{plan}"),
        (None, Some(filter)) if filter.ids.len() == 1 => format!("letter/{}", filter.ids[0]),
        (None, Some(filter)) if !filter.ids.is_empty() => format!("{} letters", filter.ids.len()),
        (None, _) => "letters".to_owned(),
    }
}
