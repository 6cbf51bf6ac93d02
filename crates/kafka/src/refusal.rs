//! What is refused for reasons of security, as sentences that say what to do: who we are, whom we trust, what we may do.
//!
//! Invariant: a refusal is never the record's fault and never the end of a process: somebody mends it, and work goes on.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use landscape::{Grant, Operation, Pattern, Resource};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::Client;

/// One refusal. Ordered, so that those that hide others come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The brokers do not take our name and password.
    Credentials { user: String, mechanism: String, file: PathBuf },
    /// We do not take the brokers' certificate.
    TheirCertificate { brokers: String, authority: PathBuf },
    /// The brokers do not take ours, or want one and got none.
    OurCertificate { file: Option<PathBuf> },
    /// The name is known, the right is missing.
    Grant { user: String, brokers: String, grant: Grant },
}

/// What was asked when a right turned out to be missing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// Nothing in particular: the cluster itself.
    Cluster,
    Topic(&'a str, Operation),
    Group(&'a str, Operation),
    TransactionalId(&'a str),
}

/// Who a client is, for the sentences; no secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    user: String,
    mechanism: String,
    brokers: String,
    password_file: PathBuf,
    authority: PathBuf,
    certificate: Option<PathBuf>,
}

impl Identity {
    pub(crate) fn of(client: &Client) -> Self {
        let mut identity = Self { user: "ANONYMOUS".to_owned(), brokers: client.brokers.clone(), ..Self::default() };
        let Some(security) = &client.security else { return identity };
        identity.authority = security.ca_file.clone().unwrap_or_default();
        identity.certificate.clone_from(&security.certificate_file);
        if let Some(sasl) = &security.sasl {
            identity.user.clone_from(&sasl.username);
            identity.mechanism.clone_from(&sasl.mechanism);
            identity.password_file.clone_from(&sasl.password_file);
        } else if let Some(certificate) = &security.certificate_file {
            // Brokers make the name from the certificate by rules of their own.
            identity.user = format!("<the name in {}>", certificate.display());
        }
        identity
    }

    /// A connection that was refused, by what the library says of it. Its texts are those of librdkafka 2.12 and OpenSSL; what they do
    /// not tell apart (an unknown authority from an expired certificate) cannot be told apart here.
    pub(crate) fn connection(&self, code: Option<RDKafkaErrorCode>, said: &str) -> Option<Refusal> {
        // A connection that is lost half-way is told in the same words, and with the request that got no answer.
        let is_told = said.contains("SASL authentication error: ") && !said.contains("Request failed");
        if code == Some(RDKafkaErrorCode::Authentication) || is_told {
            return Some(Refusal::Credentials {
                user: self.user.clone(),
                mechanism: self.mechanism.clone(),
                file: self.password_file.clone(),
            });
        }
        let is_alert =
            said.contains("alert") && ["certificate", "unknown ca", "handshake failure"].iter().any(|s| said.contains(s));
        if is_alert || said.contains("client SSL authentication might be required") {
            return Some(Refusal::OurCertificate { file: self.certificate.clone() });
        }
        let is_theirs = code == Some(RDKafkaErrorCode::SSL) || said.contains("SSL handshake failed: error");
        (is_theirs && said.contains("certificate"))
            .then(|| Refusal::TheirCertificate { brokers: self.brokers.clone(), authority: self.authority.clone() })
    }

    /// A right that is missing. `expected` is all that this identity should have: the grant of that resource is printed whole.
    pub(crate) fn missing(&self, code: RDKafkaErrorCode, subject: Subject<'_>, expected: &[Grant]) -> Option<Refusal> {
        let (resource, name, operation) = match (code, subject) {
            (RDKafkaErrorCode::TopicAuthorizationFailed, Subject::Topic(name, operation)) => (Resource::Topic, name, operation),
            (RDKafkaErrorCode::GroupAuthorizationFailed, Subject::Group(name, operation)) => (Resource::Group, name, operation),
            // An idempotent producer is let in by any right to write.
            (
                RDKafkaErrorCode::TransactionalIdAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
                Subject::TransactionalId(name),
            ) => (Resource::TransactionalId, name, Operation::Write),
            (RDKafkaErrorCode::ClusterAuthorizationFailed, Subject::Topic(name, operation)) => (Resource::Topic, name, operation),
            _ => return None,
        };
        let covers = |grant: &&Grant| {
            let is_named = match grant.pattern {
                Pattern::Literal => grant.name == name,
                Pattern::Prefixed => name.starts_with(&grant.name),
            };
            grant.resource == resource && is_named
        };
        // Of what implies `Describe` nothing is there; of anything else only the operation itself is known to be missing.
        let expected = expected.iter().find(covers);
        let grant = match expected {
            Some(expected) if operation == Operation::Describe => expected.clone(),
            Some(expected) => Grant { operations: vec![operation], ..expected.clone() },
            None => Grant { resource, name: name.to_owned(), pattern: Pattern::Literal, operations: vec![operation] },
        };
        Some(Refusal::Grant { user: self.user.clone(), brokers: self.brokers.clone(), grant })
    }
}

/// True for codes that only a grant heals.
pub(crate) fn is_missing_right(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
    )
}

