//! `millrace`, the operator's command line.
//!
//! Talks to the tracker's API for everything about records, letters and destinations, so that rights and audit equal those of
//! the console; to Kafka and the registry for `topics` and `schemas`; `landscape` and `explain` are offline.
//!
//! Manners: data on stdout, the rest on stderr; never requires a prompt; the exit code is the answer (see `--help`); a refusal
//! does nothing and says what to type instead.

mod bundle;
mod cluster;
mod demo;
mod destination;
mod dlq;
mod doctor;
mod exit;
mod explain;
mod landscape_command;
mod options;
mod output;
mod record;
mod schemas;
mod server;
mod status;
mod subscribe;
mod topics;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};

use crate::{
    exit::{Failure, Outcome},
    options::Global,
};

const EXAMPLES: &str = "\
Examples:
  millrace status                              all at a glance, and who must act
  millrace record where item 4711/C            is it everywhere? if not, why?
  millrace dlq list --destination mes-ulm      what mes-ulm refused
  millrace dlq replay --code UNIT_UNKNOWN -n   what a replay would do
  millrace landscape check deploy/landscape    every problem of the files, offline
";

/// Master data from its owners to every system and plant, and the proof that it arrived
#[derive(Parser)]
#[command(name = "millrace", version, before_help = EXAMPLES, after_help = exit::CODES, max_term_width = 100,
    disable_help_subcommand = true, infer_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Subcommand)]
enum Command {
    /// Where everything stands: domain × system, and what needs a person
    Status,
    /// One record: what is accepted, where it is, how it came there
    #[command(subcommand)]
    Record(record::Command),
    /// Dead letters: list, look closer, replay, discard
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Destinations: list, pause, resume
    #[command(subcommand)]
    Destination(destination::Command),
    /// The landscape's files, checked and tested offline
    #[command(subcommand)]
    Landscape(landscape_command::Command),
    /// Kafka topics against the list
    #[command(subcommand)]
    Topics(topics::Command),
    /// Schemas against the registry
    #[command(subcommand)]
    Schemas(schemas::Command),
    /// For downstream teams: documents, samples, a consumer, the rights to ask for
    #[command(subcommand)]
    Subscribe(subscribe::Command),
    /// Brokers, identity, topics, rights, registry, landscape, clock and disk: is everything there, and what to type if not
    Doctor(doctor::Args),
    /// What a code means, its cause, and what to do
    Explain(explain::Args),
    /// Hands on the simulated plants of a running demo
    #[command(subcommand)]
    Demo(demo::Command),
}

/// The whole life of one call.
#[must_use]
pub fn run() -> ExitCode {
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    cli.global.apply_colour();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("starting: {error}")))
        .and_then(|runtime| {
            let outcome = runtime.block_on(bounded(cli));
            // A blocking call into a broker that is away must not hold the answer.
            runtime.shutdown_background();
            outcome
        });
    if let Err(failure) = &outcome
        && !failure.text().is_empty()
    {
        output::note(&format!("millrace: {}", failure.text()));
    }
    exit::code(&outcome)
}

/// Help and version are answers; everything else that clap says is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if error.print().is_err() || !asked { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

async fn bounded(cli: Cli) -> Outcome {
    let timeout = cli.global.timeout.unwrap_or_else(|| cli.command.patience());
    tokio::select! {
        outcome = cli.command.run(&cli.global) => outcome,
        () = tokio::time::sleep(timeout) => {
            Err(Failure::timeout(format!("no answer within {} (--timeout)", words::took(timeout.as_secs_f64()))))
        }
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
    }
}

impl Command {
    async fn run(&self, global: &Global) -> Outcome {
        match self {
            Command::Status => status::run(global).await,
            Command::Record(command) => command.run(global).await,
            Command::Dlq(command) => command.run(global).await,
            Command::Destination(command) => command.run(global).await,
            Command::Landscape(command) => command.run(global),
            Command::Topics(command) => command.run(global).await,
            Command::Schemas(command) => command.run(global).await,
            Command::Subscribe(command) => command.run(global),
            Command::Doctor(args) => args.run(global).await,
            Command::Explain(args) => args.run(global),
            Command::Demo(command) => command.run(global).await,
        }
    }

    /// How long the command may take when nobody says.
    fn patience(&self) -> std::time::Duration {
        let seconds = match self {
            Command::Dlq(dlq::Command::Replay(_)) => 3_600,
            Command::Topics(_) | Command::Schemas(_) | Command::Doctor(_) => 120,
            Command::Status
            | Command::Record(_)
            | Command::Dlq(_)
            | Command::Destination(_)
            | Command::Landscape(_)
            | Command::Subscribe(_)
            | Command::Explain(_)
            | Command::Demo(_) => 30,
        };
        std::time::Duration::from_secs(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
