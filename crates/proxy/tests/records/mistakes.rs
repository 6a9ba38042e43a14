//! Each mistake is one line that names file and field, and an exit code.

use std::path::Path;

use serde_json::{Value, json};

use crate::rig::*;

/// Runs the server's file with `value` at `pointer`, and returns exit code and line.
fn with(pointer: &str, value: Value) -> (Option<i32>, String) {
    let rig = Rig::new();
    let mut file = rig.server();
    file["destinations"] = rig.client()["destinations"].clone();
    file["outbound"] = rig.client()["outbound"].clone();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match file.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value,
        fields => fields[last] = value,
    }
    said(&[Path::new("--records"), &rig.write("server.json", &file)])
}

fn said(words: &[&Path]) -> (Option<i32>, String) {
    let output = refused(words);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("weft-proxy: "), "{text}");
    (output.status.code(), text)
}

#[test]
fn a_value_that_can_t_be_used_is_named_by_its_path() {
    for (pointer, value, expected) in [
        ("/workload", json!("server"), "workload: expected NAMESPACE/NAME, found \"server\""),
        ("/identity", json!("spiffe://cluster.local/ns/default/sa/x"), "identity: expected spiffe://cluster.local/ns"),
        ("/addresses/0", json!("here"), "addresses[0]: expected an IP address, found \"here\""),
        ("/mesh", json!("15008"), "mesh: expected IP:PORT, found \"15008\""),
        ("/published/0/port", json!(0), "published[0].port: expected a port of 1 to 65535, found 0"),
        ("/outbound/0/destination", json!("nobody:80"), "outbound[0].destination: expected IP:PORT, or HOST:PORT"),
        ("/certificate/key", json!("none.key"), "certificate.key: expected a readable PEM file, found "),
        ("/certificate/key", json!("client.key"), "certificate.chain: expected a chain for the key, found "),
        ("/trust/anchors", json!("client.key"), "trust.anchors: expected certificates in PEM, found none in "),
        ("/inbound/policies/0/action", json!("PERMIT"), "inbound.policies[0].action: expected ALLOW, DENY or AUDIT"),
        ("/inbound/policies/0/rules/0/from/0", json!({}), "policies[0].rules[0].from[0]: expected at least one field"),
        ("/inbound/peerAuthentication/mode", json!("strict"), "peerAuthentication.mode: expected STRICT, PERMISSIVE"),
        ("/inbound/ports", json!([{"port": 8080}, {"port": 8080}]), "inbound.ports: expected each port once"),
        ("/destinations/0/addresses/0", json!("10.0.0.1"), "destinations[0].addresses[0]: expected an address of 240."),
        ("/destinations/0/endpoints/0/tunnel", json!({"mesh": 1}), "invalid type: integer `1`, expected a string"),
        ("/destinations/0/host", json!("server"), "destinations[0].host: expected a full name"),
        ("/inbound", json!(null), "inbound: expected the record that judges callers at mesh, found nothing"),
        ("/addresses", json!([]), "addresses: expected the workload's address"),
        ("/inbound/policy", json!([]), "unknown field `policy`, expected one of `service`"),
    ] {
        let (code, line) = with(pointer, value);
        assert!(line.contains(expected), "{pointer}: expected {expected}, found {line}");
        assert!(line.contains("server.json: ") && line.contains("docs/records-file.md"), "{line}");
        assert_eq!(code, Some(2), "{line}");
    }
}

#[test]
fn a_tunnel_that_was_forgotten_is_no_plain_connection() {
    let rig = Rig::new();
    let mut file = rig.client();
    file["destinations"][0]["endpoints"][0].as_object_mut().unwrap().remove("tunnel");
    let (code, line) = said(&[Path::new("--records"), &rig.write("client.json", &file)]);
    assert!(line.contains("missing field `tunnel` at line 1"), "{line}");
    assert_eq!(code, Some(2));
}

#[test]
fn a_listener_that_is_taken_is_the_machine_s_fault() {
    let rig = Rig::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut file = rig.server();
    file["mesh"] = json!(taken.local_addr().unwrap().to_string());
    let (code, line) = said(&[Path::new("--records"), &rig.write("server.json", &file)]);
    assert!(line.contains("in use") && line.contains("choose another address"), "{line}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_command_line_that_can_t_be_understood_points_at_help() {
    for words in [&[][..], &["--records"], &["--bootstrap-fd", "x"], &["--reocrds", "f"]] {
        let words: Vec<&Path> = words.iter().map(Path::new).collect();
        let (code, line) = said(&words);
        assert!(line.contains("weft-proxy --help"), "{line}");
        assert_eq!(code, Some(2));
    }
    let (code, line) = said(&[Path::new("--records"), Path::new("/nowhere.json")]);
    assert!(line.contains("/nowhere.json: expected a records file, found: No such file"), "{line}");
    assert_eq!(code, Some(2));
}

#[test]
fn the_example_in_help_is_a_file_that_runs() {
    let rig = Rig::new();
    let help = String::from_utf8(refused(&[Path::new("--help")]).stdout).unwrap();
    let (start, end) = (help.find("\n  {").unwrap(), help.rfind("\n  }").unwrap() + "\n  }".len());
    let mut file: Value = serde_json::from_str(&help[start..end]).unwrap();
    file["admin"] = json!(rig.at(CLIENT_ADMIN));
    file["outbound"][0]["listen"] = json!(rig.at(DOOR));
    assert_eq!(rig.proxy("help.json", &file).terminate(), Some(0));
}
