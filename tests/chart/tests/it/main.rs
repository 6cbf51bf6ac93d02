//! The chart, rendered by the real Helm and held against the real binaries.
#![expect(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

mod binaries;
mod folder;
mod installs;
mod monitoring;
mod problems;
mod provisioning;
mod roll;
mod secrets;
mod workloads;
