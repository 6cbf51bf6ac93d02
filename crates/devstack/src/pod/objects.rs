//! What a pod refers to: ConfigMaps, Secrets, and the folders behind its claims.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use data_encoding::BASE64;
use serde_json::Value;

/// Keys with their bytes.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// ConfigMaps and Secrets of one namespace by name, and folders by the name of their claim.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    config_maps: BTreeMap<String, Files>,
    secrets: BTreeMap<String, Files>,
    claims: BTreeMap<String, PathBuf>,
}

impl Objects {
    /// Takes every ConfigMap and Secret out of manifests.
    ///
    /// # Errors
    /// When a Secret's data is not base64.
    pub fn from_manifests<'a>(manifests: impl IntoIterator<Item = &'a Value>) -> Result<Self> {
        let mut objects = Self::default();
        for manifest in manifests {
            objects.take(manifest)?;
        }
        Ok(objects)
    }

    /// Takes one manifest; other kinds than ConfigMap and Secret are left alone.
    ///
    /// # Errors
    /// When a Secret's data is not base64.
    pub fn take(&mut self, manifest: &Value) -> Result<()> {
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let files = |field: &str| manifest[field].as_object().into_iter().flatten();
        let plain =
            |field: &str| files(field).map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().as_bytes().to_vec()));
        let encoded = |field: &str| -> Result<Files> {
            let decode = |(key, value): (&String, &Value)| {
                let bytes = BASE64.decode(value.as_str().unwrap_or_default().as_bytes());
                Ok((key.clone(), bytes.with_context(|| format!("decoding {key} of {name}"))?))
            };
            files(field).map(decode).collect()
        };
        match manifest["kind"].as_str() {
            Some("ConfigMap") => {
                let mut all: Files = plain("data").collect();
                all.extend(encoded("binaryData")?);
                self.config_maps.insert(name, all);
            }
            Some("Secret") => {
                let mut all = encoded("data")?;
                all.extend(plain("stringData"));
                self.secrets.insert(name, all);
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a Secret.
    pub fn secret(&mut self, name: &str, files: &[(&str, &str)]) {
        let files = files.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect();
        self.secrets.insert(name.to_owned(), files);
    }

    /// Says which folder stands behind a claim.
    pub fn claim(&mut self, name: &str, folder: &Path) {
        self.claims.insert(name.to_owned(), folder.to_owned());
    }

    /// The files of a ConfigMap; none when it is missing and may be.
    pub(super) fn config_map_files(&self, name: &str, may_miss: bool) -> Result<Option<&Files>> {
        found("ConfigMap", &self.config_maps, name, may_miss)
    }

    pub(super) fn secret_files(&self, name: &str, may_miss: bool) -> Result<Option<&Files>> {
        found("Secret", &self.secrets, name, may_miss)
    }

    pub(super) fn claim_folder(&self, name: &str) -> Result<&Path> {
        self.claims.get(name).map(PathBuf::as_path).with_context(|| format!("finding what the claim {name} is bound to"))
    }
}

fn found<'a>(kind: &str, all: &'a BTreeMap<String, Files>, name: &str, may_miss: bool) -> Result<Option<&'a Files>> {
    match all.get(name) {
        Some(files) => Ok(Some(files)),
        None if may_miss => Ok(None),
        None => bail!("finding the {kind} {name}, which the pod needs"),
    }
}
