//! What must be true of the image before anybody builds it: its list, its build, and the compose file that runs it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read the tree should say so loudly")]

mod build;
mod compose;
mod list;

use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
