//! `millrace-image`: `sbom` runs in the build of the image, `test` builds the image and proves it.
#![expect(clippy::print_stderr, reason = "a person watches, and this is no service")]

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use image::{NOTICES, SBOM, crates::Crates, notices, sbom, trial};

/// The image: what is in it, and whether it is as promised.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the list of what is in the image, and the licence texts, into the image
    Sbom {
        /// Where the image is laid out
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// The workspace that it is built from
        #[arg(long, value_name = "DIR", default_value = ".")]
        workspace: PathBuf,
        /// Time of the commit, in seconds
        #[arg(long, env = "SOURCE_DATE_EPOCH", value_name = "SECONDS", default_value_t = 0)]
        epoch: i64,
    },
    /// Build the image with buildah and run it against a real Kafka and registry
    Test {
        /// Kafka bootstrap servers
        #[arg(long, env = "MILLRACE_TEST_BROKERS", value_name = "HOST:PORT")]
        brokers: String,
        /// Schema registry
        #[arg(long, env = "MILLRACE_TEST_REGISTRY", value_name = "URL")]
        registry: String,
        /// Where buildah keeps images and containers
        #[arg(long, value_name = "DIR", default_value = "target/image")]
        folder: PathBuf,
        /// Look at the image that is there instead of building it again
        #[arg(long)]
        built: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Sbom { root, workspace, epoch } => {
            let texts = notices::text(&Crates::of(&workspace)?)?;
            std::fs::create_dir_all(root.join(SBOM).parent().expect("the list lies in a folder"))?;
            std::fs::write(root.join(NOTICES), texts).context("writing the licence texts")?;
            let list = sbom::list(&workspace, &root, epoch)?;
            std::fs::write(root.join(SBOM), format!("{list:#}\n")).context("writing the list")
        }
        Command::Test { brokers, registry, folder, built } => trial::run(&trial::Setting { brokers, registry, folder, built }),
    }
}
