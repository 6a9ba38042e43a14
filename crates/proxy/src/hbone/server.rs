//! The callee's end: each CONNECT is checked and judged for itself, and answered with 200 only when
//! the program has accepted; on a port of declared HTTP each request is judged instead. Statuses are
//! ztunnel's: 400 what is no call to this workload, 401 what policy refuses, 503 what can't be served.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use tokio::time::timeout;

use super::head::{self, NoDestination};
use super::keep_alive;
use super::stream::HboneStream;
use super::watched::{Heard, Watched};
use crate::connection::Account;
use crate::data::Data;
use crate::detect::{Declared, Spoken, which_http};
use crate::inbound::{admit, labels};
use crate::limits::{
    H2_ERROR_RESETS, H2_REMEMBERED_RESETS, H2_RESET_MEMORY, HBONE_CONNECTION_WINDOW, HBONE_FRAME_BYTES,
    HBONE_SEND_BUFFER, HBONE_SERVER_HEADER_BYTES, HBONE_SERVER_STREAMS, HBONE_SMALL_FRAMES, HBONE_STREAM_WINDOW,
    HBONE_UNSEEN_RESETS, TLS_ACCEPT,
};
use crate::live::Facts;
use crate::metrics::Party;
use crate::side::Side;
use crate::stream::Stream;
use crate::tls_stream::TlsStream;
use crate::why::{Cause, Failure};
use crate::{http1, http2};

/// Serves one connection of another proxy until it ends. A drain tells the peer by GOAWAY, and what
/// is open goes on.
pub(crate) async fn serve(data: &Rc<Data>, tunnel: Box<TlsStream>, from: SocketAddr, party: Rc<Party>) {
    // Also while nothing is open on it: the peer is to be told of the end.
    let _open = data.drain.open();
    let (watched, _ending, heard) = Watched::new(tunnel);
    let handshake = builder().handshake::<_, Bytes>(watched);
    let connection = match timeout(TLS_ACCEPT, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::info!(%from, peer = party.peer(), %error, "expected HTTP/2"),
        Err(_) => return tracing::info!(%from, peer = party.peer(), "no HTTP/2 within {} s", TLS_ACCEPT.as_secs()),
    };
    let caller = Rc::new(Caller { from, party });
    if let Err(why) = streams(data, (connection, heard), &caller).await {
        tracing::debug!(%from, peer = caller.party.peer(), why, "a connection of HBONE broke");
    }
}

struct Caller {
    from: SocketAddr,
    party: Rc<Party>,
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(HBONE_STREAM_WINDOW)
        .initial_connection_window_size(HBONE_CONNECTION_WINDOW)
        .max_frame_size(HBONE_FRAME_BYTES)
        .max_header_list_size(HBONE_SERVER_HEADER_BYTES)
        .max_concurrent_streams(HBONE_SERVER_STREAMS)
        .max_send_buffer_size(HBONE_SEND_BUFFER)
        .max_pending_accept_reset_streams(HBONE_UNSEEN_RESETS)
        .max_concurrent_reset_streams(H2_REMEMBERED_RESETS)
        .max_local_error_reset_streams(Some(H2_ERROR_RESETS))
        .reset_stream_duration(H2_RESET_MEMORY)
        .data_frame_budget(HBONE_SMALL_FRAMES);
    builder
}

async fn streams(
    data: &Rc<Data>,
    (mut connection, heard): (Connection<Watched, Bytes>, Heard),
    caller: &Rc<Caller>,
) -> Result<(), String> {
    let mut dead = pin!(keep_alive(connection.ping_pong(), heard));
    let mut told = false;
    loop {
        let draining = async { if told { pending().await } else { data.drain.begun().await } };
        tokio::select! {
            next = connection.accept() => match next {
                Some(Ok((request, respond))) => {
                    let (data, caller) = (data.clone(), caller.clone());
                    tokio::task::spawn_local(async move { serve_stream(&data, &caller, request, respond).await });
                }
                Some(Err(error)) => return Err(error.to_string()),
                None => return Ok(()),
            },
            () = draining => {
                told = true;
                connection.graceful_shutdown();
            }
            why = &mut dead => return Err(why),
        }
    }
}

