//! The benches: ratios in one run, on a real Kafka.

fn main() {}
