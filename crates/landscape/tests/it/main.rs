//! The landscape crate against whole folders: the sample company, and one broken folder per trap.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is wrong")]

use millrace_landscape as landscape;

mod adventureworks;
mod bad;
mod folder;
mod reference;
mod rights;
mod sample;
mod simulation;
