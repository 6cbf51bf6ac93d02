//! The image: the list of everything that is in it, made while it is built, and the proof that it is what deploy/Dockerfile promises.
//!
//! Guarantee: whatever a program of the fleet contains is named in the list or the image does not build; a crate with C code that
//! [`native`] does not know ends the build.

pub mod check;
mod container;
pub mod crates;
pub mod debian;
pub mod native;
pub mod notices;
pub mod sbom;
mod schema;
pub mod trial;

/// The programs of the image.
pub const PROGRAMS: &[&str] =
    &["millrace", "millrace-publisher", "millrace-validator", "millrace-sink", "millrace-replayer", "millrace-tracker"];

/// Where the list lies in the image.
pub const SBOM: &str = "usr/share/doc/millrace/sbom.cdx.json";

/// Where the licence texts of everything that is linked in lie in the image.
pub const NOTICES: &str = "usr/share/doc/millrace/third-party-notices.txt";
