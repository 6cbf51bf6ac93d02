//! Every setting of librdkafka, in one function. Rows that carry correctness cannot be changed from outside.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use landscape::Grant;
use model::Outgoing;
use rdkafka::ClientConfig;

use crate::Error;
use crate::board::Board;

/// How to reach the cluster. No `Debug`: it carries the way to the secrets.
#[derive(Clone)]
pub struct Client {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Shown in broker logs and quotas: `millrace-validator-0`.
    pub client_id: String,
    pub security: Option<Security>,
    pub(crate) board: Arc<Board>,
}

impl Client {
    /// A client without TLS and SASL.
    #[must_use]
    pub fn new(brokers: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), client_id: client_id.into(), security: None, board: Arc::default() }
    }

    /// Tells what this identity should be granted: where a right is missing, the whole grant is named.
    #[must_use]
    pub fn expecting(self, grants: Vec<Grant>) -> Self {
        self.board.expect(grants);
        self
    }

    /// A client that is let in as the landscape says.
    #[must_use]
    pub fn of(landscape: &landscape::Kafka, brokers: &[String], client_id: impl Into<String>) -> Self {
        let path = |file: &Option<String>| file.as_ref().map(PathBuf::from);
        let security = landscape.security.as_ref().map(|security| Security {
            ca_file: path(&security.ca_file),
            certificate_file: path(&security.certificate_file),
            key_file: path(&security.key_file),
            sasl: security.username.as_ref().zip(path(&security.password_file)).map(|(username, password_file)| Sasl {
                mechanism: security.mechanism.clone().unwrap_or_else(|| "SCRAM-SHA-512".to_owned()),
                username: username.clone(),
                password_file,
            }),
        });
        Self { brokers: brokers.join(","), client_id: client_id.into(), security, board: Arc::default() }
    }
}

/// TLS, and SASL on top where `sasl` is given. Secrets come by file and are read when a client is made.
#[derive(Clone)]
pub struct Security {
    /// Mandatory with TLS: a static OpenSSL would look in paths that minimal images do not have. None is no TLS (SASL_PLAINTEXT).
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub sasl: Option<Sasl>,
}

/// Who we are.
#[derive(Clone)]
pub struct Sasl {
    /// `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`; always set, because the library's default is GSSAPI, which is not built in.
    pub mechanism: String,
    pub username: String,
    pub password_file: PathBuf,
}

/// What a client is for; the settings follow.
pub(crate) enum Role<'a> {
    /// A static member of a group.
    Member {
        group: &'a str,
        instance: &'a str,
        session_timeout: Duration,
        reset: &'static str,
        queued_kib: u32,
    },
    /// Reads by `assign()` under the group's name, which it never joins.
    Assigned {
        group: &'a str,
        committed_only: bool,
    },
    /// `queue` bounds the records in flight.
    Transactional {
        id: &'a str,
        queue: usize,
    },
    Idempotent,
    Admin,
    /// Asks for the right to read, record by record none.
    Probe {
        group: &'a str,
    },
}

/// The transaction detector of kafka.md 6.6 counts in these.
pub(crate) const TRANSACTION_RETRY_BACKOFF: Duration = Duration::from_millis(400);
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn settings(client: &Client, role: &Role<'_>) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::new();
    let mut set = |key: &str, value: &str| {
        config.set(key, value);
    };
    set("bootstrap.servers", &client.brokers);
    set("client.id", &client.client_id);
    set("reconnect.backoff.ms", "100");
    set("reconnect.backoff.max.ms", "1000");
    set("topic.metadata.refresh.fast.interval.ms", "100");
    set("allow.auto.create.topics", "false");
    match role {
        Role::Member { group, .. } | Role::Assigned { group, .. } | Role::Probe { group } => {
            set("group.id", group);
            set("enable.auto.commit", "false");
            set("enable.auto.offset.store", "false");
            set("queued.min.messages", "1000");
            set("fetch.message.max.bytes", "1048576");
            set("fetch.queue.backoff.ms", "10");
            set("fetch.wait.max.ms", "100");
        }
        Role::Transactional { .. } | Role::Idempotent => {
            set("compression.codec", "lz4");
            set("queue.buffering.max.kbytes", "16384");
            set("message.max.bytes", &Outgoing::LARGEST.to_string());
            // Never used: a record without a partition does not compile. Named, so that a slip would still be repeatable.
            set("partitioner", "murmur2_random");
        }
        Role::Admin => {}
    }
    match role {
        Role::Member { instance, session_timeout, reset, queued_kib, .. } => {
            set("group.instance.id", instance);
            set("group.protocol", "classic");
            // The only assignor that keeps slots whole (C25).
            set("partition.assignment.strategy", "range");
            set("isolation.level", "read_committed");
            set("auto.offset.reset", reset);
            set("session.timeout.ms", &session_timeout.as_millis().to_string());
            set("heartbeat.interval.ms", &(session_timeout.as_millis() / 10).clamp(100, 3000).to_string());
            set("max.poll.interval.ms", "300000");
            set("queued.max.messages.kbytes", &queued_kib.to_string());
            set("statistics.interval.ms", "5000");
        }
        Role::Assigned { committed_only, .. } => {
            set("isolation.level", if *committed_only { "read_committed" } else { "read_uncommitted" });
            set("auto.offset.reset", "earliest");
            set("queued.max.messages.kbytes", "4096");
        }
        Role::Transactional { id, queue } => {
            set("transactional.id", id);
            set("transaction.timeout.ms", &TRANSACTION_TIMEOUT.as_millis().to_string());
            set("retry.backoff.ms", &TRANSACTION_RETRY_BACKOFF.as_millis().to_string());
            set("retry.backoff.max.ms", "1000");
            set("linger.ms", "0");
            set("queue.buffering.max.messages", &queue.to_string());
        }
        Role::Idempotent => {
            set("enable.idempotence", "true");
            set("acks", "all");
            // Infinite: a record that expires in the queue leaves a gap without an error (P14).
            set("message.timeout.ms", "0");
            set("retry.backoff.ms", "100");
            set("retry.backoff.max.ms", "1000");
            set("linger.ms", "5");
            set("queue.buffering.max.messages", "10000");
        }
        Role::Probe { .. } => {
            set("isolation.level", "read_committed");
            set("auto.offset.reset", "latest");
            // An end that was reached is a read that was allowed.
            set("enable.partition.eof", "true");
        }
        Role::Admin => {}
    }
    secure(client.security.as_ref(), &mut config)?;
    client.board.know(client);
    Ok(config)
}

