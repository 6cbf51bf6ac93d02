//! The tracker: follows every revision to every destination and says where it is, why, and whose turn it is.
//!
//! Reads all topics of the landscape into a SQLite store ([`store`]), serves the JSON API ([`api`]) and the propagation metrics,
//! and turns what a person asks for into an audit entry and a command ([`act`]).
//!
//! Guarantees: offsets and rows are one transaction, so a restart continues exactly where it was; a store can be thrown away at
//! any time and is rebuilt from the topics; no command without its audit entry; history is never counted twice by metrics.
//!
//! Does not guarantee: reads are eventually consistent (`X-Millrace-As-Of`), and what retention has removed from the topics is
//! not in a rebuilt store (changes older than 14 days, receipts older than 400).
//!
//! Invariant: nothing but [`act`] writes to a topic, nothing but [`follow`] writes to the store.

pub mod act;
pub mod api;
mod app;
mod config;
pub mod fact;
pub mod fleet;
pub mod follow;
mod metrics;
pub mod store;
pub mod tokens;
pub mod why;

pub use app::App;
pub use config::{Args, Config};

/// Version of this build.
const BUILD: &str = env!("CARGO_PKG_VERSION");

/// The one clock of the tracker.
fn now() -> model::Timestamp {
    model::Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}
