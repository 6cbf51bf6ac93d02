//! Against a real broker: `MILLRACE_TEST_BROKERS`, or the one that `millrace-devstack up` left in `target/dev/dev.json`. Without
//! one every test says that it is skipped. librdkafka's mock cluster cannot stand in: it has no transactions and no fencing.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may stop at what it did not expect, and says where it was skipped"
)]

extern crate millrace_kafka as kafka;

mod follower;
mod harness;
mod members;
mod producers;
mod topic_set;
mod transformation;
