//! Two ends over loopback.

use std::io::{Read, Write};
use std::pin::pin;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use weft_identity::{Authority, AuthorityLifetimes, Credential, LeafKey, MeshTls, peer_identity, server_name};
use weft_mesh::record::Trust;
use weft_mesh::{SpiffeId, TrustDomain};

use super::*;

const ALPN: &[&[u8]] = &[b"test"];

fn mesh_tls() -> (SpiffeId, MeshTls) {
    let domain = TrustDomain::default();
    let now = SystemTime::now();
    let authority = Authority::generate(&domain, now, AuthorityLifetimes::default()).unwrap();
    let id = SpiffeId::new(&domain, "default", "web").unwrap();
    let key = LeafKey::generate().unwrap();
    let leaf = authority.sign(&key.csr_pem(&id).unwrap(), &id, Duration::from_secs(60), now).unwrap();
    let credential = Credential::new(key, &leaf.chain_pem, now).unwrap();
    let trust = Trust { domain, anchors: authority.anchors(), ..Trust::default() };
    (id, MeshTls::new(Arc::new(credential), &trust).unwrap())
}

pub(crate) async fn pair() -> (TlsStream, TlsStream) {
    let (id, tls) = mesh_tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let connect = async {
        let socket = TcpStream::connect(at).await.unwrap();
        TlsStream::connect(socket, tls.client_config(std::slice::from_ref(&id), ALPN)).await.unwrap()
    };
    let accept = async {
        let socket = listener.accept().await.unwrap().0;
        TlsStream::accept(socket, tls.server_config(ALPN)).await.unwrap()
    };
    let (client, mut server) = tokio::join!(connect, accept);
    for end in [&client, &server] {
        assert_eq!(end.alpn(), Some(ALPN[0]));
    }
    assert_eq!(peer_identity(&server.take_client_certificates()).unwrap(), id);
    (client, server)
}

/// Writes `total` bytes, and reads them in parts of `part`.
async fn pass(from: &mut TlsStream, to: &mut TlsStream, total: usize, part: usize) {
    let sent: Vec<u8> = (0..total).map(|at| (at * 31 % 251) as u8).collect();
    let write = async {
        from.write_all(&sent).await.unwrap();
        from.flush().await.unwrap();
    };
    let read = async {
        let (mut got, mut buffer) = (Vec::new(), vec![0; part]);
        while got.len() < total {
            let length = to.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0);
            got.extend_from_slice(&buffer[..length]);
        }
        got
    };
    let ((), got) = tokio::join!(write, read);
    assert!(got == sent, "{total} bytes in parts of {part}");
}

#[tokio::test]
async fn a_handshake_message_in_ever_more_records_is_given_up() {
    let (_id, tls) = mesh_tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let mut socket = std::net::TcpStream::connect(at).unwrap();
        // A ClientHello as long as one may be, a byte a record.
        let hello = [&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff][..], &[22, 3, 1, 0, 1, 7].repeat(0xffff)].concat();
        // It may be closed meanwhile.
        let _closed = socket.write_all(&hello);
        socket
    });
    let socket = listener.accept().await.unwrap().0;
    let told = TlsStream::accept(socket, tls.server_config(ALPN)).await.err().unwrap();
    assert!(told.to_string().contains("a handshake message is too long"), "{told}");
    client.join().unwrap();
}

