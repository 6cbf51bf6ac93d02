//! Every record type, with all fields, with none and at random, comes back equal; bytes that are no record are answers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the generator is shared with tests/contract, which includes its file")]

extern crate millrace_avro as avro;

mod arbitrary;
mod hostile;
mod round_trip;
