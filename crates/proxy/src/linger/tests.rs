//! A reader that speaks while the last message comes.

use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

use super::*;

/// More than a reader's kernel takes at first, and no more than a writer's does.
pub(crate) const MESSAGE: usize = 1 << 20;

/// Reads slowly to the end, with a word before each part; how many bytes came.
pub(crate) async fn read_while_speaking(mut from: impl AsyncRead + AsyncWrite + Unpin, word: &[u8]) -> usize {
    let (mut got, mut bytes) = (0, [0; 8 << 10]);
    loop {
        from.write_all(word).await.unwrap();
        match from.read(&mut bytes).await.unwrap() {
            0 => return got,
            more => got += more,
        }
    }
}

#[tokio::test]
async fn the_last_message_arrives_though_its_reader_still_speaks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reader = TcpSocket::new_v4().unwrap();
    reader.set_recv_buffer_size(16 << 10).unwrap();
    let reader = reader.connect(listener.local_addr().unwrap()).await.unwrap();
    let mut writer = listener.accept().await.unwrap().0;
    let writing = async move {
        writer.write_all(&vec![1; MESSAGE]).await.unwrap();
        let mut end = Linger::new(Duration::from_secs(600));
        poll_fn(|cx| end.poll(cx, &mut writer)).await;
    };
    assert_eq!(tokio::join!(writing, read_while_speaking(reader, b"more")).1, MESSAGE);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_end_is_cut_off() {
    let (mut writer, _reader) = duplex(1);
    let (began, limit) = (Instant::now(), Duration::from_secs(10));
    let mut end = Linger::new(limit);
    poll_fn(|cx| end.poll(cx, &mut writer)).await;
    // The clock of a runtime counts in milliseconds.
    assert!((limit..limit + Duration::from_millis(2)).contains(&began.elapsed()), "{:?}", began.elapsed());
}
