//! HTTP/1 between programs, message by message: each request is balanced, judged, counted and
//! logged for itself, and passed on as its sender wrote it.
//!
//! ```text
//! program ── client ┐                                     ┌ server ── program
//!                   outbound ── server ══ tunnel ══ client ── inbound
//!                       └───────── exchange ─────────┘         (one exchange at each proxy)
//! ```
//!
//! `weft-http` reads and rewrites heads; here are the loops around it. Between proxies an exchange
//! begins with a head of `weft/1`, and the tunnel is used again when both messages ended cleanly. A
//! callee's proxy ends a tunnel cleanly only between exchanges: so a clean end before an answer
//! proves that nothing was processed.

mod answer;
mod asking;
mod exchange;
pub(crate) mod inbound;
mod message;
pub(crate) mod outbound;
mod pass;
mod programs;
mod target;
mod transfer;

pub(crate) use answer::linger;
pub(crate) use programs::Programs;
