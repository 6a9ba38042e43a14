//! Warm connections: mutual TLS that waits for its exchange. An endpoint in use keeps as many
//! spare ones as its calls need at once, within a bound; what waits too long is closed.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use rustls::ClientConfig;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;
use weft_mesh::record::Peer;
use weft_wire::head;

use super::dial;
use super::lanes::Lanes;
use crate::data::Data;
use crate::hbone;
use crate::limits::{IDLE_PER_ENDPOINT, WARM_IDLE, WARM_PER_ENDPOINT};
use crate::metrics::count;
use crate::records::MeshIdentity;
use crate::stream::Stream;
use crate::tls_stream::TlsStream;
use crate::why::Failure;

/// The warm connections of one data thread, by where they go and who must answer there.
#[derive(Default)]
pub(crate) struct Pool {
    entries: RefCell<HashMap<Peer, Rc<Warm>>>,
    /// Connections to those who speak HBONE.
    pub hbone: hbone::Pool,
}

/// The warm connections to one endpoint, all made as one identity.
pub(crate) struct Warm {
    peer: Peer,
    config: Arc<ClientConfig>,
    generation: u64,
    spare: RefCell<VecDeque<(Box<TlsStream>, Instant)>>,
    dialling: Cell<usize>,
    /// How many spare ones there should be.
    wanted: Cell<usize>,
    /// How many were taken since the last sweep.
    taken: Cell<usize>,
    /// Nobody takes any more: there is a newer identity, or the proxy ends.
    retired: Cell<bool>,
    /// Shared by small exchanges of HTTP/1.
    pub(super) lanes: Lanes,
}

/// A new connection to a peer whose protocol shows only now.
pub(super) enum Dialled {
    /// It speaks `weft/1`.
    Weft(Box<TlsStream>),
    /// It speaks HBONE only.
    Hbone(Box<TlsStream>),
}

impl Pool {
    /// The warm connections to a proxy. Those that were made with an older certificate or trust are
    /// given up.
    pub(super) fn entry(&self, peer: &Peer, identity: &MeshIdentity) -> Rc<Warm> {
        let mut entries = self.entries.borrow_mut();
        match entries.get(peer) {
            Some(warm) if warm.generation == identity.generation => warm.clone(),
            _ => {
                let expected = std::slice::from_ref(&peer.identity);
                let config = identity.tls.client_config(expected, &[head::ALPN, hbone::ALPN]);
                let warm = Rc::new(Warm::new(peer.clone(), config, identity.generation));
                if let Some(old) = entries.insert(peer.clone(), warm.clone()) {
                    old.retire();
                }
                warm
            }
        }
    }

    /// Closes what has waited too long. Returns whether any are left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut entries = self.entries.borrow_mut();
        // A connection of the program may hold it still.
        entries.retain(|_, warm| warm.sweep(now) || Rc::strong_count(warm) > 1);
        self.hbone.sweep(now) || !entries.is_empty()
    }

    /// Closes all that wait: the proxy ends.
    pub(crate) fn clear(&self) {
        self.entries.borrow_mut().drain().for_each(|(_, warm)| warm.retire());
        self.hbone.clear();
    }

    /// How many connections wait.
    pub(crate) fn spare(&self) -> usize {
        self.entries.borrow().values().map(|warm| warm.spare.borrow().len()).sum()
    }
}

impl Warm {
    fn new(peer: Peer, config: Arc<ClientConfig>, generation: u64) -> Self {
        Self {
            peer,
            config,
            generation,
            spare: RefCell::default(),
            dialling: Cell::new(0),
            wanted: Cell::new(0),
            taken: Cell::new(0),
            retired: Cell::new(false),
            lanes: Lanes::default(),
        }
    }

    /// A connection that waits and lives, as far as this side knows. None: more will be wanted.
    pub(super) fn take(&self) -> Option<Box<TlsStream>> {
        let reused = self.reuse();
        if reused.is_some() {
            return reused;
        }
        self.wanted.set((self.wanted.get() * 2).clamp(1, WARM_PER_ENDPOINT));
        None
    }

