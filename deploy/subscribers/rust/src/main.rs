//! A complete subscriber to one golden topic, with stock clients. Copy it and put your own table in place of [`Store`].
//!
//! What every subscriber owes, and where it stands here:
//! * the highest revision of a key wins, of a deleted key too: [`Store::apply`]
//! * `data` null is a delete; the null value after it is clean-up: [`Subscriber::take`]
//! * a symbol or field that a newer schema brings is no surprise: `READER_SCHEMA`, your own copy of the schema
//! * stored first, committed then: [`Subscriber::keep`]
//! * only what was committed is read, from the beginning on: [`settings`]
//!
//! Settings are environment variables; README.md in the folder above lists them. Ends by itself on SIGTERM and SIGINT.

mod decode;
mod store;

use std::{collections::HashSet, env, fs, time::Duration};

use anyhow::{Context as _, Result};
use rdkafka::{
    ClientConfig,
    consumer::{CommitMode, Consumer as _, StreamConsumer},
    error::KafkaError,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{decode::Decoder, store::Store};

/// So many records share one commit at most.
const BATCH: usize = 500;

#[tokio::main]
async fn main() -> Result<()> {
    let topic = env::var("TOPIC").unwrap_or_else(|_| "mdm.golden.item".to_owned());
    let until_end = env::var("UNTIL_END").is_ok_and(|value| !value.is_empty());
    let store = Store::open(env::var("STORE").unwrap_or_else(|_| "golden.jsonl".to_owned()).as_ref())?;
    let consumer: StreamConsumer = settings(until_end)?.create()?;
    consumer.subscribe(&[&topic])?;
    let mut subscriber = Subscriber { consumer, decoder: Decoder::new()?, store, taken: 0, ended: HashSet::new() };
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        ended = subscriber.run(until_end) => ended?,
        // What is stored but not committed comes again and changes nothing.
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    println!("{}", subscriber.store.state());
    Ok(())
}

struct Subscriber {
    consumer: StreamConsumer,
    decoder: Decoder,
    store: Store,
    /// Records since the last commit.
    taken: usize,
    ended: HashSet<i32>,
}

impl Subscriber {
    async fn run(&mut self, until_end: bool) -> Result<()> {
        loop {
            match tokio::time::timeout(Duration::from_secs(1), self.consumer.recv()).await {
                Ok(Ok(message)) => {
                    let message = message.detach();
                    self.take(&message).await?;
                    self.taken += 1;
                    if self.taken == BATCH {
                        self.keep()?;
                    }
                }
                Ok(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ended.insert(partition);
                    let assigned = self.consumer.assignment()?;
                    if until_end && assigned.elements().iter().all(|one| self.ended.contains(&one.partition())) {
                        return self.keep();
                    }
                }
                Ok(Err(error)) => return Err(error).context("reading the topic"),
                Err(_idle) => self.keep()?,
            }
        }
    }

    async fn take(&mut self, message: &impl rdkafka::Message) -> Result<()> {
        // No value is the tombstone: clean-up of a delete that came before it.
        let Some(value) = message.payload() else { return Ok(()) };
        // The key is plain UTF-8, for example 4711/C; the headers (ce_type, ce_subject, ...) tell most without decoding.
        let key = std::str::from_utf8(message.key().context("a golden record has a key")?)?;
        let record = self.decoder.decode(value).await?;
        let revision = record["meta"]["revision"].as_i64().context("a golden record has a revision")?;
        self.store.apply(key, revision, record["data"].clone())
    }

    /// The effect, durable, and only then the position.
    fn keep(&mut self) -> Result<()> {
        if self.taken > 0 {
            self.store.keep()?;
            self.consumer.commit_consumer_state(CommitMode::Sync)?;
            self.taken = 0;
        }
        Ok(())
    }
}

/// What the broker must know. Only `group.id` is ours to choose, within the granted prefix.
fn settings(until_end: bool) -> Result<ClientConfig> {
    let mut known = ClientConfig::new();
    known
        .set("bootstrap.servers", need("BROKERS")?)
        .set("group.id", need("GROUP")?)
        .set("auto.offset.reset", "earliest") // compacted: the beginning holds the full current state
        .set("isolation.level", "read_committed") // golden topics are written in transactions
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", until_end.to_string());
    let (authorities, user) = (env::var("KAFKA_CA_FILE").ok(), env::var("KAFKA_USERNAME").ok());
    if let Some(file) = &authorities {
        known.set("ssl.ca.location", file);
    }
    if let Ok(file) = env::var("KAFKA_CERTIFICATE_FILE") {
        known.set("ssl.certificate.location", file).set("ssl.key.location", need("KAFKA_KEY_FILE")?);
    }
    if let Some(user) = &user {
        let mechanism = env::var("KAFKA_MECHANISM").unwrap_or_else(|_| "SCRAM-SHA-512".to_owned());
        known.set("sasl.mechanism", mechanism).set("sasl.username", user);
        known.set("sasl.password", text_of("KAFKA_PASSWORD_FILE")?);
    }
    if authorities.is_some() || user.is_some() {
        let transport = if authorities.is_some() { "SSL" } else { "PLAINTEXT" };
        known.set("security.protocol", format!("{}{transport}", if user.is_some() { "SASL_" } else { "" }));
    }
    Ok(known)
}

fn need(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is missing in the environment"))
}

/// The text of the file that a variable names: secrets never stand in the environment.
fn text_of(name: &str) -> Result<String> {
    let path = need(name)?;
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
