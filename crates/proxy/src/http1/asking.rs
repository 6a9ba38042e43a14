//! What a request is judged by at the callee's side, and judged again when that changes.

use std::net::SocketAddr;
use std::rc::Rc;

use weft_http::head::HeadParser;
use weft_mesh::record::Inbound;

use super::target::Normal;
use crate::access::Judged;
use crate::data::Data;
use crate::flow::Flow;
use crate::live::Facts;
use crate::request::{Line, Request, judge};
use crate::why::{Cause, Failure};

/// One request's surroundings.
pub(super) struct Asking<'d> {
    /// What all tasks share.
    pub data: &'d Rc<Data>,
    /// Who calls.
    pub facts: Facts,
    /// Labels and series.
    pub flow: Rc<Flow>,
    /// The record that it is judged by.
    pub inbound: Rc<Inbound>,
    /// The calling program's address, and the workload's.
    pub ends: (SocketAddr, SocketAddr),
}

impl Asking<'_> {
    /// Opens the account.
    pub(super) fn begin(&self, line: Line<'_>) -> Request {
        Request::begin(self.data, &self.flow, self.ends, line)
    }

    /// Waits until policy no longer admits a head that it admitted.
    pub(super) async fn forbidden(&self, head: &[u8]) -> Failure {
        let mut judged_by = self.inbound.clone();
        loop {
            let changed = self.data.live.changed();
            if let Some(now) = self.data.records.inbound_now()
                && !Rc::ptr_eq(&now, &judged_by)
            {
                if let Some(failure) = self.judge_again(&now, head) {
                    return failure;
                }
                judged_by = now;
            }
            changed.await;
        }
    }

    fn judge_again(&self, inbound: &Inbound, head: &[u8]) -> Option<Failure> {
        let mut parser = HeadParser::new();
        // It was read before; whatever can't be read now isn't admitted.
        let judged = match parser.request(head) {
            Ok(Some(head)) => Normal::of(&head).ok().map(|target| {
                let fields = target.fields(&head);
                judge(inbound, &self.facts, target.call(&head, &fields))
            }),
            _ => None,
        };
        match judged {
            Some(Judged { verdict: "allow", .. }) => None,
            Some(judged) => Some(Failure::inbound(Cause::PolicyChanged, judged.reason.unwrap_or_default())),
            None => Some(Failure::inbound(Cause::PolicyChanged, "the request can't be judged again")),
        }
    }
}
