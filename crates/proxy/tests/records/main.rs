//! `weft-proxy --records FILE`: the real binary, two of it on loopback, with curl and python3 as the
//! programs; and what it says of files that can't be used.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod exhausted;
mod mistakes;
mod pair;
mod rig;
mod ztunnel;
