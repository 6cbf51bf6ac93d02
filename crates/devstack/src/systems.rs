//! The systems that a landscape names, simulated: a plant for every destination over HTTP, a REST source for every polled source,
//! a drop folder for every source of files. Filled from a folder of sample data, once.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use landscape::{DestinationConnector, Input, Landscape, Source, SourceConnector};
use serde_json::{Map, Value};

use crate::{
    mes::{Limit, Manners, Mes, MesOptions},
    rest::{RestOptions, RestSource},
};

/// Where the systems keep their data, and what they are filled with.
#[derive(Clone, Debug)]
pub struct SystemsOptions {
    pub folder: PathBuf,
    /// `<source>/*` for files, `<source>/<path>.json` for REST, `<destination>.json` for the limits of plants.
    pub sample: Option<PathBuf>,
    /// A landscape whose file sources may name their folder themselves; taken where there is no sample.
    pub landscape: Option<PathBuf>,
    pub manners: Manners,
    /// Whether plants keep their records for the next run.
    pub keep: bool,
}

/// All simulated systems of a landscape.
pub struct Systems {
    pub plants: BTreeMap<String, Mes>,
    pub rest: BTreeMap<String, RestSource>,
    /// Drop folders by source.
    pub folders: BTreeMap<String, PathBuf>,
}

impl Systems {
    /// Starts every system.
    ///
    /// # Errors
    /// When a port cannot be had or sample data cannot be read.
    pub fn start(landscape: &Landscape, options: &SystemsOptions) -> Result<Self> {
        let mut systems = Self { plants: BTreeMap::new(), rest: BTreeMap::new(), folders: BTreeMap::new() };
        for destination in landscape.destinations.values() {
            let DestinationConnector::Http { .. } = destination.connector;
            systems.plants.insert(destination.name.clone(), plant(&destination.name, options)?);
        }
        for source in landscape.sources.values() {
            match &source.connector {
                SourceConnector::File { folder, .. } => {
                    let drop = drop_folder(&source.name, folder.as_deref(), options)?;
                    systems.folders.insert(source.name.clone(), drop);
                }
                SourceConnector::HttpPoll { .. } => {
                    systems.rest.insert(source.name.clone(), rest_source(source, options)?);
                }
            }
        }
        Ok(systems)
    }

    /// What a publisher is told as its endpoint.
    ///
    /// # Errors
    /// When the landscape has no such source.
    pub fn source_endpoint(&self, source: &str) -> Result<String> {
        let folder = self.folders.get(source).map(|folder| folder.display().to_string());
        folder.or_else(|| self.rest.get(source).map(RestSource::url)).with_context(|| format!("finding the source {source}"))
    }

    /// What a sink is told as its endpoint.
    ///
    /// # Errors
    /// When the landscape has no such destination.
    pub fn plant(&self, destination: &str) -> Result<&Mes> {
        self.plants.get(destination).with_context(|| format!("finding the plant {destination}"))
    }
}

/// How people call a plant: the destination without what all plants have in common.
#[must_use]
pub fn short_name(destination: &str) -> &str {
    destination.strip_prefix("mes-").unwrap_or(destination)
}

fn plant(name: &str, options: &SystemsOptions) -> Result<Mes> {
    let limits: Vec<Limit> = match options.sample.as_ref().map(|sample| sample.join(format!("{name}.json"))) {
        Some(file) if file.is_file() => {
            let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))?
        }
        Some(_) | None => Vec::new(),
    };
    let journal = options.keep.then(|| options.folder.join(format!("plants/{name}.jsonl")));
    Mes::start(MesOptions { name: name.to_owned(), limits, manners: options.manners, journal, ..MesOptions::default() })
        .with_context(|| format!("starting the plant {name}"))
}

fn drop_folder(source: &str, declared: Option<&str>, options: &SystemsOptions) -> Result<PathBuf> {
    let folder = options.folder.join("sources").join(source);
    if !folder.is_dir() {
        // Filled under another name: a half-copied sample must not look like a complete one at the next start.
        let partial = folder.with_extension("partial");
        fs::remove_dir_all(&partial).ok();
        fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
        let sample = options.sample.as_ref().map(|sample| sample.join(source));
        let declared = options.landscape.as_ref().zip(declared).map(|(landscape, folder)| landscape.join(folder));
        if let Some(filled) = sample.into_iter().chain(declared).find(|folder| folder.is_dir()) {
            copy_files(&filled, &partial)?;
        }
        fs::rename(&partial, &folder).with_context(|| format!("naming {}", folder.display()))?;
    }
    folder.canonicalize().with_context(|| format!("finding {}", folder.display()))
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, to.join(name)).with_context(|| format!("copying {}", path.display()))?;
        }
    }
    Ok(())
}

fn rest_source(source: &Source, options: &SystemsOptions) -> Result<RestSource> {
    let file = options.folder.join("sources").join(format!("{}.json", source.name));
    let is_new = !file.exists();
    let mut rest = RestOptions { file: Some(file), ..RestOptions::default() };
    if let Some(stream) = source.streams.first() {
        rest.id = stream.key.first().cloned().unwrap_or(rest.id);
        rest.changed_at = stream.stamp.clone().unwrap_or(rest.changed_at);
    }
    let running = RestSource::start(rest).with_context(|| format!("starting the source {}", source.name))?;
    for stream in &source.streams {
        let Input::Path { path } = &stream.input else {
            bail!("starting the source {}: stream {} is polled and has no path", source.name, stream.name);
        };
        let path = path.trim_matches('/');
        let sample = options.sample.as_ref().map(|sample| sample.join(&source.name).join(format!("{path}.json")));
        let records: Vec<Map<String, Value>> = match sample.filter(|sample| is_new && sample.is_file()) {
            Some(sample) => {
                let text = fs::read_to_string(&sample).with_context(|| format!("reading {}", sample.display()))?;
                serde_json::from_str(&text).with_context(|| format!("reading {}", sample.display()))?
            }
            None => Vec::new(),
        };
        running.load(path, records).with_context(|| format!("filling the source {}", source.name))?;
    }
    Ok(running)
}
