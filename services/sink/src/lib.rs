//! The sink: takes the golden records of its scope to one destination, one call per key at a time, and keeps the receipts.
//!
//! Reads `golden.<domain>` and `command.<destination>` as a member of its group, and `ledger.<destination>` to restore a slot. Writes
//! `ledger`, `receipt` and `dlq` of its destination, and its line in `destination`.
//!
//! Guarantees: the destination never sees a revision after a higher one; what was accepted is in the ledger before its offset is
//! committed; a refused key is parked behind a dead letter while all others flow; a destination that is down fills no dead letters;
//! pauses and blocks survive a restart, because the ledger keeps them.
//!
//! Does not guarantee: one effect per revision at a destination that honours neither idempotency keys nor revisions. After a crash
//! the call is repeated with the same key.
//!
//! A record that leaves the destination's scope after it was sent is delivered as a delete, as `on_delete` says; one that was never
//! sent is skipped and counted.

mod app;
mod config;
mod deliver;
mod journal;
mod letter;
mod record;
mod restore;
mod shared;
mod slot;
mod status;
mod there;

pub use app::App;
pub use config::Args;
