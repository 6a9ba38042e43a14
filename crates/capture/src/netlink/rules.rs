//! What the workload's packet rules say. No I/O.
//!
//! A connection or datagram to anywhere but the workload itself goes to the proxy; where the proxy can't take
//! datagrams, those other than DNS queries are refused. So are pings of elsewhere, lest the kernel, to which every
//! address is its own, answer for all the world. Only the first packet of a connection (SYN) is steered: later ones find their
//! socket by the usual lookup, which saves 3 µs of CPU a connection and 0.4 µs a round trip (Linux 6.18).
//! That needs `tcp_syncookies` off: with cookies the handshake's last packet would have to be steered too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_wire::bootstrap::Redirection;

use super::link::octets;
use super::message::Request;
use super::nft::{Chain, Rule, batch, new_chain, new_table};

/// Where the proxy's listeners are, inside the namespace: TCP.
pub(crate) const OUTBOUND_PORT: u16 = 15001;
/// And DNS.
pub(crate) const DNS_PORT: u16 = 15053;
/// And all other datagrams.
pub(crate) const DATAGRAM_PORT: u16 = 15054;

/// The addresses that the rules are about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses<'a> {
    /// The workload's own.
    pub(crate) own: &'a [IpAddr],
    /// TCP ports of its loopback that lead to the proxy all the same.
    pub(crate) forwarded: &'a [u16],
    /// Addresses at which the resolver asks, though nothing listens there, among those that stay inside.
    pub(crate) near_nameservers: &'a [IpAddr],
}

/// What becomes of datagrams that are no DNS queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Datagrams {
    /// The proxy gets them.
    Captured,
    /// The kernel refuses them.
    Refused,
}

/// How traffic is steered, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Steering {
    /// TPROXY.
    Tproxy(Datagrams),
    /// REDIRECT, which forgets where a datagram was meant to go: those that are no DNS queries are refused.
    Redirect,
}

impl Steering {
    /// How accepted sockets tell their original destination.
    pub(crate) fn redirection(self) -> Redirection {
        match self {
            Self::Tproxy(_) => Redirection::Tproxy,
            Self::Redirect => Redirection::Redirect,
        }
    }

    /// What becomes of datagrams.
    pub(crate) fn datagrams(self) -> Datagrams {
        match self {
            Self::Tproxy(datagrams) => datagrams,
            Self::Redirect => Datagrams::Refused,
        }
    }
}

/// The whole table, as one batch.
pub(crate) fn ruleset(steering: Steering, addresses: Addresses<'_>) -> Vec<Request> {
    let (chain, mut rules) = match steering {
        Steering::Tproxy(_) => (PREROUTING, vec![later_packets()]),
        Steering::Redirect => (OUTPUT, Vec::new()),
    };
    let redirection = steering.redirection();
    for ip in addresses.near_nameservers {
        for (protocol, port) in [(libc::IPPROTO_UDP, DNS_PORT), (libc::IPPROTO_TCP, OUTBOUND_PORT)] {
            let rule =
                Rule::new(chain, format!("name server {ip}")).protocol(protocol).transport(DESTINATION_PORT, &DNS);
            rules.push(to_proxy(to(rule, *ip), redirection, *ip, port));
        }
    }
    rules.extend(forwarded(chain, steering, addresses));
    rules.extend(staying(chain, addresses.own));
    for own in addresses.own {
        let tcp = Rule::new(chain, "tcp to the proxy").family(family(*own)).protocol(libc::IPPROTO_TCP);
        rules.push(to_proxy(tcp, redirection, *own, OUTBOUND_PORT));
        let dns = Rule::new(chain, "dns to the proxy").family(family(*own)).protocol(libc::IPPROTO_UDP);
        let dns = dns.transport(DESTINATION_PORT, &DNS);
        rules.push(to_proxy(dns, redirection, *own, DNS_PORT));
    }
    if redirection == Redirection::Tproxy {
        rules.push(Rule::new(chain, "no proxy: nothing").protocol(libc::IPPROTO_TCP).drop());
    }
    if steering.datagrams() == Datagrams::Captured {
        rules.extend(captured(addresses.own));
    }
    rules.extend(refused(steering.datagrams(), addresses.own));
    let requests = [new_table(TABLE), new_chain(TABLE, chain), new_chain(TABLE, INPUT)];
    batch(requests.into_iter().chain(rules.iter().map(|rule| rule.request(TABLE))).collect())
}

