//! Who we are to the registry and whom we trust, from files that may change: a connection that was refused is made again of what the
//! files hold by then, so that a mended password or certificate needs no restart.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use schema_registry_converter::async_impl::schema_registry::SrSettings;

use crate::{Config, Error};

/// What requests are made with.
pub(crate) struct Connection {
    pub(crate) settings: SrSettings,
    http: reqwest::Client,
    username: Option<String>,
    secrets: Secrets,
}

/// What the files hold. No `Debug`: it is secret.
#[derive(PartialEq, Eq)]
struct Secrets {
    password: Option<String>,
    authority: Option<String>,
}

impl Secrets {
    fn read(config: &Config) -> Result<Self, Error> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| Error::Setup(format!("reading `{}`: {error}", path.display())))
        };
        let password = config.password_file.as_deref().map(read).transpose()?;
        let password = password.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        if let Some(password) = &password {
            telemetry::secret::keep_login(config.username.as_deref().unwrap_or_default(), password);
        }
        Ok(Self { password, authority: config.ca_file.as_deref().map(read).transpose()? })
    }
}

impl Connection {
    fn new(config: &Config, secrets: Secrets) -> Result<Self, Error> {
        let Some((first, rest)) = config.urls.split_first() else { return Err(Error::Setup("no URL is given".to_owned())) };
        for url in &config.urls {
            landscape::no_login(url).map_err(|why| Error::Setup(format!("{why} (--registry-password-file)")))?;
        }
        let builder = || -> Result<reqwest::ClientBuilder, Error> {
            let mut builder =
                reqwest::Client::builder().no_proxy().timeout(config.timeout).redirect(reqwest::redirect::Policy::none());
            if let Some(pem) = &secrets.authority {
                let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                    .map_err(|error| Error::Setup(format!("reading the certificates of the registry: {error}")))?;
                for certificate in certificates {
                    builder = builder.add_root_certificate(certificate);
                }
            }
            Ok(builder)
        };
        let mut settings = SrSettings::new_builder(first.clone());
        for url in rest {
            settings.add_url(url.clone());
        }
        settings.set_timeout(config.timeout);
        if let Some(username) = &config.username {
            settings.set_basic_authorization(username, secrets.password.as_deref());
        }
        Ok(Self {
            settings: settings.build_with(builder()?).map_err(|error| Error::Setup(error.to_string()))?,
            http: builder()?.build().map_err(|error| Error::Setup(error.to_string()))?,
            username: config.username.clone(),
            secrets,
        })
    }

    pub(crate) fn request(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url);
        match &self.username {
            Some(username) => request.basic_auth(username, self.secrets.password.as_deref()),
            None => request,
        }
    }
}

/// The connection as the files were when it was made.
pub(crate) struct Access {
    config: Config,
    now: RwLock<Arc<Connection>>,
}

impl Access {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let connection = Connection::new(&config, Secrets::read(&config)?)?;
        Ok(Self { config, now: RwLock::new(Arc::new(connection)) })
    }

    pub(crate) fn now(&self) -> Arc<Connection> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// An error with what to do about it, where the registry refuses us or we refuse it; the next request is made with what the files
    /// hold now.
    pub(crate) fn refused(&self, error: Error) -> Error {
        let refused = match error {
            Error::Denied { what, detail } => Error::Denied { what, detail: self.stranger(&detail) },
            Error::Unavailable { what, detail } if is_about_certificates(&detail) => {
                Error::Denied { what, detail: self.certificate(&detail) }
            }
            other => return other,
        };
        self.renew();
        refused
    }

    fn renew(&self) {
        let Ok(secrets) = Secrets::read(&self.config) else { return };
        if secrets == self.now().secrets {
            return;
        }
        // A file that cannot be used is as good as the old one: the refusal stays, with its sentence.
        if let Ok(connection) = Connection::new(&self.config, secrets) {
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(connection);
        }
    }

    fn stranger(&self, said: &str) -> String {
        match (&self.config.username, &self.config.password_file) {
            (Some(user), Some(file)) => format!(
                "it refuses user {user} ({said}): no such user, not the password in {}, or no right to do this; put the right password there, or \
                 let the registry's administrator give {user} the right",
                file.display()
            ),
            (Some(user), None) => format!("it refuses user {user} without a password ({said}); give --registry-password-file"),
            (None, _) => format!("it wants to know who asks ({said}); give --registry-username and --registry-password-file"),
        }
    }

    fn certificate(&self, said: &str) -> String {
        match &self.config.ca_file {
            Some(file) => format!(
                "its certificate does not hold: it has expired, names another host, or comes from no authority in {}; put the right authority \
                 there (--registry-ca-file) or renew the registry's certificate ({said})",
                file.display()
            ),
            None => format!(
                "its certificate does not hold: it has expired, names another host, or comes from an authority that this machine does not know; \
                 give the authority with --registry-ca-file ({said})"
            ),
        }
    }
}

/// By the words of rustls 0.23; there is no code.
fn is_about_certificates(detail: &str) -> bool {
    ["invalid peer certificate", "certificate required", "received fatal alert"].iter().any(|part| detail.contains(part))
}
