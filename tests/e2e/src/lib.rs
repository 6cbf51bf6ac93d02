//! The checker of the end-to-end tests: reads topics as any subscriber would and says, in plain words, what a run did wrong.
//!
//! The same checks judge every run, so a check that never fails would hide everything: before you trust a change here, plant the fault
//! that it is for. `tests/it/edges.rs` does so for its judge.

pub mod check;
pub mod load;
pub mod look;
pub mod wait;

pub use look::{Look, Seen};
pub use wait::until;

use std::path::PathBuf;

/// A landscape of these tests.
#[must_use]
pub fn landscape(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("landscapes").join(name)
}

/// The sample company.
#[must_use]
pub fn sample_landscape() -> PathBuf {
    root().join("deploy/landscape")
}

/// What the sample company's sources hold at first.
#[must_use]
pub fn sample_data() -> PathBuf {
    root().join("deploy/sample")
}

/// Real data beside the repository; `None`, said loudly, where it is absent.
#[must_use]
#[expect(clippy::print_stdout, reason = "a skipped test says so where its reader looks")]
pub fn shared_data(folder: &str) -> Option<PathBuf> {
    let path = root().parent()?.join("shared/data").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("SKIPPED: {} is not there; this test needs it", path.display());
    None
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/e2e lies two below the root").to_owned()
}
