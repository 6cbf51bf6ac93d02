//! The published Kubernetes schemas, strict: a field that the API would drop is an offence.

use std::{fs, process::Command};

use anyhow::Result;
use devstack::{cache, progress::Progress};

use crate::Manifest;

/// Versions that the chart is held against: oldest with schemas, middle, newest.
pub const KUBERNETES: [&str; 3] = ["1.32", "1.34", "1.37"];

const VALIDATOR: &str = "\
kubernetes-validate==1.37.0
jsonschema==4.26.0
jsonschema-specifications==2025.9.1
referencing==0.37.0
rpds-py==2026.9.1
attrs==26.1.0
importlib_resources==7.1.0
packaging==26.4
PyYAML==6.0.4
typing_extensions==4.16.0
";

/// Kinds whose schemas come with custom resources; `make cluster-test` holds them against a real API.
const CUSTOM: [&str; 4] = ["kafka.strimzi.io/", "keda.sh/", "monitoring.coreos.com/", "gateway.networking.k8s.io/"];

/// What is wrong with the built-in kinds, by Kubernetes version; empty when nothing is.
///
/// # Errors
/// When the validator cannot be fetched or run.
pub fn offences(manifest: &Manifest, version: &str) -> Result<Vec<String>> {
    let folder = cache::folder("kubernetes-validate-1.37.0", "fetching the Kubernetes schemas", Progress::Quiet, |folder| {
        let list = folder.join("requirements.txt");
        fs::write(&list, VALIDATOR)?;
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--target"]);
        cache::run("fetching the Kubernetes schemas", command.arg(folder).arg("-r").arg(list))?;
        Ok(())
    })?;
    let built_in: Vec<String> = manifest
        .objects
        .iter()
        .filter(|object| !CUSTOM.iter().any(|group| object.at("/apiVersion").as_str().unwrap_or_default().starts_with(group)))
        .map(|object| object.0.to_string())
        .collect();
    let file = tempfile(&built_in.join("\n---\n"))?;
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", &folder).args(["-m", "kubernetes_validate", "--strict", "-k", version]).arg(&file);
    let output = command.output()?;
    fs::remove_file(&file)?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let passed = text.lines().filter(|line| line.starts_with("INFO") && line.contains(" passed ")).count();
    let mut offences: Vec<String> = text.lines().filter(|line| !line.starts_with("INFO")).map(str::to_owned).collect();
    if offences.is_empty() && (passed != built_in.len() || !output.status.success()) {
        offences.push(format!("{passed} of {} objects were judged: {text}", built_in.len()));
    }
    Ok(offences)
}

fn tempfile(text: &str) -> Result<std::path::PathBuf> {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = devstack::dev::target()?.join("chart-test");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("objects-{}-{next}.yaml", std::process::id()));
    fs::write(&path, text)?;
    Ok(path)
}
