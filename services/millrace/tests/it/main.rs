//! Golden output of the command line against a stub tracker with fixed data: help, tables, JSON, refusals, exit codes.
//!
//! Bless changed output with `INSTA_UPDATE=always cargo test -p millrace` and review the difference.
#![expect(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

mod answers;
mod bundle;
mod golden;
mod rights;
mod stub;
mod subscribing;
