//! `millrace-devstack`: starts the development stack or the demo, and ends them.

use std::{
    path::PathBuf,
    process::{Command as Process, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use devstack::{
    Progress,
    demo::{self, DemoOptions},
    dev::{self, Up},
    interrupt, progress, shared,
};

/// Longer than an orderly end of everything takes; what still runs then is ended by the guardians.
const END: Duration = Duration::from_secs(80);

/// Real Kafka, registry, fleet and simulated systems on this machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything, with the sample company loaded, until Ctrl-C
    Demo {
        /// Folder of the landscape
        #[arg(long, env = "LANDSCAPE", default_value = "deploy/landscape")]
        landscape: PathBuf,
        /// Folder of the data that its sources are filled with at the first start
        #[arg(long, env = "SAMPLE")]
        sample: Option<PathBuf>,
        /// Where data and logs stay
        #[arg(long, default_value = "target/demo")]
        folder: PathBuf,
        /// TLS, an identity per process, and nobody may do more than his job
        #[arg(long)]
        secure: bool,
    },
    /// End a running demo
    Down {
        /// Where its data is
        #[arg(long, default_value = "target/demo")]
        folder: PathBuf,
    },
    /// A broker and a registry for development and tests, until Ctrl-C
    Up,
    /// A broker and a registry for as long as one command runs; its tests share them
    Run {
        #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            progress::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo { landscape, sample, folder, secure } => show(DemoOptions { landscape, sample, folder, secure }),
        Command::Down { folder } => {
            let was_running = demo::down(&folder)?;
            progress::say(if was_running { "the demo has ended" } else { "no demo is running" });
            Ok(ExitCode::SUCCESS)
        }
        Command::Up => up(),
        Command::Run { command } => with_stack(&command),
    }
}

/// Runs the demo on a thread of its own, so that a signal reaches it at any step.
fn show(options: DemoOptions) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let handle = runtime.handle().clone();
    let demo = runtime.spawn_blocking(move || demo::run(&options, &handle));
    runtime.block_on(async {
        tokio::pin!(demo);
        let ended = tokio::select! {
            ended = &mut demo => ended,
            interrupted = interrupt::wait() => {
                interrupted?;
                tokio::time::timeout(END, &mut demo).await.context("ending the demo: it took too long")?
            }
        };
        ended.context("running the demo")?
    })?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

fn up() -> Result<ExitCode> {
    let up = Up::start(&dev::target()?, Progress::Shown)?;
    progress::say(&format!("brokers {}\nregistry {}\nCtrl-C ends both", up.dev.brokers, up.dev.registry));
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(interrupt::wait())?;
    Ok(ExitCode::SUCCESS)
}

fn with_stack(command: &[String]) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("reading the command")?;
    let base = shared::start(&dev::target()?, Progress::Shown)?;
    // Ctrl-C reaches the command too; this process stays until it has ended, so that it can clean up.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(interrupt::wait());
    let status = Process::new(program)
        .args(arguments)
        .env(shared::BROKERS, &base.addresses().brokers)
        .env(shared::REGISTRY, &base.addresses().registry)
        .status()
        .with_context(|| format!("running {program}"))?;
    runtime.shutdown_background();
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
