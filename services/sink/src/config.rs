//! What the process was told, and what it means.

use std::time::Duration;

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
    let DestinationConnector::Http { url, timeout, authorization_file, etag_is_revision } = &destination.connector;
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
    let config = connect::http::Config {
        name: name.clone(),
        url,
        timeout: *timeout,
        authorization,
        concurrency: destination.concurrency,
        etag_is_revision: *etag_is_revision,
        answers: destination.answers.clone(),
    };
    Ok((connect::http::Destination::new(config).map_err(Exit::config)?, *timeout))
}