/// One connection of the caller's program.
async fn serve_stream(
    data: &Rc<Data>,
    Caller { from, party }: &Caller,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let _open = data.drain.open();
    let destination = match head::destination(&request) {
        Ok(destination) => destination,
        Err(why) => {
            tracing::info!(%from, peer = party.peer(), %why, "a stream that is no call");
            return answer_refusal(&mut respond, cause(&why));
        }
    };
    // The caller's address is the one that TCP vouches for, as for ztunnel; `forwarded` is only told.
    let facts = Facts { peer: party.principal.clone(), source_ip: from.ip(), destination };
    let (head, receive) = request.into_parts();
    match data.records.inbound().await.map(|inbound| inbound.protocol(destination.port())).map(Declared::of) {
        Ok(Declared::Http) if data.addresses.contains(&destination.ip()) => {
            if let Ok(send) = answer(&mut respond, Response::new(()), Then::Bytes) {
                serve_http(data, (*from, party), side(send, receive), facts).await;
            }
        }
        // What isn't declared is judged as TCP, by which whatever needs HTTP to be told is denied.
        _ => {
            let mut account = labels::account(data, *from, destination, party);
            account.told = head::service(&head.headers).map(Box::from);
            serve_tcp(data, account, (*from, facts), (respond, receive)).await;
        }
    }
}

/// A port of HTTP: each request is judged for itself, and HTTP tells what becomes of it.
async fn serve_http(data: &Rc<Data>, (from, party): (SocketAddr, &Rc<Party>), mut caller: Side, facts: Facts) {
    match which_http(&mut caller).await {
        Some(Spoken::Http1) => {
            http1::inbound::serve_connection(data, caller, (from, facts.destination), party.clone()).await;
        }
        Some(Spoken::Http2) => http2::inbound::serve(data, caller, party.clone(), (from, facts.destination)).await,
        Some(Spoken::Tcp) => {
            let mut account = labels::account(data, from, facts.destination, party);
            match admit::open(data, &mut account, facts, from).await {
                Ok((program, admitted)) => admit::relay(account, caller, program, admitted).await,
                Err(failure) => {
                    caller.stream.reset();
                    admit::refused(data, account, failure);
                }
            }
        }
        None => {}
    }
}

async fn serve_tcp(
    data: &Rc<Data>,
    mut account: Account,
    (from, facts): (SocketAddr, Facts),
    (mut respond, receive): (SendResponse<Bytes>, RecvStream),
) {
    match admit::open(data, &mut account, facts, from).await {
        Ok((program, admitted)) => match answer(&mut respond, Response::new(()), Then::Bytes) {
            Ok(send) => admit::relay(account, side(send, receive), program, admitted).await,
            Err(error) => {
                program.stream.reset();
                account.refused(Failure::inbound(Cause::Reset, format!("the caller has gone: {error}")));
            }
        },
        Err(failure) => {
            answer_refusal(&mut respond, failure.cause);
            admit::refused(data, account, failure);
        }
    }
}

fn side(send: SendStream<Bytes>, receive: RecvStream) -> Side {
    Side::new(Stream::Hbone(Box::new(HboneStream::new(send, receive, None))))
}

/// What follows an answer's head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Bytes,
    End,
}

fn answer(
    respond: &mut SendResponse<Bytes>,
    response: Response<()>,
    then: Then,
) -> Result<SendStream<Bytes>, h2::Error> {
    respond.send_response(response, then == Then::End)
}

/// Refuses. The caller learns the cause in one word, and of policy no more than that.
fn answer_refusal(respond: &mut SendResponse<Bytes>, cause: Cause) {
    let mut response = Response::new(());
    *response.status_mut() = status(cause);
    response.headers_mut().insert(super::ERROR_HEADER, http::HeaderValue::from_static(cause.as_str()));
    // The caller may be gone already.
    let _gone = answer(respond, response, Then::End);
}

fn cause(why: &NoDestination) -> Cause {
    match why {
        NoDestination::Malformed(_) => Cause::Protocol,
        NoDestination::Name(_) => Cause::NoEndpoint,
    }
}

fn status(cause: Cause) -> StatusCode {
    match cause {
        Cause::Protocol | Cause::UnknownAddress | Cause::UnknownPort => StatusCode::BAD_REQUEST,
        Cause::Policy | Cause::PolicyChanged => StatusCode::UNAUTHORIZED,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}
