//! A program that opens more connections than its proxy has descriptors for.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::rig::*;

/// An answer of the program's to a byte, through both proxies.
fn echo(socket: &mut TcpStream) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(b"x")?;
    socket.read_exact(&mut [0])
}

#[test]
fn a_proxy_without_descriptors_left_goes_on_with_what_it_has_and_accepts_again() {
    const DESCRIPTORS: u32 = 64;
    let rig = Rig::new();
    let listener = TcpListener::bind(rig.at(PROGRAM)).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().map(Result::unwrap) {
            let mut back = socket.try_clone().unwrap();
            std::thread::spawn(move || io::copy(&mut &socket, &mut back));
        }
    });
    let _server = rig.proxy("server.json", &rig.server());
    let _client = rig.proxy_of(DESCRIPTORS, ("client.json", &rig.client()));
    let connect = || TcpStream::connect(rig.at(DOOR)).unwrap();
    let mut first = connect();
    echo(&mut first).unwrap();
    let flood: Vec<TcpStream> = (0..2 * DESCRIPTORS).map(|_| connect()).collect();
    let said = || std::fs::read_to_string(rig.folder.path().join("client.json.log")).unwrap();
    wait(|| said().contains("accepting failed"));
    for _ in 0..10 {
        echo(&mut first).unwrap();
    }
    assert_eq!(said().matches("accepting failed").count(), 1, "one line tells it: {}", said());
    drop(flood);
    wait(|| echo(&mut connect()).is_ok());
    echo(&mut first).unwrap();
}
