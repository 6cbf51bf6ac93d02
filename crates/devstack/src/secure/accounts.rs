//! One folder per identity with exactly the files that its process needs, as a pod's mounted secrets: `kafka/` (username, password,
//! `ca.crt`, `user.crt`, `user.key`) and `registry/` (username, password, `ca.crt`). Readable by their owner only.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::authority::Certified;

/// How identities are proved to the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// A name and a password, SCRAM-SHA-512 over TLS.
    #[default]
    Password,
    /// A client certificate (mTLS).
    Certificate,
}

/// What one identity has.
pub(super) struct Account<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
    pub(super) registry_password: &'a str,
    pub(super) certified: &'a Certified,
    pub(super) authority: &'a str,
}

/// Where the identities' files lie, and how they are used. It holds paths, never a secret.
#[derive(Clone, Debug)]
pub struct Accounts {
    folder: PathBuf,
    way: Way,
}

impl Accounts {
    pub(super) fn new(folder: PathBuf, way: Way) -> Self {
        Self { folder, way }
    }

    /// Writes one identity's files; what was there is replaced.
    pub(super) fn write(&self, account: &Account<'_>) -> Result<()> {
        let files = [
            ("kafka/username", account.name),
            ("kafka/password", account.password),
            ("kafka/ca.crt", account.authority),
            ("kafka/user.crt", &account.certified.certificate),
            ("kafka/user.key", &account.certified.key),
            ("registry/username", account.name),
            ("registry/password", account.registry_password),
            ("registry/ca.crt", account.authority),
        ];
        files.iter().try_for_each(|(name, text)| write(&self.file(account.name, name), text))
    }

    /// A file of an identity: `kafka/password`, `registry/ca.crt`…
    #[must_use]
    pub fn file(&self, principal: &str, name: &str) -> PathBuf {
        self.folder.join(principal).join(name)
    }

    /// Key and certificate of an identity in one file, as Java wants them.
    pub(crate) fn key_store(&self, principal: &str) -> Result<PathBuf> {
        let read = |name: &str| {
            let path = self.file(principal, name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let store = self.file(principal, "kafka/user.pem");
        write(&store, &format!("{}{}", read("kafka/user.key")?, read("kafka/user.crt")?))?;
        Ok(store)
    }

    /// The options by which a process is this identity.
    #[must_use]
    pub fn options(&self, principal: &str) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.file(principal, name).display().to_string();
        let own: &[(&str, &str)] = match self.way {
            Way::Password => &[("--kafka-username-file", "kafka/username"), ("--kafka-password-file", "kafka/password")],
            Way::Certificate => &[("--kafka-certificate-file", "kafka/user.crt"), ("--kafka-key-file", "kafka/user.key")],
        };
        let everybody = [
            ("--kafka-ca-file", "kafka/ca.crt"),
            ("--registry-username-file", "registry/username"),
            ("--registry-password-file", "registry/password"),
            ("--registry-ca-file", "registry/ca.crt"),
        ];
        own.iter().copied().chain(everybody).map(|(option, name)| (option, file(name))).collect()
    }

    /// A Kafka client that is this identity.
    #[must_use]
    pub fn client(&self, brokers: &str, principal: &str, client_id: &str) -> kafka::Client {
        let is_password = self.way == Way::Password;
        let file = |name: &str| self.file(principal, name);
        let mut client = kafka::Client::new(brokers, client_id);
        client.security = Some(kafka::Security {
            ca_file: Some(file("kafka/ca.crt")),
            certificate_file: (!is_password).then(|| file("kafka/user.crt")),
            key_file: (!is_password).then(|| file("kafka/user.key")),
            sasl: is_password.then(|| kafka::Sasl {
                mechanism: "SCRAM-SHA-512".to_owned(),
                username: principal.to_owned(),
                password_file: file("kafka/password"),
            }),
        });
        client
    }

    /// The registry as this identity sees it.
    #[must_use]
    pub fn registry(&self, url: &str, principal: &str) -> registry::Config {
        let mut config = registry::Config::new(vec![url.to_owned()]);
        config.username = Some(principal.to_owned());
        config.password_file = Some(self.file(principal, "registry/password"));
        config.ca_file = Some(self.file(principal, "registry/ca.crt"));
        config
    }
}

/// A file that its owner alone may read, in folders that he alone may enter.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("finding the folder of a secret")?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("creating {}", folder.display()))?;
    // Renamed into place: who reads it meanwhile sees the old one or the new one, and a read-only file can be replaced.
    let next = path.with_extension("next");
    fs::remove_file(&next).ok();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(&next)
        .with_context(|| format!("creating {}", next.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", next.display()))?;
    fs::rename(&next, path).with_context(|| format!("naming {}", path.display()))
}
