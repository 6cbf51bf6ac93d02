//! `millrace-devstack`: starts the development stack, the demo, and ends them.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use devstack::{
    Progress,
    dev::{self, Up},
    progress,
};
use tokio::signal::unix::{SignalKind, signal};

/// Real Kafka, registry and simulated systems on this machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a broker and a registry for development and tests, until Ctrl-C.
    Up,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            progress::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    match arguments.command {
        Command::Up => up(),
    }
}

fn up() -> Result<ExitCode> {
    let up = Up::start(&dev::target()?, Progress::Shown)?;
    progress::say(&format!("brokers {}\nregistry {}\nCtrl-C ends both", up.dev.brokers, up.dev.registry));
    until_told()?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or SIGTERM.
fn until_told() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
