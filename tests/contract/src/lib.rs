//! The contract with everybody who reads our topics: released schemas stay as they are, every version reads every other one, today's
//! code reads what was ever released, and a stock Avro reader reads what we write. The tests are under `tests/it`.
//!
//! A release is frozen once, with `cargo run -p millrace-contract -- <n>`, and reviewed as a diff.

/// Values of any schema: the same generator that the round trips of the `avro` crate use.
#[path = "../../../crates/avro/tests/it/arbitrary.rs"]
pub mod arbitrary;
pub mod sample;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Hashes of everything else in a release.
pub const SUMS: &str = "SHA256SUMS";
/// Records of a release with their bytes.
pub const SAMPLES: &str = "samples.json";

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

/// What `SHA256SUMS` must say about a release.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn sums(folder: &Path) -> io::Result<String> {
    let mut files = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let mut sums = String::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != SUMS {
            sums.push_str(&format!("{}  {name}\n", HEXLOWER.encode(&Sha256::digest(fs::read(&path)?))));
        }
    }
    Ok(sums)
}
