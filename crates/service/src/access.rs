//! Who this process is and how it is let in: options that beat `kafka.security` and `registry` of millrace.yaml, so that one landscape
//! folder serves every identity. Secrets come as files only; an option never holds one.

use std::path::{Path, PathBuf};

use clap::Args;
use landscape::{DestinationConnector, Landscape, Security, SourceConnector};
use serde::Deserialize;

use crate::Exit;

/// Identity towards Kafka and the schema registry, and where the landscape's relative secret files lie. As a document it has the options'
/// names: the demo writes it for the command line.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[command(next_help_heading = "Identity (secrets only as files)")]
pub struct Access {
    /// SASL mechanism: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN [default: the landscape's, or SCRAM-SHA-512]
    #[arg(long, env = "MILLRACE_KAFKA_MECHANISM", value_name = "NAME", hide_env_values = true)]
    kafka_mechanism: Option<String>,

    /// Kafka user
    #[arg(
        long,
        env = "MILLRACE_KAFKA_USERNAME",
        value_name = "NAME",
        conflicts_with = "kafka_username_file",
        hide_env_values = true
    )]
    kafka_username: Option<String>,

    /// File with the name of the Kafka user
    #[arg(long, env = "MILLRACE_KAFKA_USERNAME_FILE", value_name = "FILE", hide_env_values = true)]
    kafka_username_file: Option<PathBuf>,

    /// File with the password of the Kafka user
    #[arg(long, env = "MILLRACE_KAFKA_PASSWORD_FILE", value_name = "FILE", hide_env_values = true)]
    kafka_password_file: Option<PathBuf>,

    /// PEM file with the authorities that the brokers' certificates are checked against; switches TLS on
    #[arg(long, env = "MILLRACE_KAFKA_CA_FILE", value_name = "FILE", hide_env_values = true)]
    kafka_ca_file: Option<PathBuf>,

    /// PEM file with this process's certificate (mTLS)
    #[arg(
        long,
        env = "MILLRACE_KAFKA_CERTIFICATE_FILE",
        value_name = "FILE",
        requires = "kafka_key_file",
        hide_env_values = true
    )]
    kafka_certificate_file: Option<PathBuf>,

    /// PEM file with the key of that certificate
    #[arg(
        long,
        env = "MILLRACE_KAFKA_KEY_FILE",
        value_name = "FILE",
        requires = "kafka_certificate_file",
        hide_env_values = true
    )]
    kafka_key_file: Option<PathBuf>,

    /// Registry user (basic authentication)
    #[arg(
        long,
        env = "MILLRACE_REGISTRY_USERNAME",
        value_name = "NAME",
        conflicts_with = "registry_username_file",
        hide_env_values = true
    )]
    registry_username: Option<String>,

    /// File with the name of the registry user
    #[arg(long, env = "MILLRACE_REGISTRY_USERNAME_FILE", value_name = "FILE", hide_env_values = true)]
    registry_username_file: Option<PathBuf>,

    /// File with the password of the registry user
    #[arg(long, env = "MILLRACE_REGISTRY_PASSWORD_FILE", value_name = "FILE", hide_env_values = true)]
    registry_password_file: Option<PathBuf>,

    /// PEM file with authorities to trust for the registry, beside the system's
    #[arg(long, env = "MILLRACE_REGISTRY_CA_FILE", value_name = "FILE", hide_env_values = true)]
    registry_ca_file: Option<PathBuf>,

    /// Folder that relative names of secret files in the landscape start from [default: the working directory]
    #[arg(long, env = "MILLRACE_SECRETS", value_name = "DIR", hide_env_values = true)]
    secrets: Option<PathBuf>,
}

impl Access {
    /// Writes these options over what the landscape says, and makes the landscape's relative secret files absolute.
    ///
    /// # Errors
    /// [`Exit::config`] when a file with a user's name cannot be read.
    pub fn apply(&self, landscape: &mut Landscape) -> Result<(), Exit> {
        if let Some(folder) = &self.secrets {
            place(landscape, folder);
        }
        self.kafka(landscape)?;
        let registry = &mut landscape.registry;
        replace(&mut registry.username, name(self.registry_username.as_ref(), self.registry_username_file.as_deref())?);
        replace(&mut registry.password_file, shown(self.registry_password_file.as_deref()));
        replace(&mut registry.ca_file, shown(self.registry_ca_file.as_deref()));
        Ok(())
    }

