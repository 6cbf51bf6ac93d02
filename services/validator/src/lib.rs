//! `change.*` → `golden`, `held` or a dead letter, in one Kafka transaction with the input offsets.
//!
//! Reads `change.<source>.<domain>`, `command.validator` and the receipts of confirming destinations; its state is `golden.<domain>` and
//! `held` of the same slot. Writes `golden.<domain>`, `held`, `finding`, `dlq.validator`.
//!
//! What it guarantees:
//! * Every change ends as a golden revision, a held entry, a dead letter, or a counted duplicate, stale or superseded one, exactly
//!   once, whenever the process is killed.
//! * Revisions of a key rise by one, also over deletes and tombstones.
//! * A change that needs a record which is not there waits for it and is released by itself; after its deadline it is a letter.
//! * What it writes fits into a record, whatever a change holds: findings are counted beyond the first, a record that would be too large
//!   is a letter.
//! * A schema that is not known yet makes its slot wait, and only that one; nothing is passed over for it.
//! * A customer that moves takes those below it along: their top is written anew, a bounded number in each transaction.
//! * Nobody decides before the view of references and the slot's state are complete.
//!
//! What it does not guarantee: that two records which contradict each other are not accepted by two workers at the same instant
//! (two customers made each other's parent within milliseconds): references are read from other slots as they were committed.
//!
//! Invariant: the decision is [`policy::decide`]; this crate carries records to it and outcomes away.
//! Invariant: the state holds committed data only; what a running batch changes lies in an overlay.

mod app;
mod config;
mod hierarchy;
mod judge;
mod letter;
mod overlay;
mod processor;
mod questions;
mod shared;
mod state;
mod steward;
mod tally;
#[cfg(test)]
mod tests;
mod view;

pub use app::App;
pub use config::{Args, Config};
