//! Loads: item files of a test source, written as a source system writes them (to a temporary name, then renamed).

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// The contents of an item file of landscape `load`: each item with the version that its description names.
#[must_use]
pub fn items(versions: &[(usize, u32)]) -> String {
    let mut text = String::from("item_id;revision;description;base_uom;net_weight;pack_uom;pack_size\n");
    for (number, version) in versions {
        text.push_str(&format!(
            "L-{number:05};A;load item {number} version {version};C62;{}.5;CT;{}\n",
            1 + number % 90,
            2 + number % 11
        ));
    }
    text
}

/// Units that the items name.
pub const UNITS: &str = "code;name\nC62;piece\nCT;carton\nKGM;kilogram\n";

/// Puts a file into a drop folder at once.
///
/// # Errors
/// When it cannot be written.
pub fn drop_file(folder: &Path, name: &str, text: &str) -> Result<()> {
    let temporary = folder.join(format!(".{name}.tmp"));
    fs::write(&temporary, text).with_context(|| format!("writing {}", temporary.display()))?;
    fs::rename(&temporary, folder.join(name)).with_context(|| format!("renaming {name} into place"))?;
    Ok(())
}
