//! `millrace-devstack up`: a broker and a registry for development, and the file that tells tests where they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    base::{Addresses, Base},
    progress::Progress,
};

/// What `target/dev/dev.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dev {
    pub brokers: String,
    pub registry: String,
    pub pid: u32,
}

impl Dev {
    /// Where the file lies in a target folder.
    #[must_use]
    pub fn path(target: &Path) -> PathBuf {
        target.join("dev/dev.json")
    }
}

/// A running broker and registry with throwaway data.
pub struct Up {
    pub dev: Dev,
    path: PathBuf,
    _base: Base,
}

impl Up {
    /// Starts both and writes the file.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(target: &Path, progress: Progress) -> Result<Self> {
        let base = Base::throwaway(&target.join("dev"), progress, Vec::new())?;
        let Addresses { brokers, registry } = base.addresses();
        let dev = Dev { brokers, registry, pid: std::process::id() };
        let path = Dev::path(target);
        let text = serde_json::to_string_pretty(&dev).context("writing the address file")?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { dev, path, _base: base })
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

/// The folder that cargo builds into, seen from a binary or test that it built.
///
/// # Errors
/// When this program does not lie in such a folder.
pub fn target() -> Result<PathBuf> {
    profile()?.parent().map(Path::to_owned).context("finding the target folder")
}

/// The folder of the binaries built with this one: `target/debug` or `target/release`.
///
/// # Errors
/// When the path of this program cannot be read.
pub fn profile() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let folder = own.parent().context("finding this program's folder")?;
    let is_inner = folder.file_name().is_some_and(|name| name == "deps" || name == "examples");
    Ok(if is_inner { folder.parent().context("finding the folder of the binaries")?.to_owned() } else { folder.to_owned() })
}
