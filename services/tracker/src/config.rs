//! The tracker's own options.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use crate::tokens::{self, Tokens};

/// What was written on the command line.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where the JSON API listens; loopback only, unless --api-tokens says who may ask. Port 0 takes a free one and logs it
    #[arg(long, env = "MILLRACE_API", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    api: SocketAddr,

    /// File with the bearer tokens of the API's clients, `<name> <token>` a line; read again when it changes
    #[arg(long, env = "MILLRACE_API_TOKENS", value_name = "FILE")]
    api_tokens: Option<PathBuf>,

    /// The store; rebuilt from the topics when it is missing or belongs to another landscape
    #[arg(long, env = "MILLRACE_STORE", value_name = "FILE", default_value = "tracker.sqlite")]
    store: PathBuf,
}

/// What is meant: an address that only this machine reaches or tokens that say who may ask, and a store whose folder exists. No
/// `Debug`: it leads to the tokens.
#[derive(Clone)]
pub struct Config {
    pub api: SocketAddr,
    /// None: nobody signs in, and only this machine may ask.
    pub tokens: Option<Arc<Tokens>>,
    pub store: PathBuf,
}

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--api {0}: without --api-tokens the API listens on loopback only, such as 127.0.0.1:8080")]
    NotLoopback(SocketAddr),
    #[error(transparent)]
    Tokens(#[from] tokens::Error),
    #[error("creating the folder of --store {path}")]
    Folder { path: PathBuf, source: std::io::Error },
}

impl Config {
    /// # Errors
    /// When the address is reachable from elsewhere and nobody signs in, the tokens cannot be used, or the store's folder cannot be made.
    pub fn from_args(args: Args) -> Result<Self, Error> {
        let tokens = args.api_tokens.as_deref().map(Tokens::open).transpose()?.map(Arc::new);
        if tokens.is_none() && !args.api.ip().is_loopback() {
            return Err(Error::NotLoopback(args.api));
        }
        if let Some(folder) = args.store.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
        }
        Ok(Self { api: args.api, tokens, store: args.store })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_is_refused() {
        let args = |api: &str| Args { api: api.parse().unwrap(), api_tokens: None, store: "tracker.sqlite".into() };
        assert!(Config::from_args(args("127.0.0.1:0")).is_ok());
        assert!(Config::from_args(args("[::1]:0")).is_ok());
        let refused = Config::from_args(args("0.0.0.0:8080")).err().unwrap().to_string();
        assert!(refused.starts_with("--api 0.0.0.0:8080: without --api-tokens"), "{refused}");
    }
}
