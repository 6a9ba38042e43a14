//! Pairs of proxies on loopback, with an authority and a registry of the test's own, and programs
//! that are plain sockets.

mod dns;
mod harness;
mod http;
mod http1;
mod http1_policy;
mod http2;
mod http2_ends;
mod http2_flow;
mod http2_programs;
mod http2_tools;
mod identity;
mod policy;
mod tcp;