/// A part of the last message of the handshake is read, and then the rest with as much as one read takes.
#[tokio::test]
async fn what_comes_behind_a_handshake_may_fill_all_room() {
    let (id, tls) = mesh_tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(8 * CIPHER_BYTES).unwrap();
    let at = listener.local_addr().unwrap();
    let content = vec![7; 2 * CIPHER_BYTES];
    let (began, has_begun) = mpsc::channel();
    let (read, was_read) = mpsc::channel();
    let (sent, all_sent) = mpsc::channel();
    let (config, text) = (tls.client_config(std::slice::from_ref(&id), ALPN), content.clone());
    let client = std::thread::spawn(move || {
        let mut socket = std::net::TcpStream::connect(at).unwrap();
        let mut tls = rustls::ClientConnection::new(config, server_name()).unwrap();
        tls.set_buffer_limit(None);
        tls.write_tls(&mut socket).unwrap();
        while tls.is_handshaking() {
            tls.read_tls(&mut socket).unwrap();
            tls.process_new_packets().unwrap();
        }
        tls.writer().write_all(&text).unwrap();
        let mut last = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut last).unwrap();
        }
        socket.write_all(&last[..10]).unwrap();
        began.send(()).unwrap();
        was_read.recv().unwrap();
        socket.write_all(&last[10..]).unwrap();
        sent.send(()).unwrap();
        socket
    });
    let socket = listener.accept().await.unwrap().0.into_std().unwrap();
    let queue = socket.try_clone().unwrap();
    let mut accepting = pin!(TlsStream::accept(TcpStream::from_std(socket).unwrap(), tls.server_config(ALPN)));
    let mut begun = false;
    while !begun || queue.peek(&mut [0]).is_ok() {
        assert!(accepting.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
        begun |= has_begun.try_recv().is_ok();
    }
    read.send(()).unwrap();
    all_sent.recv().unwrap();
    let mut server = accepting.await.unwrap();
    let mut got = vec![0; content.len()];
    server.read_exact(&mut got).await.unwrap();
    assert!(got == content);
    client.join().unwrap();
}

#[tokio::test]
async fn bytes_pass_whole_however_they_are_read() {
    let (mut client, mut server) = pair().await;
    for part in [1, 1_000, 16_384, 100_000] {
        pass(&mut client, &mut server, part * 7 + 300_000.min(part * 100), part).await;
        pass(&mut server, &mut client, 200_000, part).await;
    }
}

