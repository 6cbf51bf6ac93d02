//! The secured broker's listeners: SCRAM-SHA-512 over TLS, and client certificates. Nobody may do anything that was not granted.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::{
    accounts::write,
    authority::{Authority, Validity},
};

/// The identity of the broker itself.
const BROKER: &str = "broker";
/// The only other identity that no grant binds: it makes users and grants, and tests look with it.
pub const BOOTSTRAP: &str = "devstack";

/// Key stores of a broker, PEM files in one folder.
#[derive(Clone, Debug)]
pub struct Listeners {
    folder: PathBuf,
}

impl Listeners {
    pub(super) fn new(folder: PathBuf, authority: &Authority) -> Result<Self> {
        let listeners = Self { folder };
        write(&listeners.file("authority.pem"), authority.certificate())?;
        // Also proves who the broker is to itself and to the controller.
        listeners.present(authority, "own.pem", Validity::Now)?;
        listeners.renew(authority, Validity::Now)?;
        Ok(listeners)
    }

    /// Gives the listener of names and passwords another certificate; the broker reads it when it starts.
    pub(super) fn renew(&self, authority: &Authority, validity: Validity) -> Result<()> {
        self.present(authority, "passwords.pem", validity)
    }

    fn present(&self, authority: &Authority, file: &str, validity: Validity) -> Result<()> {
        let certified = authority.server(BROKER, validity)?;
        write(&self.file(file), &format!("{}{}", certified.key, certified.certificate))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Lines of `server.properties`: listeners on these ports, and who may do what.
    pub(crate) fn properties(&self, passwords: u16, certificates: u16, controller: u16) -> String {
        format!(
            "controller.listener.names=CONTROLLER
listeners=SASL_SSL://127.0.0.1:{passwords},SSL://127.0.0.1:{certificates},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://127.0.0.1:{passwords},SSL://127.0.0.1:{certificates}
listener.security.protocol.map=SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:SSL
inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location={own}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/,DEFAULT
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location={with_passwords}
listener.name.sasl_ssl.ssl.client.auth=none
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{BROKER};User:{BOOTSTRAP}",
            own = self.file("own.pem").display(),
            with_passwords = self.file("passwords.pem").display(),
            authority = self.file("authority.pem").display(),
        )
    }

    /// A properties file by which a Java client is the bootstrap identity.
    pub(super) fn bootstrap(&self, authority: &Authority, brokers: &str) -> Result<PathBuf> {
        let certified = authority.client(BOOTSTRAP, Validity::Now)?;
        let key_store = self.file("bootstrap.pem");
        write(&key_store, &format!("{}{}", certified.key, certified.certificate))?;
        let file = self.file("bootstrap.properties");
        let text = format!(
            "bootstrap.servers={brokers}\nsecurity.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\n\
             ssl.truststore.location={}\ndefault.api.timeout.ms=30000\n",
            key_store.display(),
            self.file("authority.pem").display()
        );
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }
}
