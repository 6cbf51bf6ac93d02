//! The contract with everybody who reads our topics: released schemas stay as they are, every version reads every other one, today's
//! code reads what was ever released, and a stock Avro reader reads what we write. The tests are under `tests/it`.
//!
//! A release is frozen once, with `MILLRACE_RELEASE=<n> cargo test -p millrace-contract freeze -- --ignored`, and reviewed as a diff.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The folder `/avro`.
#[must_use]
pub fn avro_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../avro")
}

/// Released versions with their folders, in order.
///
/// # Errors
/// When the folder cannot be read.
pub fn releases() -> io::Result<BTreeMap<u32, PathBuf>> {
    let mut releases = BTreeMap::new();
    for entry in fs::read_dir(avro_folder().join("released"))? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        if let Some(number) = number {
            releases.insert(number, path);
        }
    }
    Ok(releases)
}
