//! Everything between a Kafka byte and a Rust value: consume loops, transactions, producers, topics. The only importer of rdkafka.
//!
//! What it guarantees:
//! * [`run`]: what a [`Processor`] answers and the input offsets become visible together or not at all (exactly once), and
//!   nobody decides on a slot before its state is read up to the *uncommitted* end.
//! * [`Reader`]: never commits past a record that is not done; a slot's completions of an older assignment change nothing.
//! * [`Producer`], [`Transactor`]: records reach a partition in the order given; a transaction whose end is in doubt is never
//!   followed by another one of the same epoch (librdkafka #5423: drop the recycling when KIP-890 is spoken).
//!
//! What it does not guarantee: anything about the content. It knows no Avro, no domain and no policy; letters and findings come
//! encoded from the processor.
//!
//! Invariant: no type of rdkafka crosses this crate's public interface.
//! Invariant: a partition is always explicit; no client ever chooses one.

mod board;
pub mod cluster;
mod config;
mod context;
mod error;
mod exactly;
mod fetch;
mod follow;
mod group;
mod lookup;
mod offsets;
mod owned;
mod producer;
mod reader;
mod record;
mod refusal;
mod restore;
pub mod rights;
mod standing;
pub mod topics;
mod transact;
mod worker;

pub use config::{Client, Sasl, Security, library};
pub use error::{Cause, Error, Fatal, TransactError};
pub use fetch::Fetcher;
pub use follow::{FollowConfig, Followed, Follower, Start};
pub use producer::{Delivery, Producer, Transactor};
pub use reader::{Bounds, Coordinate, Event, Reader, ReaderConfig, ReaderHandle};
pub use record::Record;
pub use refusal::Refusal;
pub use restore::read_all;
pub use worker::{Alive, Batch, Drained, Processor, WorkerConfig, run};
