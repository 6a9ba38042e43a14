//! Many streams on one connection, and their bound.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use weft_hbone_peer::pipe::pipe;
use weft_hbone_peer::server::Rules;

use crate::setup::{Server, program, to};

#[tokio::test]
async fn streams_of_one_connection_don_t_mix() {
    let (listener, address) = program().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
            });
        }
    });
    let mut server = Server::start("streams", Rules::default()).await;
    let tunnel = server.tunnel().await;
    let mut tasks = JoinSet::new();
    // More than a client puts on a connection at once: the rest wait for room.
    for number in 0..150_u32 {
        let tunnel = tunnel.clone();
        tasks.spawn(async move {
            let mut opened = tunnel.open(&to(address)).await.unwrap();
            let said: Vec<u8> = number.to_be_bytes().repeat(5000);
            let mut heard = Vec::new();
            let ended = pipe(said.as_slice(), &mut heard, opened.halves.take().unwrap()).await;
            ended.how.unwrap();
            assert!(heard == said, "stream {number}");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    drop(tunnel);
    let closed = server.event("connection-closed").await;
    assert_eq!((&closed["streams"], &closed["accepted"]), (&150.into(), &150.into()), "{closed}");
    assert_eq!(closed["settings"]["initial_window_size"], 4 << 20);
    assert_eq!(closed["settings"]["max_frame_size"], 1 << 20);
    assert_eq!(closed["settings"]["enable_push"], 0);
}

#[tokio::test]
async fn a_program_that_speaks_first_is_heard_at_once() {
    let (listener, address) = program().await;
    let server = Server::start("server-first", Rules::default()).await;
    let tunnel = server.tunnel().await;
    let head = to(address);
    let (opened, accepted) = tokio::join!(tunnel.open(&head), listener.accept());
    let (mut opened, (mut program, _)) = (opened.unwrap(), accepted.unwrap());
    program.write_all(b"220 ready\r\n").await.unwrap();
    let (mut caller, inner) = tokio::io::duplex(64);
    let (reader, writer) = tokio::io::split(inner);
    tokio::spawn(pipe(reader, writer, opened.halves.take().unwrap()));
    let mut greeting = [0; 11];
    caller.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
}
