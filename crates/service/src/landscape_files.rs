//! Reading a landscape folder: the only place that touches its files.

use std::{collections::BTreeMap, io, path::Path};

/// Endings of files that belong to a landscape; others (editor backups, `.git`) are left alone.
const ENDINGS: [&str; 5] = ["yaml", "yml", "j2", "csv", "json"];

/// Relative path with `/` → text of every landscape file below `dir`.
///
/// # Errors
/// When the folder or a file cannot be read, or a file is not UTF-8; the message names it.
pub fn landscape_files(dir: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    collect(dir, dir, &mut files)?;
    Ok(files)
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<String, String>) -> io::Result<()> {
    let named = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    for entry in std::fs::read_dir(dir).map_err(|error| named(dir, error))? {
        let path = entry.map_err(|error| named(dir, error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            let text = std::fs::read_to_string(&path).map_err(|error| named(&path, error))?;
            let relative = path.strip_prefix(root).expect("every path here starts at the root");
            let name = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
            files.insert(name, text);
        }
    }
    Ok(())
}
