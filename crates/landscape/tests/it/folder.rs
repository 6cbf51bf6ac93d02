//! Reads a landscape folder as a service does.

use std::{collections::BTreeMap, fs, path::Path};

/// Relative path → text.
pub(crate) fn read(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    collect(root, root, &mut files);
    files
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|ending| ["yaml", "yml", "j2"].iter().any(|known| ending == *known)) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// A folder of this repository.
pub(crate) fn of_repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A landscape of this repository that has no problem.
pub(crate) fn landscape(path: &str) -> crate::landscape::Landscape {
    crate::landscape::Landscape::parse(&read(&of_repository(path)))
        .unwrap_or_else(|problems| panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}
