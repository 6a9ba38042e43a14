//! The host's `resolv.conf`.

use weft_capture::ResolvConf;

/// `ResolvConf::parse`.
///
/// # Panics
/// When something is read that doesn't stand there, or that would break a line of the workload's file.
pub fn capture_resolv(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let conf = ResolvConf::parse(&text);
    for word in conf.search.iter().chain(&conf.options) {
        assert!(!word.is_empty() && !word.contains(char::is_whitespace) && text.contains(word.as_str()));
    }
    let mut written: String = conf.nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !conf.search.is_empty() {
        written += &format!("search {}\n", conf.search.join(" "));
    }
    written += &format!("options {}\n", conf.options.join(" "));
    assert_eq!(ResolvConf::parse(&written), conf);
}
