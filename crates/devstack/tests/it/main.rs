//! The promises of the development stack, on real processes and real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "what a demo and its tour printed, for whoever looks at a failed test")]

mod base;
mod demo;
mod pod;
mod simulators;
mod stack;
mod supervision;
