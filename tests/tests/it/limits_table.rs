//! `docs/limits.md` against the code: no bound of the data plane is missing, no row is of the past.

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

/// Names of a file's constants, with what follows them.
fn constants(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let declared = |line: &'_ str| -> Option<usize> {
        let at = line.find("const ")? + "const ".len();
        line[..at].trim().chars().all(|c| c.is_ascii_alphabetic() || "() ".contains(c)).then_some(at)
    };
    text.lines().filter_map(move |line| line[declared(line)?..].split_once(": "))
}

#[test]
fn every_bound_of_the_data_plane_is_in_the_table() {
    let file = "proxy/src/limits.rs";
    let text = fs::read_to_string(root().join("crates").join(file)).unwrap();
    let public: String = text.lines().filter(|line| line.starts_with("pub")).map(|line| format!("{line}\n")).collect();
    let told: Vec<String> = rows().into_iter().filter(|(_, of)| of == file).map(|(name, _)| name).collect();
    let names: Vec<&str> = constants(&public).map(|(name, _)| name).collect();
    assert!(names.len() > 20 && names.contains(&"DRAIN_WAIT"), "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !told.iter().any(|told| told == **name)).collect();
    assert!(missing.is_empty(), "docs/limits.md doesn't tell of {missing:?} of {file}");
}

/// Counts, sizes and times that bound nothing: parts of formats, costs, paces, and room that is taken at once.
const NO_BOUNDS: [&str; 18] = [
    "ALERT_BYTES",
    "ASKED_AFTER",
    "ASSUMED_COST",
    "DECAY",
    "EDIT_ROOM",
    "FAILED_COST",
    "HEADER_BYTES",
    "HEADROOM",
    "HEAD_ROOM",
    "ICMP_BYTES",
    "IPV4_BYTES",
    "IPV6_BYTES",
    "LEAST_HEX_CHARS",
    "LEAST_SPREAD",
    "PAUSE",
    "RECORDS_STACK_BYTES",
    "TTL_SECONDS",
    "UDP_BYTES",
];

/// Those beside their only user.
#[test]
fn every_other_bound_of_the_proxy_is_in_the_table_too() {
    let folder = root().join("crates");
    let mut files = Vec::new();
    crate::tidy::rust_files(&folder.join("proxy/src"), &mut files);
    let (mut told, rows) = (0, rows());
    for path in files.iter().filter(|path| !path.ends_with("limits.rs") && !path.ends_with("tests.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let file = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        let own = text.split("\nmod tests {").next().unwrap();
        for (name, rest) in constants(own) {
            let is_number = ["usize", "u64", "u32", "i32", "Duration"].iter().any(|kind| rest.starts_with(kind));
            if is_number && !NO_BOUNDS.contains(&name) {
                assert!(rows.iter().any(|row| (row.0.as_str(), row.1.as_str()) == (name, file)), "{name} of {file}");
                told += 1;
            }
        }
    }
    assert!(told > 5, "only {told} were found");
}

#[test]
fn every_row_is_of_a_bound_that_is_there() {
    for (name, file) in rows() {
        let text = fs::read_to_string(root().join("crates").join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(
            constants(&text).any(|(found, _)| found == name),
            "docs/limits.md tells of {name}, which isn't in {file}"
        );
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
