//! What comes in: golden records and commands, decoded; behind one whose schema is not known yet the rest of its kind waits.

use std::sync::Arc;

use avro::{DecodeError, TopicKind};
use delivery::{Place, Ticket};
use kafka::Record;
use model::{Act, Command, DeadLetter, Domain, Slot, Stage, Topical, clip, command::ALL_KEY};

use super::{Backlog, Input, SlotActor};
use crate::{
    record::{self, Reading},
    shared::{Shared, now},
};

const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

impl SlotActor {
    /// A record of the group's topics; behind one that waits for its schema it waits, too.
    pub(super) fn take_up(&mut self, record: Record) {
        let kind = self.shared.topics.kind(&record.topic);
        let backlog = if matches!(kind, Some(TopicKind::Golden(_))) { Backlog::Golden } else { Backlog::Command };
        if self.taught.contains_key(&backlog) {
            self.ask_ahead(&record);
            return self.backlogs.entry(backlog).or_default().push_back(record);
        }
        match kind {
            Some(TopicKind::Golden(domain)) => self.take_golden(domain, record),
            _ => self.take_command(record),
        }
    }

    fn take_golden(&mut self, domain: Domain, record: Record) {
        let now = now();
        self.last_golden = now;
        let ticket = Ticket { topic: Arc::clone(&record.topic), offset: record.offset };
        match record::read(&self.shared, domain, record) {
            Reading::Offer(key, offer) => self.state.offer(key, *offer, ticket, now),
            Reading::Tombstone(key, offer) => self.state.tombstone(key, *offer, ticket, now),
            Reading::Unreadable(key, domain, taken, problem) => self.state.reject(key, domain, taken, problem, ticket, now),
            Reading::NeedSchema(id, record) => self.wait_for_schema(Backlog::Golden, id, *record),
        }
    }

    fn take_command(&mut self, record: Record) {
        let ticket = Ticket { topic: Arc::clone(&record.topic), offset: record.offset };
        let decoded = record.value.as_deref().map(|value| self.shared.reader.decode::<Command>(value));
        let command = match decoded {
            Some(Ok(command)) => bounded(command),
            Some(Err(DecodeError::NeedSchema(id))) => return self.wait_for_schema(Backlog::Command, id, record),
            Some(Err(DecodeError::Unreadable { code, message })) => return self.ignore(&record, ticket, code, &message),
            None => return self.ignore(&record, ticket, "RECORD_EMPTY", "a command without a value"),
        };
        if command.stage == Stage::Capture {
            return self.state.skip(ticket);
        }
        let key = record.key_text().unwrap_or_default();
        if key == ALL_KEY {
            tracing::info!(destination = self.shared.name(), slot = %self.slot, act = ?command.act, actor = command.actor, "command");
            if command.act == Act::Resync {
                tracing::warn!(destination = self.shared.name(), slot = %self.slot, "resync is not built in yet");
            }
            return self.state.command_all(command, ticket, now());
        }
        match Topical::parse(key) {
            Ok(key) => {
                if matches!(command.act, Act::Replay | Act::Resend) {
                    self.chains.asked(&self.shared, &key, &record);
                }
                self.state.command(key, command, ticket, now());
            }
            Err(error) => self.ignore(&record, ticket, "RECORD_KEY", &error.to_string()),
        }
    }

    /// A command that nobody can read is no record of a destination: it is named in the log and passed over.
    fn ignore(&mut self, record: &Record, ticket: Ticket, code: &str, message: &str) {
        let (topic, offset) = (&*record.topic, record.offset);
        tracing::error!(destination = self.shared.name(), topic, slot = %self.slot, offset, code, error = message, "command ignored");
        self.state.skip(ticket);
    }

    /// What waits behind an unknown schema may have one itself: asked for now, they do not cost their patience one after the other.
    fn ask_ahead(&mut self, record: &Record) {
        let id = record.value.as_deref().and_then(|value| avro::schema_id(value).ok());
        if let Some(id) = id.filter(|id| !self.shared.reader.has_answer(*id) && self.asked.insert(*id)) {
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(async move { teach(&shared, id).await });
        }
    }

    fn wait_for_schema(&mut self, backlog: Backlog, id: i32, record: Record) {
        self.taught.insert(backlog, true);
        self.backlogs.entry(backlog).or_default().push_front(record);
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        self.tasks.spawn(async move {
            teach(&shared, id).await;
            drop(sender.send(Input::Taught(backlog)));
        });
    }
}

/// What a person said goes into the ledger: no more of it than fits there, whoever wrote the command.
fn bounded(command: Command) -> Command {
    Command {
        actor: clip(&command.actor, 256),
        reason: command.reason.map(|reason| clip(&reason, 4096)),
        letter: command.letter.filter(|letter| letter.0.len() <= 256),
        ..command
    }
}

/// Asks until the registry answers; the answer may be that there is no such schema.
async fn teach(shared: &Shared, id: i32) {
    while let Err(error) = shared.registry.teach(&shared.reader, id).await {
        tracing::warn!(destination = shared.name(), schema = id, %error, "waiting for a schema");
        shared.health.not_ready("registry", error.to_string());
        tokio::time::sleep(AGAIN).await;
    }
    shared.health.ready("registry");
}

/// Reads a payload again, with its schema.
pub(super) async fn fetch(shared: &Shared, slot: Slot, key: &Topical, place: Place) -> Option<Record> {
    let (topic, offset) = match place {
        Place::Golden(offset) => (shared.topics.golden(key.domain), offset),
        Place::Letter(offset) => (shared.names.dlq.clone(), offset),
    };
    let found = loop {
        match shared.fetcher.fetch(&topic, slot.0, offset).await {
            Ok(found) => break found,
            Err(error) => {
                tracing::warn!(destination = shared.name(), topic, %slot, offset, %error, "reading a record again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }?;
    learn(shared, &found).await;
    let Place::Letter(_) = place else { return Some(found) };
    let letter = shared.reader.decode::<DeadLetter>(found.value.as_deref()?).ok().filter(|letter| !letter.truncated)?;
    let record = Record {
        topic: letter.topic?.into(),
        partition: letter.partition?,
        offset: letter.offset?,
        timestamp: letter.timestamp?,
        key: Some(key.key.as_str().as_bytes().to_vec()),
        value: Some(letter.payload),
        headers: Vec::new(),
    };
    learn(shared, &record).await;
    Some(record)
}

async fn learn(shared: &Shared, record: &Record) {
    let id = record.value.as_deref().and_then(|value| avro::schema_id(value).ok());
    if let Some(id) = id.filter(|id| !shared.reader.knows(*id)) {
        teach(shared, id).await;
    }
}

#[cfg(test)]
mod tests {
    use model::{LetterId, Timestamp};

    use super::*;

    #[test]
    fn a_command_of_any_size_leaves_room_in_the_ledger() {
        let huge = || "ä".repeat(400_000);
        let command = bounded(Command {
            command_id: "c-1".to_owned(),
            act: Act::Block,
            stage: Stage::Deliver,
            domain: None,
            key: None,
            actor: huge(),
            reason: Some(huge()),
            until: None,
            at: Timestamp::default(),
            plan: None,
            letter: Some(LetterId(huge())),
            source_key: None,
            revision: None,
            source: None,
            source_epoch: None,
            source_sequence: None,
            exact_offset: None,
            filter: None,
        });
        assert!(command.actor.len() <= 256 && command.reason.is_some_and(|reason| reason.len() <= 4096));
        assert_eq!(command.letter, None);
    }
}
