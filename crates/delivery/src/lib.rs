//! How a record reaches a destination, decided without I/O and without a clock: events in, actions out.
//!
//! The sink moves bytes and asks these types what to do next. Time, random numbers and answers come in as values, so every
//! schedule of faults can be run in a test from a seed. Nothing here knows Kafka, HTTP or tokio.
//!
//! Guarantees: a key has one call at a time, in revision order; a revision below the accepted one is never sent; an offset is
//! done only after what makes it durable was acknowledged. The rest of a destination never waits for one refused key.

pub mod answer;
pub mod backoff;
pub mod blame;
pub mod breaker;
pub mod chain;
pub mod gate;
mod idempotency;
pub mod rate;
pub mod slot;
pub mod tracker;
pub mod traffic;

pub use answer::{Absence, Answer, AnswerClass, Problem};
pub use backoff::Budget;
pub use blame::{Blame, Fault, Suspicion, Verdict};
pub use breaker::{Breaker, Tolerance};
pub use chain::Chain;
pub use gate::{Closed, Gate, first_closed};
pub use idempotency::idempotency_key;
pub use rate::RateLimit;
pub use slot::{ABSENT_THERE, Action, Call, Counted, Job, Letter, Offer, Operation, Place, Setup, SlotState, Ticket};
pub use tracker::{CommitTracker, NextOffset};
pub use traffic::{Grant, Permit, Traffic, Turn};
