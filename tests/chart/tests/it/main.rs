//! The chart, rendered by the real Helm and held against the real binaries.
#![expect(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

mod alerts;
mod binaries;
mod catalogue;
mod dashboards;
mod folder;
mod installs;
mod monitoring;
mod pods;
mod problems;
mod provisioning;
mod roll;
mod secrets;
mod workloads;
