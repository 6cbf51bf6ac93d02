//! The contract, part by part.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

mod codes;
mod documents;
mod partitions;
mod releases;

/// Values of any schema: the same generator that the crate's own round trips use.
#[path = "../../../../crates/avro/tests/it/arbitrary.rs"]
mod arbitrary;