/// Packets of a connection that stands find their socket by themselves.
fn later_packets() -> Rule {
    let flags = [FIN | SYN | RST | ACK];
    let rule = Rule::new(PREROUTING, "later packets of a connection").protocol(libc::IPPROTO_TCP);
    rule.transport_not(TCP_FLAGS, &flags, &[SYN]).accept()
}

/// Ports of the program's loopback that are the host's.
fn forwarded(chain: Chain, steering: Steering, addresses: Addresses<'_>) -> Vec<Rule> {
    let mut protocols = vec![(libc::IPPROTO_TCP, OUTBOUND_PORT)];
    if steering.datagrams() == Datagrams::Captured {
        protocols.push((libc::IPPROTO_UDP, DATAGRAM_PORT));
    }
    let mut rules = Vec::new();
    for port in addresses.forwarded {
        for ip in addresses.own.iter().copied().map(loopback_of) {
            for (protocol, proxy) in &protocols {
                let rule = Rule::new(chain, format!("port {port} of the host")).protocol(*protocol);
                let rule = to(rule.transport(DESTINATION_PORT, &port.to_be_bytes()), ip);
                rules.push(to_proxy(rule, steering.redirection(), ip, *proxy));
            }
        }
    }
    rules
}

/// What is addressed to the workload itself stays with it.
fn staying(chain: Chain, own: &[IpAddr]) -> Vec<Rule> {
    let v4 = Rule::new(chain, "loopback").family(libc::NFPROTO_IPV4);
    let v4 = v4.network(IPV4_DESTINATION, &[255, 0, 0, 0], &[127, 0, 0, 0]).accept();
    let v6 = to(Rule::new(chain, "loopback"), Ipv6Addr::LOCALHOST.into()).accept();
    let own = own.iter().map(|ip| to(Rule::new(chain, "own address"), *ip).accept());
    [v4, v6].into_iter().chain(own).collect()
}

/// Datagrams go to the proxy, and nowhere without it. Multicast stays among the workload's own programs.
fn captured(own: &[IpAddr]) -> Vec<Rule> {
    let mut rules = multicast(PREROUTING);
    for own in own {
        let rule = Rule::new(PREROUTING, "datagrams to the proxy").family(family(*own)).protocol(libc::IPPROTO_UDP);
        rules.push(to_proxy(rule, Redirection::Tproxy, *own, DATAGRAM_PORT));
    }
    rules.push(Rule::new(PREROUTING, "no proxy: no datagram").protocol(libc::IPPROTO_UDP).drop());
    rules
}

/// What nobody would answer is refused where it arrives. In `output` the program would get EPERM instead, and the
/// answers to DNS queries would be refused as well.
fn refused(datagrams: Datagrams, own: &[IpAddr]) -> Vec<Rule> {
    let udp = |comment| Rule::new(INPUT, comment).protocol(libc::IPPROTO_UDP);
    let mut rules = vec![Rule::new(INPUT, "tcp").protocol(libc::IPPROTO_TCP).accept()];
    if datagrams == Datagrams::Captured {
        rules.push(udp("captured datagrams").accept());
    }
    rules.extend(staying(INPUT, own));
    rules.extend(multicast(INPUT));
    if datagrams == Datagrams::Refused {
        rules.push(udp("dns").transport(DESTINATION_PORT, &DNS).accept());
        rules.push(udp("datagrams to elsewhere are refused").refuse(libc::NFT_REJECT_ICMPX_PORT_UNREACH));
    }
    for (protocol, echo_request) in [(libc::IPPROTO_ICMP, 8), (libc::IPPROTO_ICMPV6, 128)] {
        let ping = Rule::new(INPUT, "pings of elsewhere are refused").protocol(protocol);
        rules.push(ping.transport(ICMP_TYPE, &[echo_request]).refuse(libc::NFT_REJECT_ICMPX_ADMIN_PROHIBITED));
    }
    rules
}

fn multicast(chain: Chain) -> Vec<Rule> {
    let v4 = Rule::new(chain, "multicast").family(libc::NFPROTO_IPV4);
    let v6 = Rule::new(chain, "multicast").family(libc::NFPROTO_IPV6);
    vec![
        v4.network(IPV4_DESTINATION, &[0xf0], &[0xe0]).accept(),
        v6.network(IPV6_DESTINATION, &[0xff], &[0xff]).accept(),
    ]
}

fn to(rule: Rule, ip: IpAddr) -> Rule {
    let offset = if ip.is_ipv6() { IPV6_DESTINATION } else { IPV4_DESTINATION };
    let value = octets(ip);
    rule.family(family(ip)).network(offset, &vec![0xff; value.len()], &value)
}

