//! What the image took from Debian: the packages whose status deploy/image/root.sh left in it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Debian {
    pub name: String,
    pub version: String,
    pub architecture: String,
}

/// The packages in `root`, by name.
///
/// # Errors
/// No status file, or one without a name, version and architecture.
pub fn packages(root: &Path) -> Result<Vec<Debian>> {
    let folder = root.join("var/lib/dpkg/status.d");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("listing `{}`", folder.display()))? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned);
            value.with_context(|| format!("finding {name} in `{}`", path.display()))
        };
        found.push(Debian { name: field("Package")?, version: field("Version")?, architecture: field("Architecture")? });
    }
    ensure!(!found.is_empty(), "`{}` names no package", folder.display());
    found.sort();
    Ok(found)
}
