//! Programs of other ecosystems that tests run beside ours: what a subscriber would install, in pinned versions, in the cache outside
//! the repository. A folder is named by what it was made from.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{cache, progress::Progress};

/// Python packages in a folder of their own: the value of `PYTHONPATH`.
///
/// # Errors
/// When Python or pip is missing, or the packages cannot be had.
pub fn python(requirements: &Path) -> Result<PathBuf> {
    let list = read(requirements)?;
    let version =
        cache::run("asking Python for its version; `make install` brings it", Command::new("python3").arg("--version"))?;
    cached("python", &[&list, &version], |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--target"]);
        cache::run(
            "installing Python packages; `make install` brings pip",
            pip.arg(folder).arg("--requirement").arg(requirements),
        )
        .map(drop)
    })
}

/// Packages of Node from a folder with `package.json` and its lock file: the folder that holds `node_modules`.
///
/// # Errors
/// When npm is missing, or the packages cannot be had.
pub fn node(project: &Path) -> Result<PathBuf> {
    let names = ["package.json", "package-lock.json"];
    let texts = names.iter().map(|name| read(&project.join(name))).collect::<Result<Vec<_>>>()?;
    cached("node", &texts.iter().map(String::as_str).collect::<Vec<_>>(), |folder| {
        for name in names {
            fs::copy(project.join(name), folder.join(name)).with_context(|| format!("copying {name}"))?;
        }
        let mut npm = Command::new("npm");
        npm.current_dir(folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        cache::run("installing packages of Node; `make install` brings npm", &mut npm).map(drop)
    })
}

/// A Maven project, built: its class path.
///
/// # Errors
/// When Maven or the compiler is missing, or the project does not compile.
pub fn java(project: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(project, &mut files)?;
    let texts = files.iter().map(|file| read(file)).collect::<Result<Vec<_>>>()?;
    let folder = cached("maven", &texts.iter().map(String::as_str).collect::<Vec<_>>(), |folder| {
        for file in &files {
            let to = folder.join(file.strip_prefix(project).context("a file of the project lies in it")?);
            fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
            fs::copy(file, &to).with_context(|| format!("copying {}", file.display()))?;
        }
        let mut maven = Command::new("mvn");
        maven.current_dir(folder).args(["--quiet", "--batch-mode", "package"]);
        cache::run("building the Java project; `make install` brings Maven and a compiler", &mut maven).map(drop)
    })?;
    Ok(format!("{0}/target/classes:{0}/target/lib/*", folder.display()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The folder that was made from these texts, now or earlier.
fn cached(kind: &str, texts: &[&str], fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    cache::folder(&format!("{kind}-{}", cache::stamp(texts)), &format!("filling the cache of {kind}"), Progress::Quiet, fill)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}
