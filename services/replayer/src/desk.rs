//! Everything the replayer writes, as records: where it goes, under which key, in which slot.

use avro::{Schema, Topics, Writer};
use kafka::Fatal;
use model::{Act, AuditEntry, Change, Command, Domain, LetterStatus, Outgoing, Plan, RecordKey, Slot, Stage, Timestamp, Topical};
use uuid::Uuid;

use crate::{book::Book, config::NAME};

pub(crate) struct Desk {
    topics: Topics,
    slots: u32,
    writer: Writer,
}

/// Slot of the topics with one partition.
pub(crate) const OWN: Slot = Slot(0);

impl Desk {
    pub(crate) fn new(topics: Topics, slots: u32, writer: Writer) -> Self {
        Self { topics, slots, writer }
    }

    /// What must be in the registry before the replayer starts. Subjects of one schema hold one version of it, so any topic will do.
    pub(crate) fn schemas<'a>(topics: &Topics, captures: impl Iterator<Item = (&'a str, Domain)>) -> Vec<(Schema, String)> {
        let mut schemas = vec![
            (Schema::LetterStatus, topics.deadletter()),
            (Schema::Plan, topics.plan()),
            (Schema::AuditEntry, topics.audit()),
            (Schema::Command, topics.command("validator")),
        ];
        schemas.extend(captures.map(|(source, domain)| (Schema::change(domain), topics.change(source, domain))));
        schemas
    }

    pub(crate) fn letter(&self, status: &LetterStatus) -> Result<Outgoing, Fatal> {
        self.own(self.topics.deadletter(), &status.id.0, Some(self.writer.encode(status)))
    }

    pub(crate) fn forgotten_letter(&self, id: &str) -> Result<Outgoing, Fatal> {
        self.own(self.topics.deadletter(), id, None)
    }

    pub(crate) fn plan(&self, plan: &Plan) -> Result<Outgoing, Fatal> {
        self.own(self.topics.plan(), &plan.id, Some(self.writer.encode(plan)))
    }

    pub(crate) fn forgotten_plan(&self, id: &str) -> Result<Outgoing, Fatal> {
        self.own(self.topics.plan(), id, None)
    }

    fn own(&self, topic: String, key: &str, value: Option<Result<Vec<u8>, avro::Error>>) -> Result<Outgoing, Fatal> {
        let value = value.transpose().map_err(Fatal::new)?;
        Ok(Outgoing { topic, slot: OWN, key: key.to_owned(), value, headers: Vec::new() })
    }

    /// The next link of the replayer's audit chain.
    pub(crate) fn audit(&self, book: &mut Book, act: &Acted<'_>, now: Timestamp) -> Result<Outgoing, Fatal> {
        let head = book.head().clone();
        let entry = deadletter::audit::seal(AuditEntry {
            writer: NAME.to_owned(),
            seq: head.seq + 1,
            previous_hash: head.hash,
            hash: String::new(),
            actor: act.actor.to_owned(),
            roles: Vec::new(),
            act: act.act.to_owned(),
            object: act.object.clone(),
            reason: act.reason.map(ToOwned::to_owned),
            reference: Some(act.reference.to_owned()),
            at: now,
        });
        book.set_head(crate::book::Head { seq: entry.seq, hash: entry.hash.clone() });
        self.own(self.topics.audit(), act.actor, Some(self.writer.encode(&entry)))
    }

    /// A command to a destination, about one key.
    pub(crate) fn to_destination(&self, destination: &str, place: &Topical, command: &Command) -> Result<Outgoing, Fatal> {
        self.command(destination, place.to_string(), place.slot(self.slots), command)
    }

    /// A command to the validator, about one key.
    pub(crate) fn to_validator(&self, place: &Topical, command: &Command) -> Result<Outgoing, Fatal> {
        self.command("validator", place.to_string(), place.slot(self.slots), command)
    }

    /// A command to a source, about one of its own keys.
    pub(crate) fn to_source(&self, source: &str, domain: Domain, source_key: &str, command: &Command) -> Result<Outgoing, Fatal> {
        let key = format!("{domain}/{source_key}");
        let slot = Slot::of(&key, self.slots);
        self.command(source, key, slot, command)
    }

    fn command(&self, stage: &str, key: String, slot: Slot, command: &Command) -> Result<Outgoing, Fatal> {
        let value = self.writer.encode(command).map_err(Fatal::new)?;
        Ok(Outgoing { topic: self.topics.command(stage), slot, key, value: Some(value), headers: Vec::new() })
    }

    /// A change back to where the validator read it: same id, epoch and sequence, so the fence decides.
    pub(crate) fn change(&self, source: &str, domain: Domain, key: &RecordKey, change: &Change) -> Result<Outgoing, Fatal> {
        let value = self.writer.encode_change(domain, change).map_err(Fatal::new)?;
        Ok(Outgoing {
            topic: self.topics.change(source, domain),
            slot: key.slot(domain, self.slots),
            key: key.to_string(),
            value: Some(value),
            headers: avro::headers::change(change, domain, key, avro::headers::created(&change.meta, false)),
        })
    }
}

/// What a person did.
pub(crate) struct Acted<'a> {
    pub(crate) actor: &'a str,
    pub(crate) act: &'a str,
    pub(crate) object: String,
    pub(crate) reason: Option<&'a str>,
    /// Command or plan id.
    pub(crate) reference: &'a str,
}

/// An empty command to fill.
pub(crate) fn command(act: Act, stage: Stage, actor: &str, now: Timestamp) -> Command {
    Command {
        command_id: Uuid::now_v7().to_string(),
        act,
        stage,
        domain: None,
        key: None,
        actor: actor.to_owned(),
        reason: None,
        until: None,
        at: now,
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
