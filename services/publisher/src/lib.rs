//! The publisher: one system of record → `change.<source>.<domain>`.
//!
//! Reads one source (a drop folder, a JSON API), maps what changed to canonical records and writes them as proposals, in the same
//! transaction as its memory of them (`cursor.<source>`) and as the dead letters of what could not be mapped (`dlq.<source>`).
//!
//! What it guarantees:
//! * A restart loses nothing and sends nothing twice: memory and changes are durable together or not at all.
//! * A record is only what the source says in full; a row that cannot be read or mapped is a letter, and the source goes on.
//! * A delete by absence is believed only of a complete file or sweep, and never of most keys at once.
//! * What Millrace itself wrote into the source comes back with `millrace` as its author: it is remembered and counted as an echo,
//!   not sent.
//!
//! What it does not guarantee: that a change is right, new or allowed. The validator decides that; a repeat is harmless there.
//!
//! Invariant: `capture` and `memory` decide without I/O and without a clock: rows and times come in, records go out.

mod app;
mod backoff;
mod capture;
mod command;
mod config;
mod files;
mod letter;
mod memory;
mod poll;
mod position;
mod queue;
mod status;
mod sweep;
mod writer;

pub use app::App;
pub use config::Args;
