//! The tracker's own options.

use std::{net::SocketAddr, path::PathBuf};

/// What was written on the command line.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where the JSON API listens; loopback only, because nobody signs in yet. Port 0 takes a free one and logs it
    #[arg(long, env = "MILLRACE_API", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    api: SocketAddr,

    /// The store; rebuilt from the topics when it is missing or belongs to another landscape
    #[arg(long, env = "MILLRACE_STORE", value_name = "FILE", default_value = "tracker.sqlite")]
    store: PathBuf,
}

/// What is meant: an address that only this machine reaches, and a store whose folder exists.
#[derive(Clone, Debug)]
pub struct Config {
    pub api: SocketAddr,
    pub store: PathBuf,
}

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--api {0}: without sign-in the API listens on loopback only, such as 127.0.0.1:8080")]
    NotLoopback(SocketAddr),
    #[error("creating the folder of --store {path}")]
    Folder { path: PathBuf, source: std::io::Error },
}

impl Config {
    /// # Errors
    /// When the address is reachable from elsewhere, or the store's folder cannot be made.
    pub fn from_args(args: Args) -> Result<Self, Error> {
        if !args.api.ip().is_loopback() {
            return Err(Error::NotLoopback(args.api));
        }
        if let Some(folder) = args.store.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
        }
        Ok(Self { api: args.api, store: args.store })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_is_refused() {
        let args = |api: &str| Args { api: api.parse().unwrap(), store: "tracker.sqlite".into() };
        assert!(Config::from_args(args("127.0.0.1:0")).is_ok());
        assert!(Config::from_args(args("[::1]:0")).is_ok());
        let refused = Config::from_args(args("0.0.0.0:8080")).unwrap_err().to_string();
        assert!(refused.starts_with("--api 0.0.0.0:8080: without sign-in"), "{refused}");
    }
}
