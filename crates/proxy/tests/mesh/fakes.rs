//! Stand-ins for the control plane and the socket maker, at the other end of their real sockets.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair};
use socket2::{Domain, Socket, Type};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};
use weft_wire::maker::{self, ANSWER, Family};
use weft_wire::proto::envoy::service::discovery::v3 as xds;
use weft_wire::proto::istio::v1::auth as ca;
use weft_wire::record::Record;
use xds::aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer};

use crate::harness::{Mesh, id, program};

pub(crate) const TOKEN: &str = "let-me-in";

type Responses = mpsc::Sender<Result<xds::DeltaDiscoveryResponse, Status>>;

/// A control plane that serves the streams of one proxy, one after another.
#[derive(Clone)]
pub(crate) struct Control {
    mesh: Arc<Mesh>,
    /// What came from the proxy.
    pub(crate) requests: Arc<Mutex<Vec<xds::DeltaDiscoveryRequest>>>,
    sender: Arc<Mutex<Option<Responses>>>,
}

impl Control {
    pub(crate) fn start(mesh: Mesh, socket: &Path) -> Self {
        let control = Self { mesh: Arc::new(mesh), requests: Arc::default(), sender: Arc::default() };
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let served = control.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let incoming = UnixListenerStream::new(UnixListener::from_std(listener).unwrap());
                tonic::transport::Server::builder()
                    .add_service(AggregatedDiscoveryServiceServer::new(served.clone()))
                    .add_service(ca::istio_certificate_service_server::IstioCertificateServiceServer::new(served))
                    .serve_with_incoming(incoming)
                    .await
                    .unwrap();
            });
        });
        control
    }

    /// Sends records of one type, and names that are gone.
    pub(crate) fn send(&self, records: &[Record], gone: &[&str]) {
        let resource = |record: &Record| xds::Resource {
            version: "1".to_owned(),
            resource: Some(prost_types::Any { type_url: record.type_url().to_owned(), value: record.encode() }),
            name: record.name().to_owned(),
            aliases: record.aliases(),
        };
        let type_url = records.first().map_or(weft_wire::record::DESTINATION_TYPE, Record::type_url);
        self.respond(xds::DeltaDiscoveryResponse {
            resources: records.iter().map(resource).collect(),
            type_url: type_url.to_owned(),
            nonce: type_url.to_owned(),
            removed_resources: gone.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        });
    }

    pub(crate) fn respond(&self, response: xds::DeltaDiscoveryResponse) {
        let sender = self.sender.lock().unwrap().clone().unwrap();
        sender.blocking_send(Ok(response)).unwrap();
    }

    /// Ends the stream.
    pub(crate) fn hang_up(&self) {
        self.requests.lock().unwrap().clear();
        self.sender.lock().unwrap().take();
    }

    /// The first request that `wanted` accepts, waited for.
    pub(crate) fn wait(&self, wanted: impl Fn(&xds::DeltaDiscoveryRequest) -> bool) -> xds::DeltaDiscoveryRequest {
        let end = std::time::Instant::now() + crate::harness::PATIENCE;
        loop {
            if let Some(found) = self.requests.lock().unwrap().iter().find(|r| wanted(r)) {
                return found.clone();
            }
            assert!(std::time::Instant::now() < end, "only {:?}", self.requests.lock().unwrap());
            std::thread::yield_now();
        }
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Control {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<xds::DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<xds::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        authenticate(&request)?;
        let (sender, receiver) = mpsc::channel(4);
        *self.sender.lock().unwrap() = Some(sender);
        let (requests, mut stream) = (self.requests.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = stream.message().await {
                requests.lock().unwrap().push(request);
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl ca::istio_certificate_service_server::IstioCertificateService for Control {
    async fn create_certificate(
        &self,
        request: Request<ca::IstioCertificateRequest>,
    ) -> Result<Response<ca::IstioCertificateResponse>, Status> {
        authenticate(&request)?;
        let csr = request.into_inner().csr;
        let now = SystemTime::now();
        let signed = self.mesh.authority.sign(&csr, &id("api"), Duration::from_secs(600), now).unwrap();
        Ok(Response::new(ca::IstioCertificateResponse { cert_chain: signed.chain_pem }))
    }
}

fn authenticate<T>(request: &Request<T>) -> Result<(), Status> {
    let bearer = request.metadata().get("authorization").and_then(|v| v.to_str().ok());
    if bearer == Some(&format!("Bearer {TOKEN}")) { Ok(()) } else { Err(Status::unauthenticated("who are you")) }
}

/// A proxy of the mesh that closes each connection at once, and how many it has closed.
pub(crate) fn refuser() -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, port) = program();
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = closed.clone();
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(socket);
        }
    });
    (SocketAddr::from(([127, 0, 0, 1], port)), closed)
}

/// A socket maker; the proxy's end is returned.
pub(crate) fn socket_maker() -> OwnedFd {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 64];
        loop {
            let length = recv(ours.as_raw_fd(), &mut packet, MsgFlags::empty()).unwrap();
            if length == 0 {
                return;
            }
            let made: Vec<OwnedFd> = match maker::Request::decode(&packet[..length]).unwrap() {
                maker::Request::Streams(family, count) => (0..count).map(|_| stream(family)).collect(),
                maker::Request::DnsReply(address) => vec![shared_udp(address).into()],
            };
            let numbers: Vec<i32> = made.iter().map(AsRawFd::as_raw_fd).collect();
            let rights = [ControlMessage::ScmRights(&numbers)];
            sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(&[ANSWER])], &rights, MsgFlags::empty(), None).unwrap();
        }
    });
    theirs
}

/// A UDP socket whose port another one may have as well.
pub(crate) fn shared_udp(address: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}

fn stream(family: Family) -> OwnedFd {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}
