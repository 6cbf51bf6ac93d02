//! The list against CycloneDX's own schema, by the library of its makers: a list that scanners cannot read is no list.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

const PACKAGE: &str = "cyclonedx-python-lib[json-validation]==11.12.0";

/// Ends with a line per deviation and 1, or with 0.
const PROGRAM: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
with open(sys.argv[1]) as file:
    deviation = JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read())
if deviation is not None:
    sys.exit(str(deviation)[:2000])
";

/// What keeps the list at `list` from being CycloneDX 1.6; `folder` is where the library is kept.
///
/// # Errors
/// The library cannot be had or run.
pub(crate) fn deviations(folder: &Path, list: &Path) -> Result<Vec<String>> {
    let library = folder.join("cyclonedx");
    if !library.is_dir() {
        let unfinished = folder.join("cyclonedx.unfinished");
        let status = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--upgrade"])
            .arg("--target")
            .arg(&unfinished)
            .arg(PACKAGE)
            .status()
            .context("installing CycloneDX's library")?;
        ensure!(status.success(), "installing {PACKAGE} ended with {status}");
        fs::rename(&unfinished, &library).with_context(|| format!("naming `{}`", library.display()))?;
    }
    let output = Command::new("python3")
        .args(["-c", PROGRAM])
        .arg(list)
        .env("PYTHONPATH", &library)
        .output()
        .context("running CycloneDX's library")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(if output.status.success() { Vec::new() } else { vec![said] })
}
