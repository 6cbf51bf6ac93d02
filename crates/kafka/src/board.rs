//! What is refused to a client at this moment, shared by all handles that were made from it.
//!
//! Handles post what they meet and take it down when it works again. What nothing would take down by itself is looked at again by
//! [`Client::look`]: a connection, a topic that is only read. A refused write is posted by whoever tries it, and goes when nobody did for
//! a while: trying on purpose would write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use landscape::{Grant, Operation, Resource};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::refusal::{Identity, Refusal, Subject, code, fingerprint, is_missing_right};
use crate::{Cause, Client, Error};

/// Writers try again every few seconds: after this, nobody wants to write there any more.
const FORGET: Duration = Duration::from_secs(30);
/// What a connection said last is worth repeating for so long.
const FRESH: Duration = Duration::from_secs(40);

#[derive(Default)]
pub(crate) struct Board {
    identity: OnceLock<Identity>,
    /// Of the files that handles read when they are made.
    files: OnceLock<Vec<Option<Vec<u8>>>>,
    expected: Mutex<Vec<Grant>>,
    open: Mutex<BTreeMap<Matter, (Refusal, Instant)>>,
    /// Some topic may not be read, and the broker did not say which.
    unnamed: AtomicBool,
    /// Group and topic of what is read here.
    reads: Mutex<BTreeSet<(String, String)>>,
    /// Nothing is open: the usual case costs one load.
    troubled: AtomicBool,
    hint: Mutex<Option<(String, Instant)>>,
}

