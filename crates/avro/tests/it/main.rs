//! Every record type, with all fields, with none and at random, comes back equal; bytes that are no record are answers.

extern crate millrace_avro as avro;

mod arbitrary;
mod hostile;
mod round_trip;