fn secure(security: Option<&Security>, config: &mut ClientConfig) -> Result<(), Error> {
    let Some(security) = security else { return Ok(()) };
    let protocol = match (&security.ca_file, &security.sasl) {
        (Some(_), Some(_)) => "sasl_ssl",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (None, None) => "plaintext",
    };
    config.set("security.protocol", protocol);
    for (key, file) in [
        ("ssl.ca.location", &security.ca_file),
        ("ssl.certificate.location", &security.certificate_file),
        ("ssl.key.location", &security.key_file),
    ] {
        if let Some(file) = file {
            config.set(key, file.to_string_lossy());
        }
    }
    if let Some(sasl) = &security.sasl {
        let password = std::fs::read_to_string(&sasl.password_file)
            .map_err(|source| Error::File { path: sasl.password_file.clone(), source })?;
        let password = password.trim_end_matches(['\r', '\n']);
        telemetry::secret::keep_login(&sasl.username, password);
        config.set("sasl.mechanisms", &sasl.mechanism);
        config.set("sasl.username", &sasl.username);
        config.set("sasl.password", password);
    }
    Ok(())
}

/// The linked library, as it names itself: shown by `millrace doctor` and at start.
#[must_use]
pub fn library() -> String {
    let (_, version) = rdkafka::util::get_rdkafka_version();
    format!("librdkafka {version}")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_rows_that_carry_correctness_are_set() {
        let client = Client::new("127.0.0.1:1", "test");
        let session_timeout = Duration::from_secs(45);
        let member = Role::Member { group: "g", instance: "i", session_timeout, reset: "error", queued_kib: 1 };
        let cases: [(Role<'_>, &[(&str, &str)]); 4] = [
            (
                member,
                &[
                    ("enable.auto.commit", "false"),
                    ("enable.auto.offset.store", "false"),
                    ("isolation.level", "read_committed"),
                    ("partition.assignment.strategy", "range"),
                    ("group.instance.id", "i"),
                    ("auto.offset.reset", "error"),
                ],
            ),
            (
                Role::Assigned { group: "g", committed_only: true },
                &[("enable.auto.commit", "false"), ("isolation.level", "read_committed")],
            ),
            (
                Role::Transactional { id: "t", queue: 1000 },
                &[
                    ("transactional.id", "t"),
                    ("transaction.timeout.ms", "30000"),
                    ("retry.backoff.ms", "400"),
                    ("message.max.bytes", "1000000"),
                ],
            ),
            (Role::Idempotent, &[("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", "0")]),
        ];
        for (role, wanted) in cases {
            let config = settings(&client, &role).unwrap();
            for (name, value) in wanted {
                assert_eq!(config.get(name), Some(*value), "{name}");
            }
            // The library itself agrees with every name and value.
            config.create_native_config().unwrap();
        }
    }

    #[test]
    fn a_password_comes_from_its_file_and_a_missing_file_is_named() {
        let path = std::env::temp_dir().join(format!("millrace-password-{}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(b"secret\n").unwrap();
        let mut client = Client::new("127.0.0.1:1", "test");
        let sasl = Sasl { mechanism: "SCRAM-SHA-512".into(), username: "u".into(), password_file: path.clone() };
        client.security = Some(Security { ca_file: None, certificate_file: None, key_file: None, sasl: Some(sasl) });
        let config = settings(&client, &Role::Admin).unwrap();
        assert_eq!(config.get("sasl.password"), Some("secret"));
        assert_eq!(config.get("security.protocol"), Some("sasl_plaintext"));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(settings(&client, &Role::Admin), Err(Error::File { path: named, .. }) if named == path));
    }

    #[test]
    fn the_linked_library_is_the_one_whose_traps_are_known() {
        let (number, version) = rdkafka::util::get_rdkafka_version();
        assert!(number >= 0x020c_01ff, "{version}");
    }
}
