//! Programs of tests that speak HTTP/2 by the `h2` crate itself, and the meshes between them.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::task::{LocalSet, spawn_local};
use weft_mesh::record::{AppProtocol, Destination, ServicePort};

use crate::harness::*;

/// A stream as a server sees it.
pub(crate) type Stream = (Request<RecvStream>, SendResponse<Bytes>);
type Served = Pin<Box<dyn Future<Output = ()>>>;

/// Runs a test's asynchronous part, bounded.
pub(crate) fn run<T>(part: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(PATIENCE * 3, part).await.expect("the test's part ends") };
    LocalSet::new().block_on(&runtime, bounded)
}

/// A server program: each stream is served by a task of its own.
pub(crate) struct Program {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
}

/// What a server does unlike others.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manners {
    /// It takes so many streams at once.
    pub(crate) streams: Option<u32>,
    /// It says GOAWAY after so many streams of a connection.
    pub(crate) go_away_after: Option<usize>,
    /// It bears that much unread, of one stream, and many times that of a connection.
    pub(crate) window: Option<u32>,
}

impl Program {
    pub(crate) fn start(serve: impl Fn(Stream) -> Served + Send + 'static) -> Self {
        Self::at(program().0, Manners::default(), serve)
    }

    pub(crate) fn at(
        listener: TcpListener,
        manners: Manners,
        serve: impl Fn(Stream) -> Served + Send + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (connections, streams) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (connections.clone(), streams.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let serve = Rc::new(serve);
                loop {
                    let socket = listener.accept().await.unwrap().0;
                    counters.0.fetch_add(1, Ordering::SeqCst);
                    spawn_local(connection(socket, manners, serve.clone(), counters.1.clone()));
                }
            });
        });
        Self { port, connections, streams }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }
}

async fn connection(
    socket: tokio::net::TcpStream,
    manners: Manners,
    serve: Rc<impl Fn(Stream) -> Served + 'static>,
    streams: Arc<AtomicUsize>,
) {
    let mut builder = h2::server::Builder::new();
    if let Some(streams) = manners.streams {
        builder.max_concurrent_streams(streams);
    }
    if let Some(window) = manners.window {
        builder.initial_window_size(window).initial_connection_window_size(window << 4).data_frame_budget(1 << 30);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    let mut served = 0;
    while let Some(Ok(stream)) = connection.accept().await {
        served += 1;
        streams.fetch_add(1, Ordering::SeqCst);
        spawn_local(serve(stream));
        if manners.go_away_after == Some(served) {
            connection.graceful_shutdown();
        }
    }
}

/// A client's connection.
pub(crate) async fn client(at: SocketAddr) -> SendRequest<Bytes> {
    let socket = tokio::net::TcpStream::connect(at).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    spawn_local(async move {
        // How it ends shows on its streams.
        let _ended = connection.await;
    });
    client
}

/// Opens a stream whose content follows.
pub(crate) async fn open(client: &SendRequest<Bytes>, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    client.clone().ready().await.unwrap().send_request(request(path), false).unwrap()
}

/// Asks and reads the whole answer.
pub(crate) async fn ask(client: &SendRequest<Bytes>, request: Request<()>, body: &str) -> Result<Answer, h2::Error> {
    let (response, mut content) = client.clone().ready().await?.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        content.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
    }
    read(response.await?).await
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn read(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (parts, mut content) = response.into_parts();
    let body = read_content(&mut content).await?;
    let trailers = content.trailers().await?;
    Ok(Answer { head: Response::from_parts(parts, ()), body, trailers })
}

pub(crate) async fn read_content(content: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut body = Vec::new();
    while let Some(piece) = content.data().await {
        let piece = piece?;
        content.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(body.into())
}

/// Sends all of `bytes`, as flow control allows; more may follow.
pub(crate) async fn send_all(to: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        let room = grant(to, bytes.len()).await?;
        to.send_data(bytes.split_to(room.min(bytes.len())), false)?;
    }
    Ok(())
}

/// Sends all of `bytes`, and ends.
pub(crate) async fn send_last(to: &mut SendStream<Bytes>, bytes: Bytes) -> Result<(), h2::Error> {
    send_all(to, bytes).await?;
    to.send_data(Bytes::new(), true)
}

/// Waits for room to send.
pub(crate) async fn grant(to: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, h2::Error> {
    to.reserve_capacity(wanted);
    if to.capacity() > 0 {
        return Ok(to.capacity());
    }
    match std::future::poll_fn(|cx| to.poll_capacity(cx)).await {
        Some(room) => room,
        None => Err(std::future::poll_fn(|cx| to.poll_reset(cx)).await?.into()),
    }
}

pub(crate) fn request(path: &str) -> Request<()> {
    Request::builder().method("POST").uri(format!("http://api{path}")).body(()).unwrap()
}

/// A request of gRPC.
pub(crate) fn grpc(path: &str) -> Request<()> {
    let mut request = request(path);
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    request
}

/// Serves each stream with what it sent, and its trailers.
pub(crate) fn echo() -> impl Fn(Stream) -> Served + Send + 'static {
    |(request, mut respond)| {
        Box::pin(async move {
            let (parts, mut content) = request.into_parts();
            let mut response = Response::new(());
            *response.headers_mut() = parts.headers;
            let seen = HeaderValue::from_str(&parts.uri.to_string()).unwrap();
            response.headers_mut().insert("seen", seen);
            let Ok(mut back) = respond.send_response(response, false) else { return };
            while let Some(Ok(piece)) = content.data().await {
                let _gone = content.flow_control().release_capacity(piece.len());
                if send_all(&mut back, piece).await.is_err() {
                    return;
                }
            }
            match content.trailers().await {
                Ok(Some(trailers)) => back.send_trailers(trailers).unwrap_or_default(),
                Ok(None) => back.send_data(Bytes::new(), true).unwrap_or_default(),
                Err(error) => back.send_reset(error.reason().unwrap_or(Reason::CANCEL)),
            }
        })
    }
}

/// The service `api` whose `port` is declared to carry HTTP/2.
pub(crate) fn http2_service(endpoints: &[(IpAddr, Tunnel)], port: u16) -> Destination {
    let declared = ServicePort { port, target: port, protocol: AppProtocol::Http2 };
    Destination { ports: vec![declared], ..service("api", endpoints) }
}

/// The proxies of `web` and of `api`, whose program is at `port`.
pub(crate) fn http2_pair(port: u16) -> (Proxy, Proxy) {
    let mesh = Mesh::new();
    let api = mesh.proxy("api", CALLEE, SocketAddr::new(SERVICE, 1));
    mesh.registry.put(http2_service(&[(CALLEE, Tunnel::Mesh(api.mesh))], port));
    (mesh.proxy("web", CALLER, SocketAddr::new(SERVICE, port)), api)
}

/// Listeners of two programs at one port and two addresses.
pub(crate) fn two_listeners() -> [(IpAddr, TcpListener); 2] {
    let address = |last| IpAddr::V4(Ipv4Addr::new(127, 77, 0, last));
    loop {
        let first = TcpListener::bind((address(1), 0)).unwrap();
        // The port may be taken at the other address.
        if let Ok(second) = TcpListener::bind((address(2), first.local_addr().unwrap().port())) {
            return [(address(1), first), (address(2), second)];
        }
    }
}
