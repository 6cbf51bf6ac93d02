//! The real Helm against this cluster, as the team that installs.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail};
use chart::Helm;
use serde_json::Value;

/// One release in one namespace.
pub(crate) struct Release {
    pub(crate) helm: Helm,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Values files of this test, and Helm's own folders.
    pub(crate) folder: PathBuf,
}

impl Release {
    /// `helm install` with values files in this order.
    pub(crate) fn install(&self, values: &[PathBuf], more: &[&str]) -> Result<f64> {
        let chart = chart::chart();
        let chart = chart.to_str().context("reading the path of the chart")?;
        self.run_with(&["install", &self.name, chart], values, more)
    }

    pub(crate) fn upgrade(&self, values: &[PathBuf], more: &[&str]) -> Result<f64> {
        let chart = chart::chart();
        let chart = chart.to_str().context("reading the path of the chart")?;
        self.run_with(&["upgrade", &self.name, chart], values, more)
    }

    /// Writes values as a file of this test.
    pub(crate) fn file(&self, name: &str, values: &Value) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.json"));
        std::fs::write(&path, serde_json::to_string_pretty(values)?).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn run_with(&self, words: &[&str], values: &[PathBuf], more: &[&str]) -> Result<f64> {
        let mut all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        for file in values {
            all.extend(["-f".to_owned(), file.display().to_string()]);
        }
        all.extend(more.iter().map(|word| (*word).to_owned()));
        let started = Instant::now();
        self.run(&all.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// Any command of Helm; what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = self.helm.command(words);
        command.args(["--namespace", &self.namespace, "--kubeconfig"]).arg(&self.kubeconfig);
        for (name, folder) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")] {
            command.env(name, self.folder.join("helm").join(folder));
        }
        let output = command.output().with_context(|| format!("running helm {}", words.join(" ")))?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            bail!("helm {}: {}\n{}{}", words.join(" "), output.status, said(&output.stdout), said(&output.stderr));
        }
        Ok(said(&output.stdout))
    }
}
