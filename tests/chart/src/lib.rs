//! What the tests of the chart share: the real Helm (the oldest and the newest supported), its output as parsed objects, the Kubernetes
//! schemas, and the README that follows from values.yaml.
//!
//! Programs come pinned by version and hash into the cache outside the repository; a folder there under its final name is complete.

mod helm;
mod manifest;
pub mod monitoring;
mod readme;
mod sample;
mod schema;

pub use helm::{Helm, Refused, Render, Values};
pub use manifest::{Manifest, Object};
pub use readme::{Value, readme, values_of};
pub use sample::{Sample, TOKEN, TOKENS, values as sample_values};
pub use schema::{KUBERNETES, offences};

use std::path::{Path, PathBuf};

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/chart lies two below the root").to_owned()
}

/// The chart.
#[must_use]
pub fn chart() -> PathBuf {
    root().join("helm/millrace")
}

/// Values files of `ci/`, without their ending.
pub const INSTALLS: [&str; 5] = ["minimal", "all", "strimzi", "keda", "restricted"];
