//! Admission at the callee: every call is judged, and every open TCP connection is judged again
//! when policy changes. A connection is registered before it is judged, so that no change falls
//! between the two.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use weft_mesh::decide::{self, Decision, Verdict, decide};
use weft_mesh::explain::{Explanation, explain, place};
use weft_mesh::record::Inbound;
use weft_mesh::{Call, HttpCall, Sni, SpiffeId};

use crate::access::{Judged, Unenforced};
use crate::metrics::Process;

/// The open connections of callers.
#[derive(Default)]
pub(crate) struct Live {
    next: Cell<u64>,
    open: RefCell<HashMap<u64, Rc<Entry>>>,
    changed: Notify,
}

/// What is judged of a TCP connection.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Who calls, as proved by mTLS.
    pub peer: Option<SpiffeId>,
    /// The caller's address.
    pub source_ip: IpAddr,
    /// The workload's address and port.
    pub destination: SocketAddr,
}

/// What was seen of the caller's own TLS.
#[derive(Debug, Clone, Default)]
pub(crate) enum Hello {
    /// Nothing: policy didn't ask, or nothing certain came in time.
    #[default]
    Unseen,
    /// It isn't TLS, or names no server.
    Nameless,
    /// The server that it asks for.
    Names(String),
}

/// A connection that was admitted; it is judged again until this is dropped.
pub(crate) struct Admitted {
    live: Rc<Live>,
    id: u64,
    entry: Rc<Entry>,
}

struct Entry {
    facts: Facts,
    hello: Hello,
    denied: RefCell<Option<Judged>>,
    changed: Notify,
}

impl Live {
    /// Judges a connection. The verdict is returned either way; only an admitted one comes with a
    /// registration.
    pub(crate) fn admit(self: &Rc<Self>, inbound: &Inbound, facts: Facts, hello: Hello) -> (Judged, Option<Admitted>) {
        let id = self.next.get();
        self.next.set(id + 1);
        let entry = Rc::new(Entry { facts, hello, denied: RefCell::default(), changed: Notify::new() });
        self.open.borrow_mut().insert(id, entry.clone());
        let admitted = Admitted { live: self.clone(), id, entry };
        let verdict = decide(inbound, &admitted.entry.call());
        (judged(inbound, &verdict), (verdict.decision == Decision::Allow).then_some(admitted))
    }

    /// Waits until policy has changed: whoever carries a request judges it again, then.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Judges every open connection by a new record.
    pub(crate) fn judge_again(&self, inbound: &Inbound) {
        self.changed.notify_waiters();
        for entry in self.open.borrow().values() {
            let verdict = decide(inbound, &entry.call());
            if verdict.decision == Decision::Deny {
                *entry.denied.borrow_mut() = Some(judged(inbound, &verdict));
                entry.changed.notify_waiters();
            }
        }
    }
}

impl Admitted {
    /// Waits until policy no longer admits the connection, and returns the verdict.
    pub(crate) async fn denied(&self) -> Judged {
        loop {
            let changed = self.entry.changed.notified();
            if let Some(judged) = self.entry.denied.borrow().clone() {
                return judged;
            }
            changed.await;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.live.open.borrow_mut().remove(&self.id);
    }
}

impl Entry {
    fn call(&self) -> Call<'_> {
        self.facts.connection(&self.hello)
    }
}

impl Facts {
    /// The call to be judged as a connection.
    pub(crate) fn connection<'a>(&'a self, hello: &'a Hello) -> Call<'a> {
        let sni = match hello {
            Hello::Unseen => Sni::Unseen,
            Hello::Nameless => Sni::Absent,
            Hello::Names(name) => Sni::Name(name),
        };
        self.call(sni, None)
    }

    /// The call to be judged as a request, which no TLS of the caller's own hides.
    pub(crate) fn request<'a>(&'a self, http: HttpCall<'a>) -> Call<'a> {
        self.call(Sni::Absent, Some(http))
    }

    fn call<'a>(&'a self, sni: Sni<'a>, http: Option<HttpCall<'a>>) -> Call<'a> {
        Call {
            peer: self.peer.as_ref(),
            source_ip: self.source_ip,
            remote_ip: self.source_ip,
            destination_ip: self.destination.ip(),
            destination_port: self.destination.port(),
            sni,
            http,
        }
    }
}

/// A verdict as it is logged. Only a denial is explained: that takes time and text.
pub(crate) fn judged(inbound: &Inbound, verdict: &Verdict<'_>) -> Judged {
    match verdict.decision {
        Decision::Allow => Judged { verdict: "allow", rule: None, reason: None },
        Decision::Deny => {
            let Explanation { rule, reason, .. } = explain(inbound, verdict);
            Judged { verdict: "deny", rule: rule.map(Into::into), reason: Some(reason) }
        }
    }
}

/// What AUDIT and dry-run policies say of a call that arrives; counts it.
pub(crate) fn unenforced(inbound: &Inbound, call: &Call<'_>, counters: &Process) -> Option<Box<Unenforced>> {
    let said = decide::unenforced(inbound, call)?;
    counters.count_unenforced(&said);
    let audit = said.audit.into_iter().map(|found| place(found).into()).collect();
    let dry_run = said.dry_run.map(|verdict| judged(inbound, &verdict));
    Some(Box::new(Unenforced { audit, dry_run }))
}
