//! Whatever stands in a folder, `weft authz -f DIR` and a control plane that starts with it come to
//! the same verdicts, by the same rules, and tell the same lines.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;

use nix::sys::stat::Mode;
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;
use weft_control::{Config, ControlPlane};
use weft_wire::proto::weft::v1 as proto;
use weft_wire::proto::weft::v1::control_client::ControlClient;

use crate::room::{PAYMENTS, Room, STRICT, policy};

/// Who calls whom, and how.
const CALLS: &[&str] = &[
    "--to payments/payments-api --from cluster.local/ns/checkout/sa/checkout-service --port 8080 --path /x",
    "--to payments/payments-api --port 8080 --path /x",
    "--to default/web --from cluster.local/ns/default/sa/stranger --port 8080 --path /x",
    "--to default/web --port 9000 --protocol tcp",
];

/// Names of folders and what makes them; `p` is given.
type Maker = fn(&Path);

const FOLDERS: &[(&str, Maker)] = &[
    ("nothing", |_| {}),
    ("good policies", |p| write(p, &[("a.yaml", PAYMENTS), ("sub/b.yml", STRICT), ("c.json", "")])),
    ("a file larger than the parser takes", |p| {
        let text = format!("{PAYMENTS}# {}\n", "x".repeat(10_000_000));
        write(p, &[("a.yaml", &text)]);
    }),
    ("a file larger than what is read", |p| {
        fs::File::create(p.join("a.yaml")).unwrap().set_len(17 << 20).unwrap();
    }),
    ("more than is read of all files", |p| {
        let filler = format!("# {}\n", "x".repeat(3_000_000));
        (0..24).for_each(|n| write(p, &[(&format!("f{n}.yaml"), &filler)]));
        write(p, &[("z.yaml", PAYMENTS)]);
    }),
    ("deep nesting of values", |p| {
        write(p, &[("a.yaml", &PAYMENTS.replace("action: ALLOW", &format!("action: {}", "[".repeat(100_000))))]);
    }),
    ("deep nesting of folders", |p| {
        let deep = (0..40).map(|_| "d/").collect::<String>();
        write(p, &[(&format!("{deep}a.yaml"), PAYMENTS)]);
    }),
    ("an alias bomb", |p| {
        let bomb: String = (1..40).map(|n| format!("  a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect();
        write(p, &[("a.yaml", &format!("{PAYMENTS}---\n{PAYMENTS}x:\n  a0: &a0 [1]\n{bomb}"))]);
    }),
    ("aliases and merges", |p| {
        let text = PAYMENTS.replace("matchLabels:\n      app:", "matchLabels: &l\n      app:") + "x-more: *l\n";
        write(p, &[("a.yaml", &text)]);
    }),
    ("no UTF-8", |p| fs::write(p.join("a.yaml"), [PAYMENTS.as_bytes(), b"# caf\xe9\n"].concat()).unwrap()),
    ("UTF-16", |p| {
        let bytes: Vec<u8> = PAYMENTS.encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(p.join("a.yaml"), [b"\xff\xfe", &*bytes].concat()).unwrap();
    }),
    ("NUL in a file", |p| write(p, &[("a.yaml", &PAYMENTS.replace("action", "\0action"))])),
    ("half a file", |p| write(p, &[("a.yaml", &PAYMENTS[..PAYMENTS.len() / 2]), ("b.yaml", &PAYMENTS[..90])])),
    ("one name in two files", |p| {
        write(
            p,
            &[("b.yaml", PAYMENTS), ("a.yaml", &PAYMENTS.replace("checkout-service", "other")), ("c.yaml", STRICT)],
        );
    }),
    ("one name twice in a file", |p| {
        write(p, &[("a.yaml", &format!("{STRICT}---\n{}", STRICT.replace("STRICT", "DISABLE")))])
    }),
    ("empty files and documents", |p| {
        write(p, &[("a.yaml", ""), ("b.yaml", "\n"), ("c.yaml", "---\n---\n"), ("d.json", "{}")])
    }),
    ("links that lead in circles", |p| {
        write(p, &[("sub/a.yaml", PAYMENTS)]);
        symlink("..", p.join("sub/up")).unwrap();
        symlink(p, p.join("self")).unwrap();
    }),
    ("a link that leads to itself", |p| symlink("a.yaml", p.join("a.yaml")).unwrap()),
    ("a link that leads nowhere", |p| symlink("nowhere", p.join("a.yaml")).unwrap()),
    ("a folder's link that leads nowhere", |p| symlink("nowhere", p.join("team")).unwrap()),
    ("a link to a file elsewhere", |p| {
        write(p, &[("../elsewhere", PAYMENTS)]);
        symlink("../elsewhere", p.join("a.yaml")).unwrap();
    }),
    ("folders named as files", |p| write(p, &[("x.yaml/y.yaml", PAYMENTS), ("x.yml/z.json", "")])),
    ("a pipe", |p| nix::unistd::mkfifo(&p.join("a.yaml"), Mode::S_IRWXU).unwrap()),
    ("a device", |p| symlink("/dev/zero", p.join("a.yaml")).unwrap()),
    ("hidden files and backups", |p| {
        let broken = "kind: AuthorizationPolicy: x\n";
        let names =
            [".a.yaml", ".git/b.yaml", "c.yaml~", "#d.yaml#", "e.yaml.swp", "f.yaml.bak", "g.yaml.orig", "README"];
        names.iter().for_each(|name| write(p, &[(name, broken)]));
        symlink("user@host.1:2", p.join(".#h.yaml")).unwrap();
    }),
    ("endings in capital letters", |p| write(p, &[("A.YAML", PAYMENTS), ("B.Yml", STRICT)])),
    ("CRLF", |p| write(p, &[("a.yaml", &PAYMENTS.replace('\n', "\r\n"))])),
    ("CR", |p| write(p, &[("a.yaml", &PAYMENTS.replace('\n', "\r"))])),
    ("a byte order mark", |p| write(p, &[("a.yaml", &format!("\u{feff}{PAYMENTS}"))])),
    ("names that are no UTF-8", |p| {
        fs::write(p.join(OsStr::from_bytes(b"caf\xe9.yaml")), PAYMENTS).unwrap();
    }),
    ("names that read alike", |p| {
        [b"\xe8.yaml", b"\xe9.yaml"]
            .iter()
            .for_each(|name| fs::write(p.join(OsStr::from_bytes(*name)), STRICT).unwrap());
    }),
    ("5,000 files", |p| {
        (0..5_000)
            .for_each(|n| write(p, &[(&format!("n{n}.yaml"), &policy(&format!("n{n}"), "action: DENY\nrules: [{}]"))]));
    }),
    ("what isn't understood", |p| {
        write(
            p,
            &[
                ("a.yaml", &PAYMENTS.replace("principals:", "principal:")),
                ("b.yaml", &STRICT.replace("STRICT", "strict")),
            ],
        );
    }),
    ("no kind, and an unknown one", |p| {
        let nameless = PAYMENTS.replace("kind: AuthorizationPolicy\n", "");
        write(p, &[("a.yaml", &nameless), ("b.yaml", &STRICT.replace("PeerAuthentication", "MeshPolicy"))]);
    }),
    ("conflicts of git", |p| {
        write(
            p,
            &[(
                "a.yaml",
                &PAYMENTS.replace("  action: ALLOW\n", "<<<<<<< HEAD\n  action: ALLOW\n=======\n>>>>>>> x\n"),
            )],
        );
    }),
];

fn write(p: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::create_dir_all(p.join(name).parent().unwrap()).unwrap();
        fs::write(p.join(name), text).unwrap();
    }
}

/// Runs `test` beside a control plane whose state folder is `room`'s, and which follows its `p`.
/// Two workloads run.
fn beside_a_plane(room: &Room, test: impl FnOnce()) {
    let socket = room.path().join("control.sock");
    let config =
        Config { folder: Some(room.path().join("p")), ..Config::new(room.path().join("state"), socket.clone()) };
    let (ready, is_ready) = mpsc::channel();
    let (end, is_over) = tokio::sync::oneshot::channel::<()>();
    let plane = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let control = ControlPlane::open(config).unwrap();
            let running = tokio::spawn(control.run(async { drop(is_over.await) }));
            let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
            let mut client = ControlClient::new(endpoint.connect().await.unwrap());
            let mut launched = Vec::new();
            for (namespace, name) in [("payments", "payments-api"), ("default", "web")] {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                let workload = Some(proto::WorkloadSpec { namespace, name, ..proto::WorkloadSpec::default() });
                let (requests, receiver) = tokio::sync::mpsc::channel(1);
                requests.send(proto::LaunchRequest { workload, ..Default::default() }).await.unwrap();
                let mut events = client.launch(ReceiverStream::new(receiver)).await.unwrap().into_inner();
                events.message().await.unwrap();
                launched.push((requests, events));
            }
            ready.send(()).unwrap();
            running.await.unwrap().unwrap();
        });
    });
    is_ready.recv().unwrap();
    test();
    drop(end);
    plane.join().unwrap();
}