/// What a refusal is about: it is open once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Matter {
    Connection,
    Right(Resource, String, Option<Operation>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// Called whenever a handle is made of the client.
    pub(crate) fn know(&self, client: &Client) {
        self.identity.get_or_init(|| Identity::of(client));
        self.files.get_or_init(|| fingerprint(files(client)));
    }

    /// True when a file that handles have read is another one now: only new handles would read it.
    pub(crate) fn files_changed(&self, client: &Client) -> bool {
        self.files.get().is_some_and(|before| *before != fingerprint(files(client)))
    }

    pub(crate) fn expect(&self, grants: Vec<Grant>) {
        *lock(&self.expected) = grants;
    }

    /// These topics are read under this group from now on.
    pub(crate) fn reads<'a>(&self, group: &str, topics: impl IntoIterator<Item = &'a str>) {
        lock(&self.reads).extend(topics.into_iter().map(|topic| (group.to_owned(), topic.to_owned())));
    }

    pub(crate) fn all_reads(&self) -> Vec<(String, String)> {
        lock(&self.reads).iter().cloned().collect()
    }

    /// What a handle says of its connections and subscriptions, in text.
    pub(crate) fn heard(&self, code: Option<RDKafkaErrorCode>, said: &str) {
        let Some(identity) = self.identity.get() else { return };
        if let Some(refusal) = identity.connection(code, said) {
            self.post(Matter::Connection, refusal);
        } else if code == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            // The name, where there is one, stands in the text.
            let named: Option<String> =
                lock(&self.reads).iter().map(|(_, topic)| topic).filter(|t| mentions(said, t)).max().cloned();
            match named {
                Some(topic) => {
                    drop(self.missing(RDKafkaErrorCode::TopicAuthorizationFailed, Subject::Topic(&topic, Operation::Read)))
                }
                None => self.unnamed(),
            }
        } else if code == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
            let groups: BTreeSet<String> = lock(&self.reads).iter().map(|(group, _)| group.clone()).collect();
            for group in groups {
                drop(self.missing(RDKafkaErrorCode::GroupAuthorizationFailed, Subject::Group(&group, Operation::Read)));
            }
        } else if ["connecting to a SSL listener?", "might require SASL"].iter().any(|part| said.contains(part)) {
            let text = "they closed the connection: if they want TLS or a user, give --kafka-ca-file or --kafka-username";
            *lock(&self.hint) = Some((text.to_owned(), Instant::now()));
        }
    }

    /// What the library only logs, or logs long before it tells: why a connection failed, and which topic no transaction may write.
    pub(crate) fn logged(&self, facility: &str, line: &str) {
        match facility {
            "FAIL" => self.heard(None, line),
            "ADDPARTS" if line.contains("Topic authorization failed") => {
                if let Some(topic) = line.split('"').nth(1) {
                    drop(self.missing(RDKafkaErrorCode::TopicAuthorizationFailed, Subject::Topic(topic, Operation::Write)));
                }
            }
            _ => {}
        }
    }

    pub(crate) fn unnamed(&self) {
        self.unnamed.store(true, Ordering::Release);
        self.troubled.store(true, Ordering::Release);
    }

    /// Notes a missing right; none where the code says nothing of the kind.
    pub(crate) fn missing(&self, code: RDKafkaErrorCode, subject: Subject<'_>) -> Option<Refusal> {
        if code == RDKafkaErrorCode::TopicAuthorizationFailed && !matches!(subject, Subject::Topic(..)) {
            self.unnamed();
        }
        let refusal = self.identity.get()?.missing(code, subject, &lock(&self.expected))?;
        self.post(matter(&refusal), refusal.clone());
        Some(refusal)
    }

    /// An error of a call about `subject`, with what is known of its reason.
    pub(crate) fn error(&self, what: impl Into<String>, source: KafkaError, subject: Subject<'_>) -> Error {
        let found = code(&source).filter(|code| is_missing_right(*code)).and_then(|code| self.missing(code, subject));
        if let Some(refusal) = found.or_else(|| self.connection()) {
            return Error::Refused(vec![refusal]);
        }
        let hint = lock(&self.hint).as_ref().filter(|(_, at)| at.elapsed() < FRESH).map(|(text, _)| text.clone());
        match hint {
            Some(hint) => Error::unreachable(format!("{} ({hint})", what.into()), source),
            None => Error::unreachable(what, source),
        }
    }

    /// As [`Board::error`], for what keeps only a cause.
    pub(crate) fn cause(&self, source: KafkaError, subject: Subject<'_>) -> Cause {
        let found = code(&source).filter(|code| is_missing_right(*code)).and_then(|code| self.missing(code, subject));
        found.or_else(|| self.connection()).map_or_else(|| Cause::new(source), Cause::refused)
    }

    /// Why nothing gets through, when that is so.
    pub(crate) fn connection(&self) -> Option<Refusal> {
        if !self.troubled.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.open).get(&Matter::Connection).filter(|(_, seen)| seen.elapsed() < FRESH).map(|(refusal, _)| refusal.clone())
    }

    fn post(&self, matter: Matter, refusal: Refusal) {
        let mut open = lock(&self.open);
        if open.get(&matter).is_none_or(|(before, _)| *before != refusal) {
            tracing::error!(%refusal, "refused");
        }
        open.insert(matter, (refusal, Instant::now()));
        self.troubled.store(true, Ordering::Release);
    }

    /// It worked: whatever stood in its way does no longer.
    pub(crate) fn works(&self, subject: Subject<'_>) {
        if !self.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut open = lock(&self.open);
        let before = open.len();
        open.retain(|matter, _| match (matter, subject) {
            (Matter::Connection, _) => false,
            (Matter::Right(Resource::Topic, name, about), Subject::Topic(topic, operation)) => {
                name != topic || about.is_some_and(|about| about != operation)
            }
            (Matter::Right(Resource::Group, name, _), Subject::Group(group, _)) => name != group,
            // Whoever commits a transaction may use the id, by whichever name the grant goes.
            (Matter::Right(Resource::TransactionalId, name, _), Subject::TransactionalId(id)) => !id.starts_with(name.as_str()),
            (Matter::Right(..), _) => true,
        });
        if open.len() < before {
            tracing::info!(open = open.len(), "what was refused works again");
        }
        self.troubled.store(!open.is_empty() || self.unnamed.load(Ordering::Acquire), Ordering::Release);
    }

    /// After every read was looked at: what was not named is no longer, or is.
    pub(crate) fn named(&self) {
        self.unnamed.store(false, Ordering::Release);
        self.works(Subject::Cluster);
    }

    pub(crate) fn has_unnamed(&self) -> bool {
        self.unnamed.load(Ordering::Acquire)
    }

    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Acquire)
    }

    /// Topics whose reading was refused.
    pub(crate) fn unread(&self) -> BTreeSet<String> {
        let open = lock(&self.open);
        let topics = open.keys().filter_map(|matter| match matter {
            Matter::Right(Resource::Topic, name, about) if *about != Some(Operation::Write) => Some(name.clone()),
            Matter::Right(..) | Matter::Connection => None,
        });
        topics.collect()
    }

    /// What is open now; writes that nobody tried again are left out from here on.
    pub(crate) fn open(&self) -> Vec<Refusal> {
        if !self.is_troubled() {
            return Vec::new();
        }
        let mut open = lock(&self.open);
        open.retain(|matter, (_, seen)| {
            let is_write = match matter {
                Matter::Right(Resource::Topic, _, about) => *about == Some(Operation::Write),
                Matter::Right(Resource::TransactionalId, ..) => true,
                Matter::Right(Resource::Group, ..) | Matter::Connection => false,
            };
            !is_write || seen.elapsed() < FORGET
        });
        self.troubled.store(!open.is_empty() || self.unnamed.load(Ordering::Acquire), Ordering::Release);
        open.values().map(|(refusal, _)| refusal.clone()).collect()
    }
}

