//! The Java services' files: copied once by Maven from the checked-in POM into a cache outside the repository, then re-used.
//!
//! Invariant: a cache folder under its final name is complete. It is filled under another name and renamed; a lock file keeps
//! two starts from filling it at the same time.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::progress::Progress;

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
        let root = cache_root()?;
        let name = format!("java-{}", &HEXLOWER.encode(&Sha256::digest(POM.as_bytes()))[..12]);
        let folder = root.join(&name);
        if !folder.is_dir() {
            fs::create_dir_all(&root).with_context(|| format!("creating the cache folder {}", root.display()))?;
            let lock = File::create(root.join(format!("{name}.lock"))).context("creating the lock of the cache")?;
            lock.lock().context("waiting for the lock of the cache")?;
            if !folder.is_dir() {
                let _step = progress.step("fetching Apache Kafka and the schema registry (once, 160 MB)");
                fill(&root, &folder, &name)?;
            }
        }
        Ok(Self {
            kafka: format!("{}/lib/*", folder.display()),
            registry: folder.join("registry/apicurio-registry-app-3.0.9-runner.jar"),
        })
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

fn fill(root: &Path, folder: &Path, name: &str) -> Result<()> {
    if !answers("mvn", "-version") {
        bail!("Kafka and the schema registry are fetched by Maven, and `mvn` was not found: {INSTALL}");
    }
    let partial = root.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).context("removing a half-filled cache")?;
    }
    fs::create_dir_all(&partial)?;
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
    fs::rename(&partial, folder).with_context(|| format!("naming the filled cache {}", folder.display()))
}

fn run(what: &str, command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| what.to_owned())?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).take(5).collect();
        bail!("{what}: {}\n{}", output.status, lines.join("\n"));
    }
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

fn cache_root() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = from("XDG_CACHE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .context("finding the cache folder: neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("millrace"))
}