/// An answer without its words, which name the workload.
fn answered(room: &Room, how: &str, call: &str) -> Value {
    let said = room.run(&format!("{how} {call} -o json"));
    let json = said.strip_prefix("exit 0\n").unwrap_or_else(|| panic!("{how} {call}: {said}"));
    let json = json.split("--- stderr").next().unwrap();
    let mut answer: Value = serde_json::from_str(json).unwrap();
    answer.as_object_mut().unwrap().remove("reason").unwrap();
    answer
}

#[test]
fn a_folder_and_the_mesh_that_follows_it_answer_alike() {
    for (name, make) in FOLDERS {
        let room = Room::new();
        fs::create_dir(room.path().join("p")).unwrap();
        make(&room.path().join("p"));
        beside_a_plane(&room, || {
            // To read tens of megabytes takes its time: one question is enough.
            let is_large = ["larger", "more than", "5,000"].iter().any(|word| name.contains(word));
            for call in if is_large { &CALLS[2..3] } else { CALLS } {
                let of_folder = answered(&room, "authz explain -f p", call);
                let of_mesh = answered(&room, "--state-dir . authz explain", call);
                assert_eq!(of_folder, of_mesh, "{name}: {call}");
                for problem in of_folder["problems"].as_array().unwrap() {
                    let line = problem.as_str().unwrap();
                    assert!(line.contains(": ") && line.contains("expected "), "{name}: {line}");
                    assert!(!line.contains('\n') && line.len() < 1_000, "{name}: {line}");
                }
            }
        });
    }
}

/// What a folder's name says comes out, for one call that only the good policies allow.
#[test]
fn what_cannot_be_read_closes_and_what_is_no_manifest_does_not() {
    let verdict = |name: &str| {
        let room = Room::new();
        fs::create_dir(room.path().join("p")).unwrap();
        FOLDERS.iter().find(|(known, _)| *known == name).unwrap().1(&room.path().join("p"));
        answered(&room, "authz explain -f p", CALLS[2])["verdict"].as_str().unwrap().to_owned()
    };
    for open in ["nothing", "good policies", "empty files and documents", "hidden files and backups", "CR"] {
        assert_eq!(verdict(open), "allow", "{open}");
    }
    for closed in [
        "a file larger than what is read",
        "more than is read of all files",
        "deep nesting of folders",
        "a link that leads to itself",
        "a link that leads nowhere",
        "a folder's link that leads nowhere",
        "a pipe",
        "a device",
        "names that read alike",
        "5,000 files",
        "no kind, and an unknown one",
    ] {
        assert_eq!(verdict(closed), "deny", "{closed}");
    }
}
