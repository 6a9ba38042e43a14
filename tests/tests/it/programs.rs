//! Programs that people use, unmodified and as an ordinary user: each does in the mesh what it does without, and
//! a stranger gets nothing of it.

use std::process::Output;

use weft_tests::mesh::told;
use weft_tests::programs::{Pair, Stage};

/// What the client of a refused HTTP call shows.
const DENIED: &str = "refused: RBAC: access denied";

/// What a client of another protocol shows: its connection ended, before or after its first bytes were read.
fn is_closed(refused: &Output) -> bool {
    let said = told(refused).to_lowercase();
    said.contains("server closed the connection") || said.contains("connection reset by peer")
}

/// A page of 2 MB that is no repetition.
fn page() -> String {
    (0..300_000).map(|line| format!("{line}\n")).collect()
}

#[test]
fn curl_and_apache_in_every_version_of_http() {
    let Some(stage) = Stage::start() else { return };
    let Some(apache) = stage.find("apache2", &["-v"]) else { return };
    stage.file("pages/page", &page());
    stage.file("pages/small", "small");
    let folder = stage.home();
    let configuration = include_str!("../../programs/apache.conf").replace("${WEFT_TEST_FOLDER}", &folder);
    stage.file("apache.conf", &configuration);
    let file = format!("{folder}/apache.conf");
    let (printed, refused) = stage.compare(Pair {
        name: "apache",
        port: 80,
        server: &[&apache, "-D", "FOREGROUND", "-f", &file],
        client: &["sh", "-c", include_str!("../../programs/apache.sh"), "sh"],
    });
    assert!(printed.ends_with("with prior knowledge: HTTP/2\n"), "{printed}");
    assert_eq!(refused.status.code(), Some(22), "{}", told(&refused));
}

#[test]
fn nginx_at_port_80() {
    let Some(stage) = Stage::start() else { return };
    let Some(nginx) = stage.find("nginx", &["-v"]) else { return };
    stage.file("pages/page", &page());
    stage.file("nginx.conf", include_str!("../../programs/nginx.conf"));
    let folder = stage.home();
    let file = format!("{folder}/nginx.conf");
    let (_, refused) = stage.compare(Pair {
        name: "nginx",
        port: 80,
        server: &[&nginx, "-e", "stderr", "-p", &folder, "-c", &file],
        client: &["sh", "-c", include_str!("../../programs/nginx.sh"), "sh"],
    });
    assert_eq!(refused.status.code(), Some(22), "{}", told(&refused));
}

#[test]
fn a_node_server_and_its_client() {
    let Some(stage) = Stage::start() else { return };
    let Some(node) = stage.find("node", &["--version"]) else { return };
    stage.file("node.js", include_str!("../../programs/node.js"));
    let (_, refused) = stage.compare(Pair {
        name: "node",
        port: 3000,
        server: &[&node, "node.js", "serve"],
        client: &[&node, "node.js", "call"],
    });
    assert!(told(&refused).contains(DENIED), "{}", told(&refused));
}

#[test]
fn static_go_programs() {
    let Some(stage) = Stage::start() else { return };
    let Some(program) = stage.compiled_go(include_str!("../../programs/static.go")) else { return };
    let (_, refused) =
        stage.compare(Pair { name: "go", port: 7000, server: &[&program, "serve"], client: &[&program, "call"] });
    let said = told(&refused);
    assert!(said.contains(DENIED) && said.contains("the server said \"\""), "{said}");
}

#[test]
fn a_java_client_and_a_go_server() {
    let Some(stage) = Stage::start() else { return };
    // One without a compiler can't run a source file.
    if stage.find("javac", &["--version"]).is_none() {
        return;
    }
    let Some(program) = stage.compiled_go(include_str!("../../programs/static.go")) else { return };
    stage.file("Client.java", include_str!("../../programs/Client.java"));
    let (_, refused) =
        stage.compare(Pair { name: "go", port: 7000, server: &[&program, "serve"], client: &["java", "Client.java"] });
    assert!(told(&refused).contains(DENIED), "{}", told(&refused));
}

#[test]
fn grpc_calls_of_every_kind() {
    let Some(stage) = Stage::start() else { return };
    let Some(python) = stage.python_with("grpc") else { return };
    let (_, refused) = stage.compare(Pair {
        name: "grpc",
        port: 50051,
        server: &[&python, "-c", include_str!("../../programs/grpc_server.py")],
        client: &[&python, "-c", include_str!("../../programs/grpc_client.py")],
    });
    assert!(told(&refused).contains("refused: PERMISSION_DENIED: RBAC: access denied"), "{}", told(&refused));
}

#[test]
fn websockets() {
    let Some(stage) = Stage::start() else { return };
    let Some(python) = stage.python_with("websockets") else { return };
    let (_, refused) = stage.compare(Pair {
        name: "websocket",
        port: 8765,
        server: &[&python, "-c", include_str!("../../programs/websocket_server.py")],
        client: &[&python, "-c", include_str!("../../programs/websocket_client.py")],
    });
    assert!(told(&refused).contains("refused: 403"), "{}", told(&refused));
}

#[test]
fn redis() {
    let Some(stage) = Stage::start() else { return };
    let Some(server) = stage.find("redis-server", &["--version"]) else { return };
    if stage.find("redis-cli", &["--version"]).is_none() {
        return;
    }
    let (_, refused) = stage.compare(Pair {
        name: "redis",
        port: 6379,
        server: &[&server, "--save", "", "--protected-mode", "no"],
        client: &["sh", "-c", include_str!("../../programs/redis.sh"), "sh"],
    });
    assert!(is_closed(&refused), "{}", told(&refused));
}

#[test]
fn postgresql() {
    let Some(stage) = Stage::start() else { return };
    let Some(programs) = stage.postgresql() else { return };
    if stage.find("psql", &["--version"]).is_none() {
        return;
    }
    let (_, refused) = stage.compare(Pair {
        name: "postgres",
        port: 5432,
        server: &["sh", "-c", include_str!("../../programs/postgres_server.sh"), "sh", &programs],
        client: &["sh", "-c", include_str!("../../programs/postgres.sh"), "sh"],
    });
    assert!(refused.status.code() == Some(2) && is_closed(&refused), "{}", told(&refused));
}
