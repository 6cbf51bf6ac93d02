//! The process around a service: arguments, landscape, logs, `/livez` `/readyz` `/metrics`, signals, drain, exit code.
//!
//! A service is an [`App`]: `build` does everything that can fail before work is taken, `run` works until it is told to stop. All
//! the rest is here, once, so that six services start, report and end alike.
//!
//! Invariant: nothing but this crate's drain watchdog calls `process::exit`.

mod access;
mod args;
mod exit;
mod health;
mod landscape_files;
mod logs;
mod ops;
mod run;
mod traces;

pub use access::Access;
pub use args::{Common, LogFormat, TraceOptions};
pub use exit::Exit;
pub use health::Health;
pub use landscape_files::landscape_files;
pub use run::{App, Context, run};
pub use tokio_util::sync::CancellationToken;
pub use traces::{Read, Span, Traces};
