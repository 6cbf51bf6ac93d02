//! The tracker without brokers: facts in, rows and answers out; the API over a local socket.
#![expect(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

mod api;
mod given;
mod needs;
mod store;
