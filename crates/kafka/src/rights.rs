//! What this identity may do, found out by trying what leaves nothing behind: describe, fetch, ask for offsets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use landscape::Operation;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use crate::config::{Role, settings};
use crate::context::{Plain, Watched as _};
use crate::lookup::{list, partition_count, trouble};
use crate::refusal::{Subject, code, is_missing_right};
use crate::{Cause, Client, Error, Refusal};

/// One partition's end is told within two fetches.
const FETCH: Duration = Duration::from_secs(5);

impl Client {
    /// What is refused to this client's handles at this moment, the most urgent first. Cheap: nobody is asked.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.board.open()
    }

    /// Looks again at what is refused: what works by now is left out, and topics that the brokers refused without a name are named.
    /// Asks nobody while nothing is refused.
    pub async fn look(&self) -> Vec<Refusal> {
        if self.board.is_troubled() {
            let client = self.clone();
            let looked = tokio::task::spawn_blocking(move || again(&client)).await;
            if let Ok(Err(error)) = looked {
                tracing::debug!(error = &error as &dyn std::error::Error, "looking again at what is refused");
            }
        }
        self.board.open()
    }

    /// True when nothing gets through and a file of the security settings is another one now: only a process that starts again reads it.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.board.connection().is_some() && self.board.files_changed(self)
    }
}

/// Which of these topics may not be read, and whether the group may not be used: empty is all of them.
pub async fn unreadable(client: &Client, group: &str, topics: Vec<String>) -> Result<Vec<Refusal>, Error> {
    let (client, group) = (client.clone(), group.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let probe = probe(&client, &group)?;
        let mut refused = Vec::new();
        for topic in &topics {
            match read(&probe, topic) {
                Ok(()) => {}
                Err(Error::Refused(found)) => refused.extend(found),
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    });
    asked.await.map_err(|_| Error::Stopped { what: "asking for rights" })?
}

fn probe(client: &Client, group: &str) -> Result<BaseConsumer<Plain>, Error> {
    settings(client, &Role::Probe { group })?
        .create_with_context(Plain::asking(client))
        .map_err(|source| Error::Settings { what: "creating a reader".to_owned(), source: Cause::new(source).into() })
}

/// Everything that is open on the board, tried again.
fn again(client: &Client) -> Result<(), Error> {
    let board = &client.board;
    let (unread, unnamed) = (board.unread(), board.has_unnamed());
    let mut topics: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, topic) in board.all_reads() {
        let asked = topics.entry(group).or_default();
        if unnamed || unread.contains(&topic) {
            asked.push(topic);
        }
    }
    if topics.is_empty() {
        let probe = probe(client, &client.client_id)?;
        return reach(&probe);
    }
    for (group, topics) in topics {
        let probe = probe(client, &group)?;
        reach(&probe)?;
        offsets(&probe, &group, topics.first().map(String::as_str))?;
        for topic in topics {
            // A refusal is on the board by now.
            if let Err(error) = read(&probe, &topic)
                && !matches!(error, Error::Refused(_))
            {
                return Err(error);
            }
        }
    }
    board.named();
    Ok(())
}

fn reach(probe: &BaseConsumer<Plain>) -> Result<(), Error> {
    probe
        .fetch_metadata(None, FETCH)
        .map(|_| probe.context().board().works(Subject::Cluster))
        .map_err(|source| trouble(probe, "asking the brokers".to_owned(), source, Subject::Cluster))
}

/// The group's offsets, which whoever may use the group may ask for.
fn offsets(probe: &BaseConsumer<Plain>, group: &str, topic: Option<&str>) -> Result<(), Error> {
    let Some(topic) = topic else { return Ok(()) };
    let subject = Subject::Group(group, Operation::Read);
    match probe.committed_offsets(list([(topic, 0, Offset::Invalid)]), FETCH) {
        Err(error) if code(&error).is_some_and(is_missing_right) => {
            drop(trouble(probe, "asking for offsets".to_owned(), error, subject));
        }
        Err(error) => return Err(trouble(probe, "asking for offsets".to_owned(), error, subject)),
        Ok(_) => probe.context().board().works(subject),
    }
    Ok(())
}

/// Reads a partition's end, which is no record.
fn read(probe: &BaseConsumer<Plain>, topic: &str) -> Result<(), Error> {
    partition_count(probe, topic)?;
    let subject = Subject::Topic(topic, Operation::Read);
    let what = || format!("reading `{topic}`");
    probe.assign(&list([(topic, 0, Offset::End)])).map_err(|source| trouble(probe, what(), source, subject))?;
    let deadline = Instant::now() + FETCH;
    let mut last = KafkaError::NoMessageReceived;
    let ended = loop {
        match probe.poll(Duration::from_millis(50)) {
            // Somebody wrote meanwhile: it may be read, too.
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => break Ok(()),
            Some(Err(error)) if code(&error).is_some_and(is_missing_right) => break Err(error),
            Some(Err(error)) => last = error,
            None if Instant::now() > deadline => break Err(last),
            None => {}
        }
    };
    if let Err(error) = probe.unassign() {
        tracing::debug!(%error, topic, "releasing a topic that was tried");
    }
    let board = probe.context().board();
    match ended {
        Ok(()) => {
            board.works(subject);
            Ok(())
        }
        Err(error) => Err(board.error(what(), error, subject)),
    }
}
