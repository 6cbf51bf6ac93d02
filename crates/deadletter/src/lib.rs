//! The dead-letter contract: ids, headers, states, closing, planning. Pure: letters, receipts, golden meta and time come in as
//! values, decisions go out.
//!
//! What it guarantees:
//! * **One failure, one letter.** An id follows from where it failed and which record failed; a repeat after a crash has the same.
//! * **A letter is whose its topic says** ([`Author`]), never whose it says it is.
//! * **A letter fits into a record** ([`bounded`]), whatever it is about.
//! * **A letter's state moves along a table** ([`may_move`]), compare-and-set: who asks for a move names the state it saw.
//! * **A replay can only help.** A letter is judged again before it is sent ([`judge`]); sent is only what would apply, to the one
//!   place that failed; five fruitless replays need a person to say "again".
//!
//! Not here: topics, bytes, and who may replay. Invariant: `deadletter` does not know that Kafka exists.

pub mod audit;
mod author;
mod bounds;
mod close;
mod headers;
mod id;
mod plan;
mod state;

pub use author::{Author, Claim, Lies, WRITER_DIFFERS};
pub use bounds::{bounded, bounded_key};
pub use close::{Closing, by_golden, by_newer_letter, by_receipt, is_expired};
pub use headers::{MESSAGE_BYTES, PAYLOAD_BYTES, clip_payload, headers, kept_headers};
pub use id::{id_of_change, id_of_record, id_of_source};
pub use plan::{
    DEFAULT_LIMIT, DEFAULT_RATE, Facts, HOP_LIMIT, Judgement, PLAN_VALID_FOR, Refusal, Verdict, check_filter, judge, limit,
    matches, rate,
};
pub use state::{Move, Moved, NotMoved, apply, may_move, opened, reopened};