/// Where only one operation is missing it is one matter; where nothing is there at all, the whole topic is.
fn matter(refusal: &Refusal) -> Matter {
    match refusal {
        Refusal::Grant { grant, .. } => {
            let only = match grant.operations.as_slice() {
                [operation] if *operation != Operation::Describe => Some(*operation),
                _ => None,
            };
            Matter::Right(grant.resource, grant.name.clone(), only)
        }
        Refusal::Credentials { .. } | Refusal::TheirCertificate { .. } | Refusal::OurCertificate { .. } => Matter::Connection,
    }
}

/// The whole name, not the beginning of a longer one.
fn mentions(text: &str, name: &str) -> bool {
    let part_of_name = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(part_of_name) && !after.starts_with(part_of_name)
    })
}

fn files(client: &Client) -> impl Iterator<Item = &Path> {
    let security = client.security.iter();
    security.flat_map(|security| {
        let own = [&security.ca_file, &security.certificate_file, &security.key_file];
        let password = security.sasl.as_ref().map(|sasl| sasl.password_file.as_path());
        own.into_iter().filter_map(|file| file.as_deref()).chain(password)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: RDKafkaErrorCode = RDKafkaErrorCode::TopicAuthorizationFailed;

    fn board() -> Board {
        let board = Board::default();
        board.know(&Client::new("broker:1", "test"));
        board
    }

    #[test]
    fn what_works_again_goes_and_what_does_not_stays() {
        let board = board();
        assert!(board.missing(DENIED, Subject::Topic("a", Operation::Write)).is_some());
        assert!(board.missing(DENIED, Subject::Topic("b", Operation::Read)).is_some());
        board.works(Subject::Topic("a", Operation::Read));
        assert_eq!(board.open().len(), 2, "reading is not writing");
        board.works(Subject::Topic("a", Operation::Write));
        assert_eq!(board.unread(), BTreeSet::from(["b".to_owned()]));
        board.works(Subject::Topic("b", Operation::Read));
        assert!(board.open().is_empty() && !board.is_troubled());
    }

    #[test]
    fn a_topic_that_no_transaction_may_write_is_named_from_the_log() {
        // As librdkafka 2.12.1 logs it; the delivery itself tells only that it was purged.
        let board = board();
        let line = "[thrd:main]: TxnCoordinator/1: Failed to add partition \"mdm.golden.item\" [4] to transaction: Broker: Topic authorization failed";
        board.logged("ADDPARTS", line);
        let open: Vec<String> = board.open().iter().map(ToString::to_string).collect();
        assert!(open.len() == 1 && open[0].contains("may not write mdm.golden.item; "), "{open:?}");
        board.works(Subject::Topic("mdm.golden.item", Operation::Write));
        assert!(board.open().is_empty());
    }

    #[test]
    fn a_topic_is_named_from_the_text_and_never_by_the_beginning_of_its_name() {
        let board = board();
        board.reads("g", ["mdm.golden.item", "mdm.golden.item-v2"]);
        board.heard(Some(DENIED), "Subscribed topic not available: mdm.golden.item-v2: Broker: Topic authorization failed");
        assert_eq!(board.unread(), BTreeSet::from(["mdm.golden.item-v2".to_owned()]));
        board.heard(Some(DENIED), "Fetch from broker 1 failed: Broker: Topic authorization failed");
        assert!(board.has_unnamed());
    }
}
