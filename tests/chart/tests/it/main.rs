//! The chart, rendered by the real Helm and held against the real binaries.
