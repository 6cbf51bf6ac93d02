//! What the process was told, and what it means.

use std::path::PathBuf;

use connect::http_poll;
use landscape::{Source, SourceConnector};
use service::{Context, Exit};

/// What was written on the command line.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The source of the landscape that is captured
    #[arg(long, env = "MILLRACE_SOURCE", value_name = "NAME")]
    pub(crate) source: String,
}

/// The source that was meant.
pub(crate) fn source(context: &Context<Args>) -> Result<Source, Exit> {
    let name = &context.args.source;
    context.landscape.sources.get(name).cloned().ok_or_else(|| {
        let known = context.landscape.sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let meant = landscape::nearest(name, context.landscape.sources.keys().map(String::as_str));
        let hint = meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default();
        Exit::config(anyhow::anyhow!("the landscape has no source `{name}`{hint} (it has: {known})"))
    })
}

/// The drop folder: `--endpoint`, else the landscape's, relative to its folder.
pub(crate) fn folder(context: &Context<Args>, declared: Option<&str>) -> Result<PathBuf, Exit> {
    if let Some(endpoint) = &context.common.endpoint {
        return Ok(PathBuf::from(endpoint));
    }
    declared.map(|folder| context.common.landscape.join(folder)).ok_or_else(|| no_endpoint(context, "folder"))
}

/// Where and how a JSON source is asked: `--endpoint`, else the landscape's.
pub(crate) fn http(context: &Context<Args>, connector: &SourceConnector) -> Result<http_poll::Source, Exit> {
    let SourceConnector::HttpPoll { url, timeout, page_size, max_pages, authorization_file, .. } = connector else {
        return Err(no_endpoint(context, "URL"));
    };
    let url = context.common.endpoint.as_ref().or(url.as_ref()).cloned().ok_or_else(|| no_endpoint(context, "URL"))?;
    let authorization = match authorization_file {
        None => None,
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            Exit::config(anyhow::anyhow!("reading the authorization of source `{}` from `{path}`: {error}", context.args.source))
        })?),
    };
    let most_pages = usize::try_from(*max_pages).unwrap_or(usize::MAX);
    let limit = usize::try_from(*page_size).unwrap_or(usize::MAX);
    let config = http_poll::Config { url, timeout: *timeout, limit, most_pages, authorization };
    http_poll::Source::new(&config).map_err(Exit::config)
}

fn no_endpoint(context: &Context<Args>, what: &str) -> Exit {
    let name = &context.args.source;
    Exit::config(anyhow::anyhow!("source `{name}` has no {what}: write it into sources/{name}.yaml or pass --endpoint"))
}
