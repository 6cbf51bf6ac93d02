//! Options that every command has. A flag beats its `MILLRACE_*` variable.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    output::{Format, Output},
    words,
};

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options everywhere")]
pub(crate) struct Global {
    /// Form of the answer
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORM", hide_possible_values = true,
        help = "table, wide, json, jsonl, yaml, csv or name")]
    output: Format,

    /// No header row
    #[arg(long, global = true)]
    no_headers: bool,

    /// Only the answer, no hints
    #[arg(short, long, global = true)]
    quiet: bool,

    /// Say more on stderr
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,

    /// Say what would be done, and do nothing
    #[arg(short = 'n', long, global = true)]
    pub(crate) dry_run: bool,

    /// Never ask, take yes for an answer
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,

    /// Never ask, fail instead
    #[arg(long, global = true)]
    pub(crate) no_input: bool,

    /// Give up after this long: exit code 124 [default: 30s; a replay: 1h]
    #[arg(long, global = true, value_name = "DURATION", value_parser = words::duration)]
    pub(crate) timeout: Option<Duration>,

    /// The tracker
    #[arg(long, global = true, env = "MILLRACE_SERVER", value_name = "URL", hide_env_values = true)]
    pub(crate) server: Option<String>,

    /// File with the bearer token for the tracker
    #[arg(long, global = true, env = "MILLRACE_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,

    /// Entry of contexts.yaml: server, token, brokers, registry
    #[arg(long, global = true, env = "MILLRACE_CONTEXT", value_name = "NAME", hide_env_values = true)]
    pub(crate) context: Option<String>,

    /// Folder of the landscape
    #[arg(long, global = true, env = "MILLRACE_LANDSCAPE", value_name = "DIR", hide_env_values = true)]
    pub(crate) landscape: Option<PathBuf>,

    /// When to use colour: auto, always or never
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", hide_possible_values = true)]
    pub(crate) color: Colour,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

impl Global {
    pub(crate) fn output(&self) -> Output {
        Output { format: self.output, headers: !self.no_headers, quiet: self.quiet }
    }

    /// Who acts, in his own words: nobody has signed in.
    pub(crate) fn actor(&self) -> String {
        ["MILLRACE_ACTOR", "USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
            .unwrap_or_else(|| "unknown".to_owned())
    }

    /// Sets the colour choice of the process.
    pub(crate) fn apply_colour(&self) {
        match self.color {
            Colour::Auto => {}
            Colour::Always => anstream::ColorChoice::Always.write_global(),
            Colour::Never => anstream::ColorChoice::Never.write_global(),
        }
    }
}

/// The one clock of the command line.
pub(crate) fn now() -> model::Timestamp {
    model::Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}