    fn kafka(&self, landscape: &mut Landscape) -> Result<(), Exit> {
        let username = name(self.kafka_username.as_ref(), self.kafka_username_file.as_deref())?;
        let given = username.is_some()
            || self.kafka_mechanism.is_some()
            || [&self.kafka_password_file, &self.kafka_ca_file, &self.kafka_certificate_file].iter().any(|file| file.is_some());
        if !given {
            return Ok(());
        }
        let security = landscape.kafka.security.get_or_insert_with(|| Security {
            protocol: String::new(),
            mechanism: None,
            username: None,
            password_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
        });
        replace(&mut security.mechanism, self.kafka_mechanism.clone());
        replace(&mut security.username, username);
        replace(&mut security.password_file, shown(self.kafka_password_file.as_deref()));
        replace(&mut security.ca_file, shown(self.kafka_ca_file.as_deref()));
        replace(&mut security.certificate_file, shown(self.kafka_certificate_file.as_deref()));
        replace(&mut security.key_file, shown(self.kafka_key_file.as_deref()));
        if security.username.is_some() != security.password_file.is_some() {
            return Err(Exit::config(anyhow::anyhow!(
                "a Kafka user needs a name and a password file: give --kafka-username (or --kafka-username-file) and --kafka-password-file"
            )));
        }
        let protocol = match (&security.ca_file, &security.username) {
            (Some(_), Some(_)) => "sasl_ssl",
            (Some(_), None) => "ssl",
            (None, _) => "sasl_plaintext",
        };
        protocol.clone_into(&mut security.protocol);
        Ok(())
    }
}

fn replace(slot: &mut Option<String>, given: Option<String>) {
    if given.is_some() {
        *slot = given;
    }
}

fn shown(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.to_string_lossy().into_owned())
}

/// A name as given, or the text of the file that holds it.
fn name(given: Option<&String>, file: Option<&Path>) -> Result<Option<String>, Exit> {
    let Some(path) = file else { return Ok(given.cloned()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Exit::config(anyhow::anyhow!("reading a user's name from `{}`: {error}", path.display())))?;
    Ok(Some(text.trim().to_owned()))
}

/// Relative secret files start from `folder`.
fn place(landscape: &mut Landscape, folder: &Path) {
    let mut files: Vec<&mut Option<String>> = vec![&mut landscape.registry.password_file, &mut landscape.registry.ca_file];
    if let Some(security) = &mut landscape.kafka.security {
        let Security { password_file, ca_file, certificate_file, key_file, .. } = security;
        files.extend([password_file, ca_file, certificate_file, key_file]);
    }
    for source in landscape.sources.values_mut() {
        if let SourceConnector::HttpPoll { authorization_file, .. } = &mut source.connector {
            files.push(authorization_file);
        }
    }
    for destination in landscape.destinations.values_mut() {
        let DestinationConnector::Http { authorization_file, .. } = &mut destination.connector;
        files.push(authorization_file);
    }
    for file in files.into_iter().flatten() {
        // An absolute name stays what it is.
        *file = folder.join(&file).to_string_lossy().into_owned();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn landscape() -> Landscape {
        let text = "version: '1'\nkafka:\n  security: {protocol: sasl_ssl, username: of-the-file, password_file: kafka/password, ca_file: /etc/ca.crt}\n";
        Landscape::parse(&BTreeMap::from([("millrace.yaml".to_owned(), text.to_owned())])).unwrap()
    }

    #[test]
    fn options_beat_the_landscape_and_relative_secrets_start_from_their_folder() {
        let mut landscape = landscape();
        let access = Access {
            kafka_username: Some("sink-mes-ulm".into()),
            secrets: Some("/run/secrets".into()),
            registry_ca_file: Some("/run/registry.crt".into()),
            ..Access::default()
        };
        access.apply(&mut landscape).unwrap();
        let security = landscape.kafka.security.unwrap();
        assert_eq!(security.username.as_deref(), Some("sink-mes-ulm"));
        assert_eq!(security.password_file.as_deref(), Some("/run/secrets/kafka/password"));
        assert_eq!(security.ca_file.as_deref(), Some("/etc/ca.crt"));
        assert_eq!(landscape.registry.ca_file.as_deref(), Some("/run/registry.crt"));
    }

    #[test]
    fn a_name_without_a_password_is_told_at_once() {
        let mut landscape = landscape();
        landscape.kafka.security = None;
        let access = Access { kafka_username: Some("sink".into()), ..Access::default() };
        let exit = access.apply(&mut landscape).unwrap_err();
        assert_eq!(exit.code(), 78);
        assert!(exit.text().contains("--kafka-password-file"), "{}", exit.text());
    }
}
