//! The contract, part by part.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod codes;
mod documents;
mod partitions;
mod readers;
mod releases;
