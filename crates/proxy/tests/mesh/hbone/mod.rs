//! HBONE against a peer that shares no code with the proxy: its client calls our callee, our caller
//! calls its server.

mod callee;
mod caller;
mod endings;
mod hostile;
mod http;
mod peer;
mod ztunnel;
