//! The validator's own options.

use std::time::Duration;

/// What was written on the command line.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Threads that decide, each with its own transactional identity [default: 4, at most one a slot]
    #[arg(long, env = "MILLRACE_WORKERS", value_name = "N")]
    workers: Option<usize>,

    /// How many seconds the registry must deny a schema before its records become dead letters
    #[arg(long, env = "MILLRACE_UNKNOWN_SCHEMA_AFTER", value_name = "SECONDS", default_value_t = 120)]
    unknown_schema_after: u64,
}

/// What is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub workers: usize,
    pub unknown_schema_after: Duration,
}

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--workers {0}: there must be one, and more than one a slot ({1}) would be idle")]
    Workers(usize, u32),
}

impl Config {
    /// # Errors
    /// When there would be no worker, or workers without a slot.
    pub fn from_args(args: &Args, slots: u32) -> Result<Self, Error> {
        let most = usize::try_from(slots).unwrap_or(usize::MAX);
        let workers = args.workers.unwrap_or_else(|| most.min(4));
        if workers == 0 || workers > most {
            return Err(Error::Workers(workers, slots));
        }
        Ok(Self { workers, unknown_schema_after: Duration::from_secs(args.unknown_schema_after) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_most_as_many_workers_as_slots() {
        let config = |workers, slots| Config::from_args(&Args { workers, unknown_schema_after: 120 }, slots).map(|c| c.workers);
        assert_eq!(config(None, 12).unwrap(), 4);
        assert_eq!(config(None, 2).unwrap(), 2);
        assert_eq!(config(Some(7), 12).unwrap(), 7);
        assert!(config(Some(0), 12).is_err() && config(Some(3), 2).is_err());
    }
}
