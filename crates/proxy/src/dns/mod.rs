//! Names for the program: those of the mesh, and of its addresses, are answered from records, all others by the host's
//! own name servers. Questions arrive as datagrams with the address that was asked, and as
//! connections to port 53; either way the answer seems to come from that address.

mod message;
mod reply;
mod upstream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use socket2::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use weft_wire::bootstrap::Names;

use crate::data::Data;
use crate::limits::{DNS_CLIENT_IDLE, DNS_MESSAGE_BYTES, DNS_PASSED_ON, DNS_QUESTIONS, DNS_SHORT_NAME_WAIT};
use crate::metrics::count;
use crate::sockets::SocketSource;
use crate::{datagram, host, range};
use message::{Answer, Asked, Question};
use reply::Replies;

/// The port of DNS over TCP.
pub(crate) const PORT: u16 = 53;

/// Answers datagrams until the proxy drains, by the raw socket where there is one.
pub(crate) async fn serve_datagrams(data: Rc<Data>, socket: UdpSocket, answers: Option<Socket>) {
    if let Err(error) = datagram::tell_destinations(&socket) {
        tracing::error!(%error, "DNS datagrams without their original destination");
        return;
    }
    let socket = Rc::new(socket);
    let replies = Rc::new(Replies::new(answers));
    let permits = Arc::new(Semaphore::new(DNS_QUESTIONS));
    let passed_on = Rc::new(Semaphore::new(DNS_PASSED_ON));
    let serving = async {
        loop {
            let (query, from, asked) = match reply::receive(&socket).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::warn!(%error, "receiving DNS failed");
                    tokio::time::sleep(crate::limits::ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Too many at once: the client asks again.
            let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
            let (data, socket, replies, passed_on) = (data.clone(), socket.clone(), replies.clone(), passed_on.clone());
            tokio::task::spawn_local(async move {
                let Some(answer) = answer(&data, &query, Way::Datagram(&passed_on)).await else { return };
                if let Err(error) = replies.send(&data, &socket, &answer, (from, asked)).await {
                    tracing::info!(%from, ?asked, %error, "a DNS answer can't be sent");
                }
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = serving => {}
        () = data.drain.begun() => {}
    }
}

/// Answers one connection to port 53 (RFC 7766: messages with their length before them).
pub(crate) async fn serve_stream(data: &Rc<Data>, mut socket: TcpStream, asked: SocketAddr) {
    loop {
        match tokio::time::timeout(DNS_CLIENT_IDLE, serve_message(data, &mut socket)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::debug!(%asked, %error, "a DNS connection broke");
                return;
            }
        }
    }
}

/// Returns whether another message may come.
async fn serve_message(data: &Rc<Data>, socket: &mut TcpStream) -> io::Result<bool> {
    let length = match socket.read_u16().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        length => usize::from(length?),
    };
    if length > DNS_MESSAGE_BYTES {
        return Err(io::Error::other(format!("expected at most {DNS_MESSAGE_BYTES} bytes, found {length}")));
    }
    let mut query = vec![0; length];
    socket.read_exact(&mut query).await?;
    let Some(answer) = answer(data, &query, Way::Stream).await else { return Ok(false) };
    socket.write_all(&upstream::framed(&answer)).await?;
    Ok(true)
}

/// How a question came. Name servers that say nothing must leave room for questions that they aren't asked.
enum Way<'p> {
    /// As a datagram; one of these permits lets it be passed on.
    Datagram(&'p Semaphore),
    /// On a connection, which waits by itself.
    Stream,
}

/// The answer's bytes; `None` when nobody answers, and the client will give up by itself.
async fn answer(data: &Data, query: &[u8], way: Way<'_>) -> Option<Vec<u8>> {
    count(&data.metrics.process.dns_questions);
    let names = data.names.as_ref()?;
    if let Some(question) = Question::parse(query)
        && let Some(answer) = mesh_answer(data, names, &question).await
    {
        return question.reply(answer);
    }
    match way {
        Way::Datagram(permits) => {
            let _permit = permits.try_acquire().ok()?;
            upstream::ask(&names.upstream, query, upstream::Over::Datagram).await
        }
        Way::Stream => upstream::ask(&names.upstream, query, upstream::Over::Stream).await,
    }
}

/// What the mesh says of a name; `None`: it isn't one of the mesh's.
async fn mesh_answer(data: &Data, names: &Names, question: &Question<'_>) -> Option<Answer> {
    if let Some(ip) = question.address() {
        return mesh_name(data, names, ip).await;
    }
    let (host, sure) = match message::whose(&question.name, names) {
        Asked::Host => {
            return matches!(data.sockets, SocketSource::Maker(_)).then(|| Answer::Addresses(vec![host::ADDRESS]));
        }
        Asked::Outside => return None,
        Asked::Nobody => return Some(Answer::NoSuchName),
        Asked::Mesh(host) => (host, true),
        Asked::Either(host) => (host, false),
    };
    let found = if sure {
        data.records.by_host(&host).await
    } else {
        // It may well be a name of the outside, for which nobody should wait long.
        match tokio::time::timeout(DNS_SHORT_NAME_WAIT, data.records.by_host(&host)).await {
            Ok(found) => found,
            Err(_) => return None,
        }
    };
    match found {
        Ok(Some(service)) => Some(Answer::Addresses(service.record().addresses.clone())),
        Ok(None) if sure => Some(Answer::NoSuchName),
        Ok(None) => None,
        Err(failure) => {
            tracing::info!(%failure, "a name can't be looked up");
            sure.then_some(Answer::Failed)
        }
    }
}

/// Whose an address is that only the mesh gives out; `None`: it is none of these.
async fn mesh_name(data: &Data, names: &Names, ip: IpAddr) -> Option<Answer> {
    if matches!(data.sockets, SocketSource::Pod) || !range::is_mesh(ip) {
        return None;
    }
    if ip == host::ADDRESS {
        return Some(Answer::Name(host::NAME.to_owned()));
    }
    Some(match data.records.by_address(ip).await {
        Ok(Some(found)) => {
            let found = found.record();
            Answer::Name(format!("{}.{}.{}", found.service, found.namespace, names.suffix))
        }
        Ok(None) => Answer::NoSuchName,
        Err(failure) => {
            tracing::info!(%failure, "an address can't be looked up");
            Answer::Failed
        }
    })
}
