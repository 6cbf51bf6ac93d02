//! The sample company as the chart installs it on this machine: a copy of its landscape for one broker under a topic prefix of its
//! own, the bundle of that copy, and the values that name the systems that run here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use devstack::{Addresses, Systems, cache};
use serde_json::{Value, json};

use crate::root;

/// Where a source's drop folder is mounted.
const DROP: &str = "/data";
/// Secret with the tracker's tokens, and with the one that `helm test` uses.
pub const TOKENS: &str = "tracker-tokens";
/// A token that those Secrets hold.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A copy of the sample landscape.
#[derive(Clone, Debug)]
pub struct Sample {
    pub landscape: PathBuf,
}

impl Sample {
    /// Copies the landscape for a single broker.
    ///
    /// # Errors
    /// When it cannot be copied, or is written otherwise than this expects.
    pub fn copy(to: &Path, topic_prefix: &str) -> Result<Self> {
        let from = root().join("deploy/landscape");
        for (path, text) in service::landscape_files(&from).context("reading the sample landscape")? {
            let file = to.join(&path);
            fs::create_dir_all(file.parent().context("finding the folder of a landscape file")?)?;
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        }
        let sample = Self { landscape: to.to_owned() };
        sample.edit("millrace.yaml", "topic_prefix: mdm.", &format!("topic_prefix: {topic_prefix}"))?;
        sample.edit("millrace.yaml", "replication: 3", "replication: 1")?;
        Ok(sample)
    }

    /// Replaces text in one of its files.
    ///
    /// # Errors
    /// When the file has no such text.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.landscape.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        if !text.contains(from) {
            bail!("editing {}: it has no `{from}`", path.display());
        }
        fs::write(&path, text.replace(from, to)).with_context(|| format!("writing {}", path.display()))
    }

    /// Writes its bundle with the real command line, which checks it.
    ///
    /// # Errors
    /// When the landscape has problems.
    pub fn bundle(&self, to: &Path) -> Result<()> {
        let program = devstack::dev::profile()?.join("millrace");
        let mut command = Command::new(&program);
        command.args(["landscape", "check", "--bundle"]).arg(to).arg(&self.landscape);
        cache::run(&format!("writing the bundle with {}", program.display()), &mut command)?;
        Ok(())
    }
}

/// Values for an install against this broker, registry and these systems: provisioning by the chart's Job, two validators, one sink
/// shared by two, drop folders as claims (`<source>-drop`).
///
/// # Errors
/// When a system is missing.
pub fn values(addresses: &Addresses, systems: &Systems) -> Result<Value> {
    let mut sources = serde_json::Map::new();
    for source in systems.folders.keys() {
        let path = format!("{DROP}/{source}");
        let own = json!({
            "endpoint": path,
            "extraVolumes": [{"name": "drop", "persistentVolumeClaim": {"claimName": format!("{source}-drop")}}],
            "extraVolumeMounts": [{"name": "drop", "mountPath": path}],
        });
        sources.insert(source.clone(), own);
    }
    for (source, system) in &systems.rest {
        sources.insert(source.clone(), json!({"endpoint": system.url()}));
    }
    let destinations: serde_json::Map<_, _> =
        systems.plants.iter().map(|(name, plant)| (name.clone(), json!({"endpoint": plant.url()}))).collect();
    Ok(json!({
        "kafka": {
            "bootstrapServers": addresses.brokers,
            "development": true,
            "tls": {"enabled": false},
            "auth": {"mechanism": "none"},
        },
        "schemaRegistry": {"urls": [addresses.registry]},
        "sources": sources,
        "destinations": destinations,
        "provisioning": {"topics": "job", "schemas": "job"},
        "tracker": {"auth": {"existingSecret": TOKENS}},
        "doctor": {"auth": {"existingSecret": TOKENS}},
    }))
}
