//! Benchmarks; see the README for what they need.

fn main() {}
