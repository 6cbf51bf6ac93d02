//! The replayer: the state of every dead letter, and replay plans. One instance.
//!
//! Reads `command.replayer`, `dlq.*` and `receipt.*` through its group; follows `golden.*`, `ledger.*` and `destination`; restores
//! `deadletter`, `plan` and its own part of `audit`. Writes `deadletter`, `plan`, `audit`, `command.<stage>` and, for letters of the
//! validator, `change.<source>.<domain>`.
//!
//! What it guarantees:
//! * **Each step is one transaction** with its input's offset: letter states, plan, commands, audit entry. No letter is `replaying`
//!   without its command, no command goes out twice, no act of a person goes without its audit entry.
//! * **Replay goes to the one place that failed** and never to `golden`. What is sent was judged a moment before; the fences of the
//!   receiving stage decide again, so a replay cannot put older over newer.
//! * **A letter or a receipt is whose its topic says.** One that says otherwise moves nothing; a letter about it is opened.
//! * **Nothing in bulk without a filter**, beyond the limit, faster than the rate, or twice at one destination at a time.
//! * A letter closes by itself when its destination accepts, when golden moves past it, or when a newer letter replaces it.
//!
//! What it does not guarantee: that a replay is accepted; the outcome arrives as a receipt, a golden record or a new letter. A plan
//! lists no letters: it covers those open when it was made, each judged again when its turn comes.

mod app;
mod archive;
mod book;
mod commands;
mod config;
mod desk;
mod execute;
mod judge;
mod knowledge;
mod letters;
mod running;
mod sweep;
mod traces;

pub use app::App;
pub use config::Config;

#[cfg(test)]
mod tests;
