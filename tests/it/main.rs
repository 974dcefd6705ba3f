//! Tests of the running server, from outside: the real binary, real sockets, both databases.
//!
//! `harness` starts and stops things; every other module is one subject. Nothing here waits for a
//! time to pass: it waits for a condition, and a deadline that is reached is a failure.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod harness;
#[path = "../rig/mod.rs"]
mod rig;
mod smoke;

mod access;
mod adobe;
mod alerts;
mod browser;
mod cases;
mod changing;
mod command_line;
mod configuring;
mod console;
mod content;
mod copied_spool;
mod damaged_files;
mod data_directory;
mod database_away;
mod demo;
mod documentation;
mod erasing;
mod explain;
mod exporting;
mod forms;
mod full_disk;
mod full_spool;
mod hostile;
mod hostile_api;
mod identity;
mod importing;
mod judging;
mod keys;
mod killed_server;
mod kit;
mod layers;
mod listeners;
mod mangled;
mod manual;
mod mapp;
mod mautic;
mod measuring;
mod migrations;
mod moving;
mod old_spool;
mod once;
mod openapi;
mod operating;
mod orphans;
mod quarantine;
mod random_kills;
mod relay;
mod retention;
mod senders;
mod sending;
mod silent_database;
mod slow_disk;
mod starting;
mod stopping;
mod two_servers;
mod unsubscribing;
mod upstream;
mod users;
mod values;
mod webhooks;
mod wrong_requests;
