//! The capture side against real files and a local HTTP server: every bad input gives a clear error and costs only itself.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

extern crate millrace_connect as connect;

mod csv;
mod file;
mod http_poll;
