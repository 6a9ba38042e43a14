//! A server on loopback, a client to it, and what the server told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use weft_hbone_peer::client::{self, Head, Tunnel};
use weft_hbone_peer::event::Events;
use weft_hbone_peer::server::{self, Rules};
use weft_hbone_peer::tls;

use crate::certificates::{Authority, CLIENT, SERVER};

pub(crate) struct Server {
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
    events: UnboundedReceiver<Value>,
}

impl Server {
    pub(crate) async fn start(test: &str, rules: Rules) -> Self {
        let authority = Authority::new(test);
        let tls = tls::server(&authority.leaf("server", &[SERVER])).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, received) = channel();
        tokio::spawn(server::serve(listener, tls, rules, events));
        Self { authority, address, events: received }
    }

    pub(crate) async fn tunnel(&self) -> Tunnel {
        self.tunnel_as(CLIENT, SERVER).await.unwrap()
    }

    pub(crate) async fn tunnel_as(&self, own: &str, expected: &str) -> Result<Tunnel, String> {
        let tls = tls::client(&self.authority.leaf("client", &[own]), vec![expected.to_owned()]).unwrap();
        client::connect(self.address, tls, Arc::new(|_| {})).await
    }

    /// The next event of this kind; others are passed over.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = timeout(Duration::from_secs(60), self.events.recv()).await.unwrap().unwrap();
            if event["event"] == kind {
                return event;
            }
        }
    }
}

pub(crate) fn channel() -> (Events, UnboundedReceiver<Value>) {
    let (send, received) = unbounded_channel();
    // A test that is over doesn't read any more.
    (Arc::new(move |event| drop(send.send(event))), received)
}

pub(crate) fn to(authority: impl ToString) -> Head {
    Head { authority: authority.to_string(), fields: Vec::new() }
}

/// A program's listener, and its address.
pub(crate) async fn program() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A connected pair of TCP streams.
pub(crate) async fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, address) = program().await;
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}
