//! What was fetched or built once for this machine, outside the repository.
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

/// The folder `name` of the cache; `fill` makes its contents when it has never been made on this machine. What decides the contents
/// must be part of the name ([`stamp`]).
///
/// # Errors
/// When it cannot be made; the next start tries again.
pub fn folder(name: &str, what: &str, progress: Progress, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = root()?;
    let folder = root.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&root).with_context(|| format!("creating the cache folder {}", root.display()))?;
    let lock = File::create(root.join(format!("{name}.lock"))).context("creating the lock of the cache")?;
    lock.lock().context("waiting for the lock of the cache")?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let _step = progress.step(what);
    let partial = root.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).context("removing a half-filled cache")?;
    }
    fs::create_dir_all(&partial)?;
    fill(&partial).with_context(|| what.to_owned())?;
    fs::rename(&partial, &folder).with_context(|| format!("naming the filled cache {}", folder.display()))?;
    Ok(folder)
}

/// A short name for what decides the contents of a cache folder.
#[must_use]
pub fn stamp(decides: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in decides {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    HEXLOWER.encode(&hash.finalize())[..12].to_owned()
}

/// Runs a command that fills a cache, quietly; what it said when it fails.
///
/// # Errors
/// When it cannot be started or fails.
pub fn run(what: &str, command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| what.to_owned())?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).take(5).collect();
        bail!("{what}: {}\n{}", output.status, lines.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn root() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = from("XDG_CACHE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .context("finding the cache folder: neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("millrace"))
}
