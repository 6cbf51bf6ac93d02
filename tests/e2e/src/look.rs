//! Topics as a `read_committed` subscriber sees them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use avro::{Topics, Wire};
use devstack::{Addresses, Stack};
use kafka::{Client, Record};
use model::{
    AuditEntry, Change, Command, DeadLetter, Domain, Golden, Held, Lease, Ledger, LedgerEntry, LetterStatus, Plan, Receipt,
    RecordKey, SourceStatus, ledger::LEASE_KEY,
};
use registry::Registry;

/// Reads and decodes the topics of one stack.
pub struct Look {
    client: Client,
    registry: Registry,
    reader: avro::Reader,
    pub topics: Topics,
    group: String,
}

/// A golden record where it lies.
#[derive(Clone, Debug)]
pub struct Seen {
    pub domain: Domain,
    pub key: RecordKey,
    pub partition: i32,
    pub offset: i64,
    /// None is the tombstone.
    pub golden: Option<Golden>,
}

impl Look {
    /// # Errors
    /// When the registry's address cannot be used.
    pub fn at(stack: &Stack) -> Result<Self> {
        Self::with(stack.client("checker"), stack.registry(), stack.topics.clone())
    }

    /// # Errors
    /// When the registry's address cannot be used.
    pub fn of(addresses: &Addresses, topics: Topics) -> Result<Self> {
        let client = Client::new(addresses.brokers.clone(), "checker");
        Self::with(client, registry::Config::new(vec![addresses.registry.clone()]), topics)
    }

    fn with(client: Client, registry: registry::Config, topics: Topics) -> Result<Self> {
        let group = format!("{}checker", topics.prefix());
        Ok(Self { client, registry: Registry::new(registry)?, reader: avro::Reader::default(), topics, group })
    }

    /// Every committed record of a topic, in the order of each partition.
    ///
    /// # Errors
    /// When the broker or the registry does not answer.
    pub async fn records(&self, topic: &str) -> Result<Vec<Record>> {
        let records = kafka::read_all(&self.client, &self.group, topic, None).await?;
        self.registry.prepare(&self.reader, records.iter().filter_map(|record| record.value.as_deref())).await?;
        Ok(records)
    }

    async fn decoded<T: Wire>(&self, topic: &str) -> Result<Vec<(String, Option<T>)>> {
        let records = self.records(topic).await?;
        let decode = |record: &Record| {
            let key = record.key_text().context("a record without a key")?.to_owned();
            let value = record.value.as_deref().map(|bytes| self.reader.decode::<T>(bytes)).transpose();
            Ok((key, value.map_err(|error| anyhow::anyhow!("{topic} {}@{}: {error:?}", record.partition, record.offset))?))
        };
        records.iter().map(decode).collect()
    }

    async fn newest<T: Wire>(&self, topic: &str) -> Result<BTreeMap<String, T>> {
        let mut newest = BTreeMap::new();
        for (key, value) in self.decoded::<T>(topic).await? {
            match value {
                Some(value) => newest.insert(key, value),
                None => newest.remove(&key),
            };
        }
        Ok(newest)
    }

    /// Every record of `change.<source>.<domain>`, in the order of each partition.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub async fn changes(&self, source: &str, domain: Domain) -> Result<Vec<Change>> {
        let topic = self.topics.change(source, domain);
        let records = self.records(&topic).await?;
        let decode = |record: &Record| {
            let bytes = record.value.as_deref().context("a change without value")?;
            let change = self.reader.decode_change(domain, bytes);
            change.map_err(|error| anyhow::anyhow!("{topic} {}@{}: {error:?}", record.partition, record.offset))
        };
        records.iter().map(decode).collect()
    }

    /// Every record of `golden.<domain>`.
    ///
    /// # Errors
    /// When a record cannot be read: golden promises that every one can.
    pub async fn golden(&self, domain: Domain) -> Result<Vec<Seen>> {
        let topic = self.topics.golden(domain);
        let records = self.records(&topic).await?;
        let decode = |record: &Record| {
            let key = RecordKey::parse(domain, record.key_text().context("a golden record without a key")?)?;
            let golden = record.value.as_deref().map(|bytes| self.reader.decode_golden(domain, bytes)).transpose();
            let golden = golden.map_err(|error| anyhow::anyhow!("{topic} {}@{}: {error:?}", record.partition, record.offset))?;
            Ok(Seen { domain, key, partition: record.partition, offset: record.offset, golden })
        };
        records.iter().map(decode).collect()
    }

    /// The entries of `ledger.<destination>` by `domain/key`.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn ledger(&self, destination: &str) -> Result<BTreeMap<String, LedgerEntry>> {
        let records = self.newest::<Ledger>(&self.topics.ledger(destination)).await?;
        Ok(records.into_iter().filter_map(|(key, ledger)| Some((key, ledger.entry?))).collect())
    }

    /// The newest lease of each slot in `ledger.<destination>`.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn leases(&self, destination: &str) -> Result<BTreeMap<i32, Lease>> {
        let mut leases = BTreeMap::new();
        for record in self.records(&self.topics.ledger(destination)).await? {
            let Some(value) = record.value.as_deref().filter(|_| record.key_text() == Some(LEASE_KEY)) else { continue };
            let ledger = self.reader.decode::<Ledger>(value);
            let ledger = ledger.map_err(|error| anyhow::anyhow!("a lease of slot {}: {error:?}", record.partition))?;
            leases.extend(ledger.lease.map(|lease| (record.partition, lease)));
        }
        Ok(leases)
    }

    /// Everything in `receipt.<destination>`.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn receipts(&self, destination: &str) -> Result<Vec<Receipt>> {
        let records = self.decoded::<Receipt>(&self.topics.receipt(destination)).await?;
        Ok(records.into_iter().filter_map(|(_, receipt)| receipt).collect())
    }

    /// The letters in `dlq.<stage>`: a source, a destination or `validator`. Repeats of one id are one letter.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn letters(&self, stage: &str) -> Result<Vec<DeadLetter>> {
        let records = self.decoded::<DeadLetter>(&self.topics.dlq(stage)).await?;
        let mut letters = BTreeMap::new();
        for letter in records.into_iter().filter_map(|(_, letter)| letter) {
            letters.insert(letter.id.clone(), letter);
        }
        Ok(letters.into_values().collect())
    }

    /// Where each letter stands.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn letter_states(&self) -> Result<BTreeMap<String, LetterStatus>> {
        self.newest::<LetterStatus>(&self.topics.deadletter()).await
    }

    /// What each publisher last said of its source.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn sources(&self) -> Result<BTreeMap<String, SourceStatus>> {
        self.newest::<SourceStatus>(&self.topics.source()).await
    }

    /// Every plan as it stands.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn plans(&self) -> Result<BTreeMap<String, Plan>> {
        self.newest::<Plan>(&self.topics.plan()).await
    }

    /// Everything in `audit`.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn audit(&self) -> Result<Vec<AuditEntry>> {
        let records = self.decoded::<AuditEntry>(&self.topics.audit()).await?;
        Ok(records.into_iter().filter_map(|(_, entry)| entry).collect())
    }

    /// Everything in `command.<stage>`.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn commands(&self, stage: &str) -> Result<Vec<Command>> {
        let records = self.decoded::<Command>(&self.topics.command(stage)).await?;
        Ok(records.into_iter().filter_map(|(_, command)| command).collect())
    }

    /// What waits at the validator, by `domain/key`.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn held(&self) -> Result<BTreeMap<String, Held>> {
        self.newest::<Held>(&self.topics.held()).await
    }
}