/// The code, also of those errors that the library hides it in.
pub(crate) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

impl Refusal {
    /// True where the brokers let nobody in: nothing else can be found out meanwhile.
    #[must_use]
    pub const fn is_connection(&self) -> bool {
        !matches!(self, Refusal::Grant { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Credentials { user, mechanism, file } => write!(
                f,
                "the brokers refuse user {user} ({mechanism}): no such user, or not the password in {}; put the right one there or set it on the \
                 brokers: kafka-configs --alter --entity-type users --entity-name {user} --add-config '{mechanism}=[password=…]'",
                file.display()
            ),
            Refusal::TheirCertificate { brokers, authority } => {
                let first = brokers.split(',').next().unwrap_or_default();
                let authority = authority.display();
                write!(
                    f,
                    "the brokers' certificate does not hold: it has expired, names another host, or comes from no authority in {authority}; look \
                     at it: openssl s_client -connect {first} -CAfile {authority} -verify_return_error"
                )
            }
            Refusal::OurCertificate { file: Some(file) } => {
                let file = file.display();
                write!(
                    f,
                    "the brokers refuse the certificate in {file}: it has expired or comes from an authority that they do not know; look at it: \
                     openssl x509 -in {file} -noout -dates -issuer"
                )
            }
            Refusal::OurCertificate { file: None } => {
                f.write_str("the brokers want a client certificate; give --kafka-certificate-file and --kafka-key-file")
            }
            Refusal::Grant { user, brokers, grant } => {
                let line = grant.kafka_acls(user);
                let line = line.strip_prefix("kafka-acls ").unwrap_or(&line);
                write!(f, "User:{user} may not {}; to grant: kafka-acls --bootstrap-server {brokers} {line}", deed(grant))
            }
        }
    }
}

/// `read and write mdm.ledger.mes-ulm`.
fn deed(grant: &Grant) -> String {
    let name = &grant.name;
    let has = |operation| grant.operations.contains(&operation);
    match grant.resource {
        Resource::TransactionalId => format!("use transactional id {name}"),
        Resource::Group => format!("read as group {name}"),
        Resource::Topic => match (has(Operation::Read), has(Operation::Write)) {
            (true, true) => format!("read and write {name}"),
            (true, false) => format!("read {name}"),
            (false, true) => format!("write {name}"),
            (false, false) if has(Operation::Create) => format!("create {name}"),
            (false, false) if has(Operation::AlterConfigs) => format!("set the configuration of {name}"),
            (false, false) if has(Operation::Describe) => format!("look at {name}"),
            (false, false) => format!("see the configuration of {name}"),
        },
    }
}

/// Several as one sentence; the first few are enough to act on.
pub(crate) fn sentences(refusals: &[Refusal]) -> String {
    const SHOWN: usize = 3;
    let distinct: BTreeSet<String> = refusals.iter().map(ToString::to_string).collect();
    let mut text: Vec<String> = distinct.iter().take(SHOWN).cloned().collect();
    if distinct.len() > SHOWN {
        text.push(format!("and {} more", distinct.len() - SHOWN));
    }
    text.join("; ")
}

/// A fingerprint of files that clients read once, when they are made; what cannot be read is part of it.
pub(crate) fn fingerprint<'a>(files: impl IntoIterator<Item = &'a Path>) -> Vec<Option<Vec<u8>>> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let digest = |bytes: Vec<u8>| {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish().to_be_bytes().to_vec()
    };
    files.into_iter().map(|file| std::fs::read(file).ok().map(digest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sasl, Security};

    fn identity() -> Identity {
        let mut client = Client::new("broker:9093", "test");
        client.security = Some(Security {
            ca_file: Some("/s/ca.crt".into()),
            certificate_file: None,
            key_file: None,
            sasl: Some(Sasl {
                mechanism: "SCRAM-SHA-512".into(),
                username: "sink-mes-ulm".into(),
                password_file: "/s/password".into(),
            }),
        });
        Identity::of(&client)
    }

    #[test]
    fn a_missing_right_says_who_what_and_how_to_grant_it() {
        let denied = RDKafkaErrorCode::TopicAuthorizationFailed;
        let write = identity().missing(denied, Subject::Topic("mdm.receipt.mes-ulm", Operation::Write), &[]).unwrap();
        assert_eq!(
            write.to_string(),
            "User:sink-mes-ulm may not write mdm.receipt.mes-ulm; to grant: kafka-acls --bootstrap-server broker:9093 --add \
             --allow-principal User:sink-mes-ulm --operation Write --topic mdm.receipt.mes-ulm"
        );
        // A topic that may not even be looked at lacks all that was expected.
        let expected = [Grant {
            resource: Resource::Topic,
            name: "mdm.ledger.mes-ulm".into(),
            pattern: Pattern::Literal,
            operations: vec![Operation::Read, Operation::Write, Operation::DescribeConfigs],
        }];
        let all = identity().missing(denied, Subject::Topic("mdm.ledger.mes-ulm", Operation::Describe), &expected).unwrap();
        let text = all.to_string();
        assert!(text.starts_with("User:sink-mes-ulm may not read and write mdm.ledger.mes-ulm; "), "{text}");
        assert!(
            text.ends_with("--operation Read --operation Write --operation DescribeConfigs --topic mdm.ledger.mes-ulm"),
            "{text}"
        );
    }

    #[test]
    fn a_prefix_that_covers_a_transactional_id_is_granted_as_the_prefix_that_it_is() {
        let expected = [Grant {
            resource: Resource::TransactionalId,
            name: "mdm.validator.".into(),
            pattern: Pattern::Prefixed,
            operations: vec![Operation::Write, Operation::Describe],
        }];
        let code = RDKafkaErrorCode::TransactionalIdAuthorizationFailed;
        let text = identity().missing(code, Subject::TransactionalId("mdm.validator.v-0.0"), &expected).unwrap().to_string();
        assert!(text.contains("may not use transactional id mdm.validator."), "{text}");
        assert!(text.ends_with("--transactional-id mdm.validator. --resource-pattern-type prefixed"), "{text}");
    }

    #[test]
    fn what_the_library_says_of_a_refused_connection_is_understood() {
        // As librdkafka 2.12.1 says it, against Apache Kafka 4.4.0.
        let password = "sasl_ssl://127.0.0.1:1/bootstrap: SASL authentication error: Authentication failed during authentication due to invalid \
                        credentials with SASL mechanism SCRAM-SHA-512 (after 5ms in state AUTH_REQ)";
        let theirs = "sasl_ssl://127.0.0.1:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker \
                      certificate could not be verified, verify that ssl.ca.location is correctly configured or root CA certificates are installed";
        let ours = "ssl://127.0.0.1:1/bootstrap: SSL handshake failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42";
        let connection = |code, said| identity().connection(code, said).map(|refusal| refusal.to_string()).unwrap_or_default();
        let text = connection(Some(RDKafkaErrorCode::Authentication), password);
        assert!(text.contains("refuse user sink-mes-ulm (SCRAM-SHA-512)") && text.contains("/s/password"), "{text}");
        assert_eq!(connection(None, password), text, "the log knows it before the event does");
        let text = connection(Some(RDKafkaErrorCode::SSL), theirs);
        assert!(text.contains("openssl s_client -connect broker:9093 -CAfile /s/ca.crt"), "{text}");
        assert!(connection(Some(RDKafkaErrorCode::SSL), ours).contains("want a client certificate"));
        for harmless in [
            "127.0.0.1:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            "SSL handshake failed: Disconnected",
            "SASL authentication error: SaslAuthenticateRequest failed: Local: Broker transport failure (after 0ms in state DOWN)",
        ] {
            assert_eq!(connection(Some(RDKafkaErrorCode::BrokerTransportFailure), harmless), "");
        }
    }

    #[test]
    fn many_refusals_are_a_sentence_that_can_be_read() {
        let many: Vec<Refusal> = (0..9)
            .filter_map(|n| {
                let topic = format!("t{n}");
                identity().missing(RDKafkaErrorCode::TopicAuthorizationFailed, Subject::Topic(&topic, Operation::Read), &[])
            })
            .collect();
        assert!(sentences(&many).ends_with("--topic t2; and 6 more"), "{}", sentences(&many));
    }
}
