//! A running fleet on landscape `load` and what the tests ask of it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Result;
use devstack::{Stack, StackOptions};
use millrace_e2e::{Look, check, landscape, load, until};
use model::{Data, Domain, Golden};

/// Long enough for a loaded machine; a healthy run needs a small part of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The plants of landscape `load`.
pub(crate) const PLANTS: [&str; 2] = ["mes-ulm", "mes-pune"];

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) look: Look,
    /// Item → how often it was written, which is also its newest version.
    written: BTreeMap<usize, u32>,
    files: u32,
}

impl World {
    /// One of each service, units loaded.
    pub(crate) async fn start(options: impl FnOnce(&mut StackOptions)) -> Result<Self> {
        let mut settings = StackOptions::new(landscape("load"));
        settings.session_timeout = Some(Duration::from_secs(6));
        options(&mut settings);
        let mut stack = Stack::start(settings).await?;
        tokio::task::block_in_place(|| stack.start_fleet())?;
        let look = Look::at(&stack)?;
        let mut world = Self { stack, look, written: BTreeMap::new(), files: 0 };
        world.drop("units", load::UNITS)?;
        // Items that came before their units would be held, and only the newest version of each released.
        until("the units to be golden", PATIENCE, || async {
            let seen = world.look.golden(Domain::Reference).await.map_err(|error| format!("{error:#}"))?;
            if seen.len() == load::UNITS.lines().count() - 1 { Ok(()) } else { Err(format!("{} units", seen.len())) }
        })
        .await?;
        Ok(world)
    }

    /// Puts a file into the ERP's (or, named customers, the CRM's) folder.
    pub(crate) fn drop(&mut self, kind: &str, text: &str) -> Result<()> {
        self.files += 1;
        let source = if kind == "customers" { "crm" } else { "erp" };
        let folder = PathBuf::from(self.stack.systems.source_endpoint(source)?);
        load::drop_file(&folder, &format!("{kind}-{:05}.csv", self.files), text)
    }

    /// Writes the next version of each of these items, in one file.
    pub(crate) fn write_items(&mut self, items: impl IntoIterator<Item = usize>) -> Result<()> {
        let versions: Vec<_> = items
            .into_iter()
            .map(|item| {
                let version = self.written.entry(item).or_insert(0);
                *version += 1;
                (item, *version)
            })
            .collect();
        self.drop("items", &load::items(&versions))
    }

    pub(crate) fn items_written(&self) -> usize {
        self.written.len()
    }

    /// Golden items, once every written version of every item became a revision.
    pub(crate) async fn golden_complete(&self, limit: Duration) -> Result<BTreeMap<String, Golden>> {
        until("every written version to become a golden revision", limit, || async {
            let seen = self.look.golden(Domain::Item).await.map_err(|error| format!("{error:#}"))?;
            let newest = check::newest(&seen);
            let missing: Vec<_> = self
                .written
                .iter()
                .map(|(item, version)| {
                    (item, version, newest.get(&format!("item/L-{item:05}/A")).map(|golden| golden.meta.revision))
                })
                .filter(|(_, version, revision)| *revision != Some(i64::from(**version)))
                .collect();
            match missing.first() {
                None => Ok(newest),
                Some((item, version, revision)) => {
                    let changes = self.look.records(&self.look.topics.change("erp", Domain::Item)).await.map_or(0, |records| records.len());
                    let held = self.look.held().await.map_or(0, |held| held.len());
                    let letters = self.look.letters("validator").await.map_or(0, |letters| letters.len());
                    Err(format!(
                        "{} items differ, e.g. {item} was written {version} times and has revision {revision:?}; {changes} changes were \
                         captured, {held} keys are held, {letters} are letters",
                        missing.len()
                    ))
                }
            }
        })
        .await
    }

    /// Waits until a plant has accepted every golden item.
    pub(crate) async fn plant_complete(&self, plant: &str, golden: &BTreeMap<String, Golden>, limit: Duration) -> Result<()> {
        until(&format!("{plant} to equal golden"), limit, || async {
            let ledger = self.look.ledger(plant).await.map_err(|error| format!("{error:#}"))?;
            let mes = self.stack.systems.plant(plant).map_err(|error| format!("{error:#}"))?;
            let problems = check::plant_equals_golden(plant, mes, &ledger, golden, |_| true);
            match problems.first() {
                None => Ok(()),
                Some(first) => Err(format!("{} differences, the first: {first}", problems.len())),
            }
        })
        .await
    }

    /// All promises of a run at once: nothing lost, nothing twice, nothing backwards, no letter.
    pub(crate) async fn assert_promises(&self) -> Result<()> {
        let golden = self.golden_complete(PATIENCE).await?;
        for (item, version) in &self.written {
            let Some(Data::Item(data)) = golden.get(&format!("item/L-{item:05}/A")).and_then(|golden| golden.data.as_ref())
            else {
                anyhow::bail!("item {item} is not golden");
            };
            assert_eq!(data.descriptions[0].text, format!("load item {item} version {version}"));
        }
        for domain in self.stack.landscape.domains.keys().copied() {
            let seen = self.look.golden(domain).await?;
            check::assert_none(&format!("golden.{domain}"), &check::revisions_rise_once(&seen));
        }
        for plant in PLANTS {
            self.plant_complete(plant, &golden, PATIENCE).await?;
            check::assert_none(plant, &check::plant_saw_order(plant, self.stack.systems.plant(plant)?));
            assert_eq!(self.look.letters(plant).await?, [], "letters of {plant}");
        }
        assert_eq!(self.look.letters("validator").await?, [], "letters of the validator");
        Ok(())
    }
}

/// Sum of a counter over its series.
pub(crate) fn total(metrics: &str, family: &str, part: &str) -> f64 {
    metrics
        .lines()
        .filter(|line| line.starts_with(family) && line.contains(part))
        .filter_map(|line| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok()))
        .sum()
}
