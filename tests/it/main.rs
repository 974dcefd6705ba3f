//! Tests of the running server, from outside: the real binary, real sockets, both databases.
//!
//! `harness` starts and stops things; every other module is one subject. Nothing here waits for a time to pass: it waits for a condition,
//! and a deadline that is reached is a failure.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod browser;
#[expect(
    dead_code,
    unused_imports,
    reason = "the tests that use the rest are being written"
)]
mod harness;
mod hostile;
mod smoke;