fn to_proxy(rule: Rule, redirection: Redirection, like: IpAddr, port: u16) -> Rule {
    match redirection {
        Redirection::Tproxy => rule.tproxy(family(like), &octets(loopback_of(like)), port),
        Redirection::Redirect => rule.redirect(port),
    }
}

/// The loopback address of the same family.
pub(crate) fn loopback_of(like: IpAddr) -> IpAddr {
    if like.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

fn family(ip: IpAddr) -> i32 {
    if ip.is_ipv6() { libc::NFPROTO_IPV6 } else { libc::NFPROTO_IPV4 }
}

const TABLE: &str = "weft";
/// Priority `mangle`: TPROXY must come before any translation of addresses.
const PREROUTING: Chain = Chain { name: "prerouting", kind: "filter", hook: libc::NF_INET_PRE_ROUTING, priority: -150 };
/// Priority `dstnat`, as translation asks for.
const OUTPUT: Chain = Chain { name: "output", kind: "nat", hook: libc::NF_INET_LOCAL_OUT, priority: -100 };
const INPUT: Chain = Chain { name: "input", kind: "filter", hook: libc::NF_INET_LOCAL_IN, priority: 0 };
const IPV4_DESTINATION: u32 = 16;
const IPV6_DESTINATION: u32 = 24;
const DESTINATION_PORT: u32 = 2;
const DNS: [u8; 2] = 53u16.to_be_bytes();
const TCP_FLAGS: u32 = 13;
const ICMP_TYPE: u32 = 0;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Steering; 3] =
        [Steering::Tproxy(Datagrams::Captured), Steering::Tproxy(Datagrams::Refused), Steering::Redirect];

    fn texts(steering: Steering, own: &[&str], nameservers: &[&str]) -> Vec<String> {
        let parse = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let (own, loopback) = (parse(own), parse(nameservers));
        let requests = ruleset(steering, Addresses { own: &own, near_nameservers: &loopback, forwarded: &[5432] });
        requests.into_iter().map(|request| request.what).filter(|what| what.starts_with("rule")).collect()
    }

    fn position(texts: &[String], word: &str) -> usize {
        texts.iter().position(|text| text.contains(word)).unwrap_or_else(|| panic!("no {word} in {texts:?}"))
    }

    #[test]
    fn what_stays_is_decided_before_what_goes() {
        for steering in ALL {
            let texts = texts(steering, &["240.240.0.7", "fd77::7"], &["127.0.0.53"]);
            assert!(position(&texts, "name server") < position(&texts, "loopback"));
            assert!(position(&texts, "port 5432 of the host") < position(&texts, "loopback"));
            assert!(position(&texts, "own address") < position(&texts, "tcp to the proxy"));
            assert_eq!(texts.iter().filter(|text| text.contains("tcp to the proxy")).count(), 2);
            assert_eq!(texts.iter().filter(|text| text.contains("dns to the proxy")).count(), 2);
        }
    }

    #[test]
    fn without_a_proxy_nothing_passes() {
        for steering in [ALL[0], ALL[1]] {
            let texts = texts(steering, &["240.240.0.7"], &[]);
            assert_eq!(position(&texts, "no proxy: nothing"), position(&texts, "dns to the proxy") + 1);
        }
    }

    #[test]
    fn datagrams_go_to_the_proxy_or_nowhere() {
        for steering in ALL {
            let texts = texts(steering, &["240.240.0.7", "fd77::7"], &[]);
            let last = texts.len() - 1;
            assert_eq!(position(&texts, "pings of elsewhere are refused"), last - 1);
            match steering.datagrams() {
                Datagrams::Captured => {
                    assert!(position(&texts, "dns to the proxy") < position(&texts, "datagrams to the proxy"));
                    assert!(position(&texts, "multicast") < position(&texts, "datagrams to the proxy"));
                    assert_eq!(texts.iter().filter(|text| text.contains("datagrams to the proxy")).count(), 2);
                    assert_eq!(texts.iter().filter(|text| text.contains("port 5432 of the host")).count(), 4);
                    assert!(position(&texts, "datagrams to the proxy") < position(&texts, "no proxy: no datagram"));
                }
                Datagrams::Refused => {
                    assert_eq!(position(&texts, "datagrams to elsewhere are refused"), last - 2);
                    assert_eq!(texts.iter().filter(|text| text.contains("port 5432 of the host")).count(), 2);
                }
            }
        }
    }
}
