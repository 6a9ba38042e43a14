//! The two ends against each other, on loopback or in memory, and against raw frames.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod certificates;
mod command;
mod half_close;
mod keepalive;
mod raw;
mod setup;
mod status;
mod streams;
