//! A call to be judged: what the proxy knows of it, or what a user asks about.

use std::net::IpAddr;

use crate::name::SpiffeId;

/// A connection or a request that arrives at a workload.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Who calls, as proved by mTLS; `None` for a plaintext caller.
    pub peer: Option<&'a SpiffeId>,
    /// The peer's address.
    pub source_ip: IpAddr,
    /// The address that a trusted `X-Forwarded-For` vouches for; else the peer's.
    pub remote_ip: IpAddr,
    /// The address that was called.
    pub destination_ip: IpAddr,
    /// The workload's port.
    pub destination_port: u16,
    /// The server name of the caller's own TLS.
    pub sni: Sni<'a>,
    /// What is asked, when the connection carries HTTP.
    pub http: Option<HttpCall<'a>>,
}

/// The server name that the caller's own TLS asks for (SNI), as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sni<'a> {
    /// Nobody could tell: it may be any or none.
    Unseen,
    /// There is none.
    Absent,
    /// This one, without a full stop at its end.
    Name(&'a str),
}

/// The parts of an HTTP request that policies look at.
#[derive(Clone, Copy)]
pub struct HttpCall<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The authority (`Host` or `:authority`), as sent, port included.
    pub authority: &'a str,
    /// The normalized path, without query and fragment.
    pub path: &'a str,
    /// The header fields.
    pub headers: &'a dyn Headers,
}

/// Header fields of any representation.
pub trait Headers {
    /// Calls `visit` with each value of the field `name` (lower case), in order.
    ///
    /// Policies may ask for `:path`, which is the target with its query: who has it answers; where
    /// nobody does, [`HttpCall::path`] stands for it. `:authority`, `host` and `:method` aren't
    /// asked for.
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8]));
}

/// Name and value pairs, as tests and the command line have them.
impl Headers for [(String, String)] {
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        for (_, value) in self.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)) {
            visit(value.as_bytes());
        }
    }
}

impl Headers for Vec<(String, String)> {
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.as_slice().visit(name, visit);
    }
}