#[tokio::test]
async fn a_half_that_is_closed_leaves_the_other_open() {
    let (mut client, mut server) = pair().await;
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(client.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"last words");
    pass(&mut server, &mut client, 100_000, 5_000).await;
    server.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn an_end_that_nobody_announced_is_an_error() {
    let (mut client, mut server) = pair().await;
    client.write_all(b"unfinis").await.unwrap();
    drop(client);
    let mut got = Vec::new();
    let error = server.read_to_end(&mut got).await.unwrap_err();
    assert_eq!((got.as_slice(), error.kind()), (&b"unfinis"[..], io::ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn an_idle_end_holds_no_buffer() {
    let (mut client, mut server) = pair().await;
    pass(&mut client, &mut server, 300_000, 70_000).await;
    pass(&mut server, &mut client, 300_000, 70_000).await;
    for end in [&client, &server] {
        assert_eq!(end.unread.capacity() + end.pending.capacity() + end.plain.capacity(), 0);
    }
}

#[tokio::test]
async fn a_client_that_expects_somebody_else_refuses() {
    let (id, tls) = mesh_tls();
    let other = SpiffeId::new(&TrustDomain::default(), "default", "other").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let connect = async {
        let socket = TcpStream::connect(at).await.unwrap();
        TlsStream::connect(socket, tls.client_config(std::slice::from_ref(&other), ALPN)).await
    };
    let accept = async {
        let socket = listener.accept().await.unwrap().0;
        TlsStream::accept(socket, tls.server_config(ALPN)).await
    };
    let (client, server) = tokio::join!(connect, accept);
    let error = client.err().unwrap().to_string();
    assert!(error.contains(id.as_str()) && error.contains(other.as_str()), "{error}");
    // The server is told by an alert.
    assert!(matches!(server.err().unwrap(), HandshakeError::Tls(rustls::Error::AlertReceived(_))));
}

/// What our own side seldom does is asked of it by rustls's own session, on a thread of its own.
async fn with_rustls(
    talk: impl FnOnce(&mut rustls::Stream<'_, rustls::ClientConnection, std::net::TcpStream>) + Send + 'static,
) -> (TlsStream, std::thread::JoinHandle<()>) {
    with_session(|mut session, mut socket| {
        session.complete_io(&mut socket).unwrap();
        talk(&mut rustls::Stream::new(&mut session, &mut socket));
    })
    .await
}

/// The same, where the other end shakes hands by itself.
async fn with_session(
    talk: impl FnOnce(rustls::ClientConnection, std::net::TcpStream) + Send + 'static,
) -> (TlsStream, std::thread::JoinHandle<()>) {
    let (id, tls) = mesh_tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let config = tls.client_config(std::slice::from_ref(&id), ALPN);
    let peer = std::thread::spawn(move || {
        let socket = std::net::TcpStream::connect(at).unwrap();
        talk(rustls::ClientConnection::new(config, server_name()).unwrap(), socket);
    });
    let socket = listener.accept().await.unwrap().0;
    (TlsStream::accept(socket, tls.server_config(ALPN)).await.unwrap(), peer)
}

#[tokio::test]
async fn keys_change_when_the_peer_asks() {
    let (mut server, peer) = with_rustls(|stream| {
        for _ in 0..3 {
            stream.write_all(b"old").unwrap();
            stream.conn.refresh_traffic_keys().unwrap();
            stream.write_all(b"new").unwrap();
            let mut got = [0; 6];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"oldnew");
        }
    })
    .await;
    for _ in 0..3 {
        let mut got = [0; 6];
        server.read_exact(&mut got).await.unwrap();
        assert!(server.records.owes_key());
        server.write_all(&got).await.unwrap();
        assert!(!server.records.owes_key());
    }
    peer.join().unwrap();
}

/// Everything from a client's last flight on, in one write.
#[tokio::test]
async fn keys_change_when_the_peer_asks_at_once() {
    let (mut server, peer) = with_session(|mut session, mut socket| {
        session.write_tls(&mut socket).unwrap();
        while session.is_handshaking() {
            session.read_tls(&mut socket).unwrap();
            session.process_new_packets().unwrap();
        }
        session.refresh_traffic_keys().unwrap();
        session.writer().write_all(b"new").unwrap();
        let mut flight = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut flight).unwrap();
        }
        socket.write_all(&flight).unwrap();
        let mut got = [0; 3];
        rustls::Stream::new(&mut session, &mut socket).read_exact(&mut got).unwrap();
        assert_eq!(&got, b"new");
    })
    .await;
    let mut got = [0; 3];
    server.read_exact(&mut got).await.unwrap();
    server.write_all(&got).await.unwrap();
    peer.join().unwrap();
}

#[tokio::test]
async fn keys_change_when_ours_is_spent() {
    let (mut client, mut server) = pair().await;
    for _ in 0..2 {
        client.records.owe_key();
        pass(&mut client, &mut server, 100_000, 7_000).await;
        server.records.owe_key();
        pass(&mut server, &mut client, 100_000, 7_000).await;
    }
}

#[tokio::test]
async fn a_peer_that_only_changes_keys_is_refused() {
    let (mut server, peer) = with_rustls(|stream| {
        for _ in 0..40 {
            stream.conn.refresh_traffic_keys().unwrap();
            // It may be refused already.
            let _refused = stream.flush();
        }
        let error = stream.read(&mut [0]).unwrap_err();
        assert!(
            error.to_string().contains("UnexpectedMessage") || error.kind() == io::ErrorKind::ConnectionReset,
            "{error}"
        );
    })
    .await;
    for _ in 0..2 {
        let error = server.read(&mut [0]).await.unwrap_err();
        assert!(error.to_string().contains("TooManyKeyUpdateRequests"), "{error}");
    }
    server.shutdown().await.unwrap();
    peer.join().unwrap();
}

#[tokio::test]
async fn nothing_is_read_after_a_record_that_somebody_touched() {
    let (mut client, mut server) = pair().await;
    let mut record = vec![0; 64];
    let length = client.records.seal(b"bytes", &mut record).unwrap();
    record[length - 1] ^= 1;
    client.socket.write_all(&record[..length]).await.unwrap();
    client.write_all(b"more").await.unwrap();
    for _ in 0..2 {
        let error = server.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
    server.flush().await.unwrap();
    let error = client.read(&mut [0]).await.unwrap_err().to_string();
    assert!(error.contains("BadRecordMac"), "{error}");
}
