//! `docs/limits.md` against the code: no bound of the data plane or the control plane is missing, no row is of
//! the past.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Name and file of each row.
fn rows() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, _value, _unit, _consequence, file] = cells[..] else { panic!("expected five cells: {line}") };
        (name.trim_matches('`').to_owned(), file.to_owned())
    });
    rows.collect()
}

/// Names of a file's constants.
fn constants(text: &str) -> impl Iterator<Item = &str> {
    let declared = |line: &'_ str| -> Option<usize> {
        let at = line.find("const ")? + "const ".len();
        line[..at].trim().chars().all(|c| c.is_ascii_alphabetic() || "() ".contains(c)).then_some(at)
    };
    text.lines().filter_map(move |line| line[declared(line)?..].split(':').next())
}

/// What counts or measures, and bounds nothing.
const NO_BOUNDS: [(&str, &str); 28] = [
    ("control/src/authority/keep.rs", "SOON"),
    ("control/src/launch.rs", "SUFFIXES"),
    ("control/src/launch.rs", "SUFFIX_CHARS"),
    ("control/src/launch.rs", "TOKEN_BYTES"),
    ("control/src/telemetry/aggregate.rs", "HOUR_SLOT"),
    ("control/src/telemetry/aggregate.rs", "RECENT_SLOT"),
    ("control/src/telemetry/near.rs", "SLOT"),
    ("kube/src/check/identity.rs", "SOON"),
    ("kube/src/webhook/certificate.rs", "LIFETIME"),
    ("kube/src/words.rs", "FEW"),
    ("proxy/src/control/wall_clock.rs", "PAUSE"),
    ("proxy/src/dns/upstream.rs", "HEADER_BYTES"),
    ("proxy/src/http1/inbound.rs", "EDIT_ROOM"),
    ("proxy/src/http1/outbound.rs", "EDIT_ROOM"),
    ("proxy/src/http1/outbound.rs", "HEAD_ROOM"),
    ("proxy/src/http1/programs.rs", "ASKED_AFTER"),
    ("proxy/src/limits.rs", "COPY_RECORDS"),
    ("proxy/src/main.rs", "RECORDS_STACK_BYTES"),
    ("proxy/src/outbound.rs", "FAILED_COST"),
    ("proxy/src/report/route.rs", "LEAST_HEX_CHARS"),
    ("proxy/src/service.rs", "ASSUMED_COST"),
    ("proxy/src/service.rs", "DECAY"),
    ("proxy/src/tls_stream/records.rs", "ALERT_BYTES"),
    ("proxy/src/udp/packet.rs", "HEADROOM"),
    ("proxy/src/udp/packet.rs", "ICMP_BYTES"),
    ("proxy/src/udp/packet.rs", "IPV4_BYTES"),
    ("proxy/src/udp/packet.rs", "IPV6_BYTES"),
    ("proxy/src/udp/packet.rs", "UDP_BYTES"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs")
            && !path.ends_with("tests.rs")
            && !path.ends_with("fixtures.rs")
        {
            found.push(path);
        }
    }
}

/// Durations and counts of some rooms, with the file of each.
fn bounds_of(rooms: &[&str]) -> Vec<(String, String)> {
    let crates = root().join("crates");
    let mut files = Vec::new();
    rooms.iter().for_each(|room| sources(&crates.join(room).join("src"), &mut files));
    let mut bounds = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        let file = path.strip_prefix(&crates).unwrap().to_str().unwrap().to_owned();
        let measures = code.lines().filter(|line| line.contains(": Duration =") || line.contains(": usize ="));
        bounds.extend(measures.flat_map(constants).map(|name| (name.to_owned(), file.clone())));
    }
    bounds
}

#[test]
fn every_bound_of_the_data_plane_is_in_the_table() {
    every_bound_of("proxy/src/limits.rs", "DRAIN_WAIT");
    every_bound_beside_its_user(&["proxy"]);
}

#[test]
fn every_bound_of_the_control_plane_is_in_the_table() {
    every_bound_of("control/src/limits.rs", "UNPROVED_LIFE");
    every_bound_beside_its_user(&["control", "kube"]);
}

fn every_bound_beside_its_user(rooms: &[&str]) {
    let (told, bounds) = (rows(), bounds_of(rooms));
    assert!(bounds.len() > 100, "{bounds:?}");
    let is_told = |(name, file): &(String, String)| {
        NO_BOUNDS.contains(&(file, name)) != told.contains(&(name.clone(), file.clone()))
    };
    let missing: Vec<_> = bounds.iter().filter(|bound| !is_told(bound)).collect();
    assert!(missing.is_empty(), "docs/limits.md doesn't tell of {missing:?}");
}

/// Each public constant of a room's bounds, of which one is known.
fn every_bound_of(file: &str, known: &str) {
    let text = fs::read_to_string(root().join("crates").join(file)).unwrap();
    let public: String = text.lines().filter(|line| line.starts_with("pub")).map(|line| format!("{line}\n")).collect();
    let told: Vec<String> = rows().into_iter().filter(|(_, of)| of == file).map(|(name, _)| name).collect();
    let names: Vec<&str> = constants(&public).collect();
    assert!(names.len() > 10 && names.contains(&known), "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !told.iter().any(|told| told == **name)).collect();
    assert!(missing.is_empty(), "docs/limits.md doesn't tell of {missing:?} of {file}");
}

#[test]
fn every_row_is_of_a_bound_that_is_there() {
    for (name, file) in rows() {
        let text = fs::read_to_string(root().join("crates").join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(constants(&text).any(|found| found == name), "docs/limits.md tells of {name}, which isn't in {file}");
    }
}

/// In the section of what was tried, each file that is named is followed by one of its tests.
#[test]
fn every_test_that_is_named_is_there() {
    let text = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let (_, tried) = text.split_once("## Tried").unwrap();
    let quoted: Vec<&str> = tried.split('`').skip(1).step_by(2).collect();
    let named: Vec<_> = quoted.windows(2).filter(|pair| pair[0].ends_with(".rs")).collect();
    assert!(named.len() > 20, "{named:?}");
    for pair in named {
        let text = fs::read_to_string(root().join("crates").join(pair[0])).unwrap();
        assert!(text.contains(&format!("fn {}()", pair[1])), "{} has no test {}", pair[0], pair[1]);
    }
}
