//! The licence texts of everything that is linked in, each text once: most licences ask that they go with the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::crates::Crates;

/// What a file with a licence or a notice is called, in capitals.
const NAMES: &[&str] = &["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// The C sources inside crates that have licences of their own, below the crate's folder.
const INSIDE: &[(&str, &str)] = &[
    ("rdkafka-sys", "librdkafka"),
    ("openssl-src", "openssl"),
    ("libz-sys", "src/zlib"),
    ("zstd-sys", "zstd"),
    ("libmimalloc-sys", "c_src/mimalloc/v3"),
    ("aws-lc-sys", "aws-lc"),
];

/// All texts, each under the names of the packages that it belongs to.
///
/// # Errors
/// A text cannot be read.
pub fn text(crates: &Crates) -> Result<String> {
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut silent = Vec::new();
    let sources = crates.linked().filter(|package| package.source.is_some()).chain(crates.named("openssl-src"));
    for package in sources {
        let folder = package.manifest_path.as_std_path().parent().expect("a manifest lies in a folder");
        let inside = INSIDE.iter().filter(|(name, _)| *package.name == *name).map(|(_, inside)| folder.join(inside));
        let files: Vec<_> = std::iter::once(folder.to_owned()).chain(inside).flat_map(|folder| licences(&folder)).collect();
        let name = format!("{} {}", package.name, package.version);
        if files.is_empty() {
            silent.push(format!("{name}: {}", package.license.as_deref().unwrap_or("no licence named")));
        }
        for file in files {
            let bytes = std::fs::read(&file).with_context(|| format!("reading `{}`", file.display()))?;
            let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            texts.entry(text.trim().to_owned()).or_default().insert(name.clone());
        }
    }
    let mut all = String::from("What is linked into Millrace, and the licences that it came under.\n");
    if !silent.is_empty() {
        silent.sort();
        let _written =
            write!(all, "\nWithout a text of their own, under the licence that they name:\n  {}\n", silent.join("\n  "));
    }
    for (text, packages) in texts {
        let packages: Vec<_> = packages.into_iter().collect();
        let _written = write!(all, "\n{}\n{}\n\n{text}\n", "=".repeat(80), packages.join("\n"));
    }
    Ok(all)
}

fn licences(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
            NAMES.iter().any(|known| name.starts_with(known))
        })
        .collect();
    found.sort();
    found
}
