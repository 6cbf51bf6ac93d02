//! The promises of the development stack, on real processes and real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod base;
mod simulators;
mod stack;
mod supervision;
