//! Every rule with passing and failing vectors, every verdict, and what must hold for any order of changes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so loudly")]

extern crate millrace_policy as policy;

mod decisions;
mod properties;
mod rules;
mod world;
