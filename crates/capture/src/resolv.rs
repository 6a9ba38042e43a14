//! The resolver's configuration, resolv.conf(5): read the host's, write the workload's. No I/O.

use std::fmt::Write;
use std::net::IpAddr;

/// What a `resolv.conf` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers, in order. Scoped link-local ones (`fe80::1%eth0`) are left out.
    pub nameservers: Vec<IpAddr>,
    /// Suffixes for short names (`search`, or the older `domain`; the last such line counts).
    pub search: Vec<String>,
    /// The words of all `options` lines.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads a file's text. As glibc does, it passes over what it doesn't understand.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.nameservers.extend(words.next().and_then(|ip| ip.parse::<IpAddr>().ok())),
                Some("search") => conf.search = words.map(str::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }
}

/// The text of the workload's file: its own name servers, its suffixes before the host's, the host's options.
pub(crate) fn render(nameservers: &[IpAddr], search: &[String], host: &ResolvConf) -> String {
    let mut text = String::from("# Written by weft for the programs of one workload.\n");
    for server in nameservers {
        // Writing to a string can't fail.
        let _ = writeln!(text, "nameserver {server}");
    }
    let mut suffixes: Vec<&str> = Vec::new();
    for suffix in search.iter().chain(&host.search) {
        if !suffixes.contains(&suffix.as_str()) {
            suffixes.push(suffix);
        }
    }
    for (keyword, words) in
        [("search", suffixes), ("options", host.options.iter().map(String::as_str).collect::<Vec<_>>())]
    {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# made by hand\nnameserver 192.0.2.53\n; old\ndomain example.org\nsearch example.com lan\n\
                        nameserver fe80::1%eth0\nnameserver 2001:db8::53\noptions edns0\noptions timeout:1 ndots:2\nsortlist x\n";

    #[test]
    fn a_hosts_file_is_read() {
        let conf = ResolvConf::parse(HOST);
        assert_eq!(conf.nameservers, ["192.0.2.53".parse::<IpAddr>().unwrap(), "2001:db8::53".parse().unwrap()]);
        assert_eq!(conf.search, ["example.com", "lan"]);
        assert_eq!(conf.options, ["edns0", "timeout:1", "ndots:2"]);
    }

    #[test]
    fn ours_comes_first_and_nothing_twice() {
        let ours = ["default.svc.cluster.local".to_owned(), "lan".to_owned()];
        let text = render(&["240.240.0.53".parse().unwrap()], &ours, &ResolvConf::parse(HOST));
        let again = ResolvConf::parse(&text);
        assert_eq!(again.nameservers, ["240.240.0.53".parse::<IpAddr>().unwrap()]);
        assert_eq!(again.search, ["default.svc.cluster.local", "lan", "example.com"]);
        assert_eq!(again.options, ["edns0", "timeout:1", "ndots:2"]);
    }

    #[test]
    fn an_empty_host_adds_no_line() {
        let text = render(&["::1".parse().unwrap()], &[], &ResolvConf::default());
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["nameserver ::1"]);
    }
}
