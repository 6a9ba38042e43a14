//! What becomes of HTTP/2 streams when something is wrong: policy, programs that die or speak
//! something else, proxies that end.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderValue, Request, Response};
use weft_mesh::record::{
    Action, Enforcement, Matches, Operation, Origin, Pattern, Policy, Rule, Source, Tunnel,
};
use weft_proxy::records::Update;

use crate::harness::*;
use crate::http2_programs::*;

fn exact(text: &str) -> Matches<Pattern> {
    Matches { any: vec![Pattern::Exact(text.to_owned())], not: Vec::new() }
}

fn policy(action: Action, rule: Rule) -> Policy {
    let origin = Origin { namespace: "default".into(), name: "api-policy".into(), file: "mesh.yaml".into(), line: 3 };
    Policy { origin, action, enforcement: Enforcement::Enforced, rules: vec![rule], defect: None }
}

fn told(policies: Vec<Policy>) -> Update {
    Update::Inbound(Box::new(inbound("api", CALLEE, policies)))
}

fn get(path: &str) -> Request<()> {
    Request::builder().uri(format!("http://api{path}")).body(()).unwrap()
}
