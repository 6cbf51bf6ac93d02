//! The chart on a real Kubernetes API: `make cluster-test`.

fn main() {}
