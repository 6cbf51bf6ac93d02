//! Which crates are in the programs: exactly those that cargo builds for them with the features of the image, not everything that the
//! workspace names. Crates that only run while it is built (build scripts, procedural macros) are told apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::PROGRAMS;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const FEATURE: &str = "millrace-kafka/vendored";

/// What cargo builds for the programs.
pub struct Crates {
    metadata: Metadata,
    /// In a program.
    linked: BTreeSet<PackageId>,
    /// Needed to build one.
    building: BTreeSet<PackageId>,
    checksums: BTreeMap<(String, String), String>,
}

impl Crates {
    /// Asks cargo about the workspace at `root`, without the network.
    ///
    /// # Errors
    /// When cargo refuses, or names a package that it does not describe.
    pub fn of(root: &Path) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .features(CargoOpt::SomeFeatures(vec![FEATURE.to_owned()]))
            .other_options(["--locked", "--offline", "--filter-platform", TARGET].map(str::to_owned))
            .exec()
            .context("asking cargo for the packages")?;
        let linked = tree(root, &metadata, "normal,no-proc-macro")?;
        let building = tree(root, &metadata, "normal,build")?.difference(&linked).cloned().collect();
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("reading Cargo.lock")?;
        Ok(Self { metadata, linked, building, checksums: checksums(&lock) })
    }

    /// Packages whose code is in a program.
    pub fn linked(&self) -> impl Iterator<Item = &Package> {
        self.metadata.packages.iter().filter(|package| self.linked.contains(&package.id))
    }

    /// Packages that only run while a program is built.
    pub fn building(&self) -> impl Iterator<Item = &Package> {
        self.metadata.packages.iter().filter(|package| self.building.contains(&package.id))
    }

    /// One package that is linked or builds, by name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Package> {
        self.linked().chain(self.building()).find(|package| *package.name == name)
    }

    /// What a package is made of: the linked packages that it names itself.
    #[must_use]
    pub fn needs(&self, package: &Package) -> Vec<&Package> {
        let nodes = self.metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        let needed: BTreeSet<_> = nodes
            .filter(|node| node.id == package.id)
            .flat_map(|node| &node.deps)
            .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal))
            .map(|dependency| &dependency.pkg)
            .collect();
        self.linked().filter(|linked| needed.contains(&linked.id)).collect()
    }

    /// The registry's checksum of a package's archive.
    #[must_use]
    pub fn checksum(&self, package: &Package) -> Option<&str> {
        self.checksums.get(&(package.name.to_string(), package.version.to_string())).map(String::as_str)
    }
}

/// The packages of `cargo tree` over the given kinds of edges; unlike `cargo metadata` it knows which features the programs themselves use.
fn tree(root: &Path, metadata: &Metadata, edges: &str) -> Result<BTreeSet<PackageId>> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p}", "--target", TARGET]);
    command.args(["--edges", edges, "--features", FEATURE, "-p", "millrace-kafka"]);
    command.args(PROGRAMS.iter().flat_map(|program| ["-p", program]));
    let output = command.output().context("running cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    let text = String::from_utf8(output.stdout).context("reading what cargo tree printed")?;
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().trim_start_matches('v'));
        let package = metadata.packages.iter().find(|package| *package.name == name && package.version.to_string() == version);
        found.insert(package.with_context(|| format!("cargo tree names {name} {version}, cargo metadata does not"))?.id.clone());
    }
    ensure!(!found.is_empty(), "cargo tree named no package");
    Ok(found)
}

/// Name and version to checksum, from the text of Cargo.lock.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|package| Some(((value(package, "name")?, value(package, "version")?), value(package, "checksum")?)))
        .collect()
}
