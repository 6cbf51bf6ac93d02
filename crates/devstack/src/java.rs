//! The Java services' files: copied once by Maven from the checked-in POM into a cache outside the repository, then re-used.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::{
    cache::{self, run},
    progress::Progress,
};

const POM: &str = include_str!("../java/pom.xml");
const INSTALL: &str = "run `make install`, or as root: apt-get install -y --no-install-recommends default-jre-headless maven";

/// Where the jars are.
#[derive(Clone, Debug)]
pub struct Java {
    /// Class path of Kafka and its tools.
    pub kafka: String,
    /// The registry's runnable jar.
    pub registry: PathBuf,
}

impl Java {
    /// The files, fetched when this POM has never been seen on this machine.
    ///
    /// # Errors
    /// When Java or Maven is missing (one sentence says how to get it), or Maven cannot fetch.
    pub fn ready(progress: Progress) -> Result<Self> {
        if !answers("java", "-version") {
            bail!("Kafka and the schema registry need Java 17 or newer, and `java` was not found: {INSTALL}");
        }
        let name = format!("java-{}", &HEXLOWER.encode(&Sha256::digest(POM.as_bytes()))[..12]);
        let what = "fetching Apache Kafka and the schema registry (once, 160 MB)";
        let folder = cache::folder(&name, what, progress, fill)?;
        Ok(Self {
            kafka: format!("{}/lib/*", folder.display()),
            registry: folder.join("registry/apicurio-registry-app-3.0.9-runner.jar"),
        })
    }
}

impl Java {
    /// Runs a program of one source file that uses Kafka's library, with `input` on its standard input; what it printed.
    ///
    /// # Errors
    /// When it fails; what it said is part of the message.
    pub fn program(&self, what: &str, source: &Path, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new("java")
            .args(["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"])
            .args(["-cp", &self.kafka])
            .arg(source)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{what}: starting java"))?;
        // A program that ended early says why itself.
        child.stdin.take().context("a pipe")?.write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().with_context(|| what.to_owned())?;
        if !output.status.success() {
            bail!("{what}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Whether this machine can run the real services. Tests that need them skip where it cannot, and say so; a pipeline (`CI` is
/// set) never skips.
#[must_use]
pub fn is_available() -> bool {
    let is_there = answers("java", "-version") || std::env::var_os("CI").is_some();
    if !is_there {
        crate::progress::say(&format!("SKIPPED: this test needs a real Kafka, and `java` was not found: {INSTALL}"));
    }
    is_there
}

fn fill(partial: &Path) -> Result<()> {
    if !answers("mvn", "-version") {
        bail!("Kafka and the schema registry are fetched by Maven, and `mvn` was not found: {INSTALL}");
    }
    fs::write(partial.join("pom.xml"), POM)?;
    run(
        "fetching the Java services with Maven",
        Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(partial.join("pom.xml"))
            .arg(format!("-Dcache={}", partial.display()))
            .arg("package"),
    )?;
    fs::create_dir(partial.join("registry"))?;
    run(
        "unpacking the schema registry",
        Command::new("tar").arg("xzf").arg(partial.join("registry.tar.gz")).arg("-C").arg(partial.join("registry")),
    )?;
    fs::remove_file(partial.join("registry.tar.gz"))?;
    Ok(())
}

fn answers(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
