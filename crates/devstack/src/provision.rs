//! What a landscape needs on the broker and the registry before a service starts.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use avro::Topics;
use landscape::Landscape;
use tokio::task::JoinSet;

/// How long the last of hundreds of registrations may take.
const LAST: Duration = Duration::from_secs(60);

/// Reads and checks a landscape folder.
///
/// # Errors
/// With every problem, when there are any.
pub fn read_landscape(folder: &Path) -> Result<Landscape> {
    let files = service::landscape_files(folder).with_context(|| format!("reading the landscape {}", folder.display()))?;
    match Landscape::parse(&files) {
        Ok(landscape) => Ok(landscape),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("the landscape {} has {} problems:\n{}", folder.display(), problems.len(), lines.join("\n"))
        }
    }
}

/// Copies a folder with what lies in it: a landscape that a test then changes.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?
        } else {
            fs::copy(entry.path(), target).map(drop)?
        }
    }
    Ok(())
}

/// Creates the topics and registers the schemas; what is there already stays.
///
/// # Errors
/// When the broker or the registry refuses.
pub async fn provision(landscape: &Landscape, topics: &Topics, brokers: &str, registry_url: &str) -> Result<()> {
    let registry = registry::Config::new(vec![registry_url.to_owned()]);
    provision_as(landscape, topics, &kafka::Client::new(brokers, "millrace-devstack"), registry).await
}

/// As [`provision`], with an identity.
///
/// # Errors
/// When the broker or the registry refuses.
pub async fn provision_as(
    landscape: &Landscape,
    topics: &Topics,
    client: &kafka::Client,
    mut registry: registry::Config,
) -> Result<()> {
    let specs: Vec<_> = landscape.topic_specs(topics).into_iter().map(avro::TopicSpec::for_one_broker).collect();
    let changes = kafka::topics::plan(client, &specs).await.context("comparing the topics")?;
    kafka::topics::apply(client, &changes).await.context("creating the topics")?;

    // All at once: a registry that keeps its schemas on Kafka takes its time for each, and the last of hundreds waits for all others.
    registry.timeout = LAST;
    let registry = registry::Registry::new(registry).context("reaching the schema registry")?;
    let registry = Arc::new(registry);
    let mut registrations = JoinSet::new();
    for spec in specs {
        let registry = registry.clone();
        registrations.spawn(async move {
            let subject = avro::subject(&spec.name);
            let level = spec.compatibility.name();
            let setting = registry.set_compatibility(&subject, level).await;
            setting.with_context(|| format!("setting the compatibility of {subject}"))?;
            registry.register(&subject, spec.schema.text()).await.with_context(|| format!("registering {subject}"))
        });
    }
    while let Some(registered) = registrations.join_next().await {
        registered.context("registering the schemas")??;
    }
    Ok(())
}
