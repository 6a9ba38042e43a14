//! What runs out: the descriptors of a proxy, and the room in a log that nobody reads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::json;

use crate::rig::*;

/// An answer of the program's to a byte, through both proxies.
fn echo(socket: &mut TcpStream) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(b"x")?;
    socket.read_exact(&mut [0])
}

/// A program that answers each byte with itself.
fn echoes(rig: &Rig) {
    let listener = TcpListener::bind(rig.at(PROGRAM)).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().map(Result::unwrap) {
            let mut back = socket.try_clone().unwrap();
            std::thread::spawn(move || io::copy(&mut &socket, &mut back));
        }
    });
}

const DESCRIPTORS: u32 = 64;

fn connect(rig: &Rig) -> TcpStream {
    TcpStream::connect(rig.at(DOOR)).unwrap()
}

/// A call that goes on, and more connections than the caller's proxy has descriptors for, which it would tell. The
/// pair of proxies lasts as long as what comes first.
fn flooded(rig: &Rig) -> (impl Sized + use<>, TcpStream, Vec<TcpStream>) {
    echoes(rig);
    let pair = (rig.proxy("server.json", &rig.server()), rig.proxy_of(DESCRIPTORS, ("client.json", &rig.client())));
    let mut first = connect(rig);
    echo(&mut first).unwrap();
    (pair, first, (0..2 * DESCRIPTORS).map(|_| connect(rig)).collect())
}

#[test]
fn a_proxy_without_descriptors_left_goes_on_with_what_it_has_and_accepts_again() {
    let rig = Rig::new();
    let (_pair, mut first, flood) = flooded(&rig);
    let said = || std::fs::read_to_string(rig.folder.path().join("client.json.log")).unwrap();
    wait(|| said().contains("accepting failed"));
    for _ in 0..10 {
        echo(&mut first).unwrap();
    }
    assert_eq!(said().matches("accepting failed").count(), 1, "one line tells it: {}", said());
    drop(flood);
    wait(|| echo(&mut connect(&rig)).is_ok());
    echo(&mut first).unwrap();
}

#[test]
fn what_cant_be_logged_for_want_of_room_ends_nothing() {
    let rig = Rig::new();
    std::os::unix::fs::symlink("/dev/full", rig.folder.path().join("client.json.log")).unwrap();
    let (_pair, mut first, flood) = flooded(&rig);
    for _ in 0..10 {
        echo(&mut first).unwrap();
    }
    drop(flood);
    wait(|| echo(&mut connect(&rig)).is_ok());
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_call_and_what_it_loses_is_counted() {
    let rig = Rig::new();
    echoes(&rig);
    let pipe = rig.folder.path().join("access.pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Open, so that it can be written, and never read: soon it is full.
    let _unread = File::options().read(true).write(true).open(&pipe).unwrap();
    let mut file = rig.server();
    file["accessLog"] = json!("access.pipe");
    let server = rig.proxy("server.json", &file);
    let _client = rig.proxy("client.json", &rig.client());
    wait(|| {
        for _ in 0..50 {
            echo(&mut TcpStream::connect(rig.at(DOOR)).unwrap()).unwrap();
        }
        !rig.metrics(SERVER_ADMIN).contains("weft_access_dropped_total 0\n")
    });
    // Nor does it hold up the end.
    assert_eq!(server.terminate(), Some(0));
}
