//! What every command says of itself, and how it looks on a terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use nix::pty::openpty;

use crate::room::Room;

fn help(room: &Room, command: &[&str]) -> String {
    let text = room.weft(command.iter().copied().chain(["--help"]));
    assert!(text.starts_with("exit 0\n"), "{command:?}: {text}");
    text
}

/// The commands below this one, as its help lists them.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that is wrapped goes on further to the right.
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = named.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_teaches_by_example_and_tells_its_json() {
    let room = Room::new();
    let mut found = 0;
    let mut paths = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let text = help(&room, &words);
        assert!(text.contains("Example"), "{path:?}: {text}");
        let speaks_json = text.contains("--output") && text.contains("json");
        assert!(!speaks_json || text.contains("JSON") && text.contains("\": "), "{path:?}: {text}");
        paths.extend(commands(&text).into_iter().map(|name| [&path[..], &[name]].concat()));
        found += usize::from(speaks_json);
    }
    // ps, stat, edges, tap, certs, proxy-status, identity, analyze, version, check, install, uninstall,
    // inject, uninject, authz's two and viz's three at least.
    assert!(found >= 19, "only {found} speak JSON");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    for (no_color, expected) in [(None, true), (Some(""), true), (Some("1"), false)] {
        let room = Room::new();
        let terminal = openpty(None, None).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(["ps", "--state-dir"]).arg(room.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command.env_remove("NO_COLOR").envs(no_color.map(|value| ("NO_COLOR", value)));
        let status = command.stderr(terminal.slave).status().unwrap();
        // The command holds the terminal's other end open no more.
        drop(command);
        let mut text = Vec::new();
        // Reading ends in an error once all is read (EIO).
        let _all_read = File::from(terminal.master).read_to_end(&mut text);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains("start one with: weft up"), "{text}");
        assert_eq!(text.contains('\u{1b}'), expected, "{no_color:?}: {text:?}");
    }
}
