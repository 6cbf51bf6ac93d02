//! What the process was told, and what it means.

use std::{path::PathBuf, time::Duration};

use kafka::{Client, Sasl, Security};
use landscape::{Destination, DestinationConnector};
use service::{Context, Exit};

/// What was written on the command line.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The destination of the landscape that is served
    #[arg(long, env = "MILLRACE_DESTINATION", value_name = "NAME")]
    pub(crate) destination: String,
}

/// The destination that was meant.
pub(crate) fn destination(context: &Context<Args>) -> Result<Destination, Exit> {
    let name = &context.args.destination;
    context.landscape.destinations.get(name).cloned().ok_or_else(|| {
        let known = context.landscape.destinations.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let meant = landscape::nearest(name, context.landscape.destinations.keys().map(String::as_str));
        let hint = meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default();
        Exit::config(anyhow::anyhow!("the landscape has no destination `{name}`{hint} (it has: {known})"))
    })
}

/// How the destination is called, and its request timeout: `--endpoint`, else the landscape's URL.
pub(crate) fn http(context: &Context<Args>, destination: &Destination) -> Result<(connect::http::Destination, Duration), Exit> {
    let name = &destination.name;
    let DestinationConnector::Http { url, timeout, authorization_file } = &destination.connector;
    let url = context.common.endpoint.as_ref().or(url.as_ref()).cloned().ok_or_else(|| {
        Exit::config(anyhow::anyhow!(
            "destination `{name}` has no URL: write it into destinations/{name}.yaml or pass --endpoint"
        ))
    })?;
    let authorization = match authorization_file {
        None => None,
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            Exit::config(anyhow::anyhow!("reading the authorization of destination `{name}` from `{path}`: {error}"))
        })?),
    };
    let config =
        connect::http::Config { name: name.clone(), url, timeout: *timeout, authorization, concurrency: destination.concurrency };
    Ok((connect::http::Destination::new(config).map_err(Exit::config)?, *timeout))
}

pub(crate) fn client(context: &Context<Args>) -> Client {
    let path = |file: &Option<String>| file.as_ref().map(PathBuf::from);
    let security = context.landscape.kafka.security.as_ref().map(|security| Security {
        ca_file: path(&security.ca_file),
        certificate_file: path(&security.certificate_file),
        key_file: path(&security.key_file),
        sasl: security.username.as_ref().zip(path(&security.password_file)).map(|(username, password_file)| Sasl {
            mechanism: security.mechanism.clone().unwrap_or_else(|| "SCRAM-SHA-512".to_owned()),
            username: username.clone(),
            password_file,
        }),
    });
    Client { brokers: context.brokers.join(","), client_id: format!("millrace-sink-{}", context.args.destination), security }
}

pub(crate) fn registry(context: &Context<Args>) -> Result<registry::Registry, Exit> {
    let settings = &context.landscape.registry;
    let mut config = registry::Config::new(context.registry.clone());
    config.username.clone_from(&settings.username);
    config.password_file = settings.password_file.as_ref().map(PathBuf::from);
    config.ca_file = settings.ca_file.as_ref().map(PathBuf::from);
    config.retry_for = config.retry_for.min(context.common.start_timeout / 2);
    registry::Registry::new(config).map_err(Exit::config)
}