    /// Where its connections go, and who answers there.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Which identity and trust its connections were made with.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// A connection for an exchange of HTTP/1, which is given back: so none more will be wanted.
    pub(crate) fn reuse(&self) -> Option<Box<TlsStream>> {
        self.taken.set(self.taken.get() + 1);
        loop {
            let (mut tunnel, _) = self.spare.borrow_mut().pop_back()?;
            if is_quiet(&mut tunnel) {
                return Some(tunnel);
            }
        }
    }

    /// Keeps what carried an exchange that ended cleanly at both sides.
    pub(crate) fn give_back(&self, stream: Stream, data: &Data) {
        match stream {
            Stream::Tls(tunnel) => self.keep(tunnel, data),
            Stream::Lane(stream) if !self.retired.get() => self.lanes.give_back(stream),
            Stream::Lane(_) | Stream::Hbone(_) | Stream::Plain(_) => {}
        }
    }

    fn keep(&self, tunnel: Box<TlsStream>, data: &Data) {
        let mut spare = self.spare.borrow_mut();
        if !self.retired.get() && spare.len() < IDLE_PER_ENDPOINT {
            if spare.is_empty() {
                data.sweep.notify_one();
            }
            spare.push_back((tunnel, Instant::now()));
        }
    }

    fn retire(&self) {
        self.retired.set(true);
        self.spare.borrow_mut().clear();
        self.lanes.clear();
    }

    /// A new connection, and what the peer made of it.
    pub(super) async fn dial(&self, data: &Data) -> Result<Dialled, Failure> {
        let dialled = dial::mesh((data.loopback, self.peer.address), self.config.clone()).await;
        let counted = match &dialled {
            Ok(_) => &data.metrics.process.handshakes_client,
            Err(_) => &data.metrics.process.handshakes_failed,
        };
        count(counted);
        let tunnel = dialled?;
        match tunnel.alpn() {
            Some(head::ALPN) => Ok(Dialled::Weft(tunnel)),
            Some(hbone::ALPN) => Ok(Dialled::Hbone(tunnel)),
            other => Err(dial::unexpected(self.peer.address, "weft/1 or h2", other)),
        }
    }

    /// Makes as many connections as are missing, in the background.
    pub(super) fn refill(self: &Rc<Self>, data: &Rc<Data>) {
        while self.spare.borrow().len() + self.dialling.get() < self.wanted.get() {
            self.dialling.set(self.dialling.get() + 1);
            let (warm, data) = (self.clone(), data.clone());
            tokio::task::spawn_local(async move {
                let dialled = warm.dial(&data).await;
                warm.dialling.set(warm.dialling.get() - 1);
                match dialled {
                    Ok(Dialled::Weft(tunnel)) => warm.keep(tunnel, &data),
                    // It was exchanged for another program; the next call meets this one.
                    Ok(Dialled::Hbone(_)) => {}
                    // The next call meets the same failure and tells it.
                    Err(failure) => tracing::debug!(%failure, "no warm connection"),
                }
            });
        }
        data.sweep.notify_one();
    }

    /// Returns whether the entry is still of use.
    fn sweep(&self, now: Instant) -> bool {
        let taken = self.taken.replace(0);
        self.wanted.set(self.wanted.get().min(taken));
        self.spare
            .borrow_mut()
            .retain_mut(|(tunnel, since)| is_quiet(tunnel) && now.saturating_duration_since(*since) < WARM_IDLE);
        let lane = self.lanes.sweep(now);
        lane || taken > 0 || self.dialling.get() > 0 || !self.spare.borrow().is_empty()
    }
}

/// Whether nothing has arrived on a connection on which nothing should.
fn is_quiet(tunnel: &mut TlsStream) -> bool {
    let mut byte = [0];
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(tunnel).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_at_once_want_more_and_more_up_to_the_bound() {
        let identity = "spiffe://cluster.local/ns/shop/sa/api".parse().unwrap();
        let peer = Peer { address: "127.0.0.1:1".parse().unwrap(), identity };
        let warm = Warm::new(peer, weft_identity::unverified_client_config().unwrap(), 1);
        let wanted = [(); 6].map(|()| {
            assert!(warm.take().is_none());
            warm.wanted.get()
        });
        assert_eq!(wanted, [1, 2, 4, 8, 8, 8]);
    }
}
