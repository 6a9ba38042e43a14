//! What a pod's packet rules say: connections of its programs go to the proxy's outbound port, those
//! of callers to its inbound port, by REDIRECT. No I/O.
//!
//! What stays inside the pod is left alone: programs that call each other at 127.0.0.1 or at the
//! pod's own address do so as without a mesh. Of a connection only the first packet meets these
//! rules; connection tracking does the rest, and remembers the destination that was meant.

use super::{Capture, PortRange, Subnet};
use crate::netlink::link::LOOPBACK;
use crate::netlink::message::Request;
use crate::netlink::nft::{Chain, Rule, batch, new_chain, new_table, no_table};

/// The port of the mesh, and that of probes and metrics: the proxy's own.
pub(super) const PROXY_PORTS: [u16; 2] = [15008, 15020];

/// The table in place of the one before, as one batch.
pub(super) fn ruleset(wanted: &Capture) -> Vec<Request> {
    let rules = output(wanted).into_iter().chain(prerouting(wanted));
    let made = [new_table(TABLE), new_chain(TABLE, OUTPUT), new_chain(TABLE, PREROUTING)];
    let requests = no_table(TABLE).into_iter().chain(made);
    batch(requests.chain(rules.map(|rule| rule.request(TABLE))).collect())
}

fn output(wanted: &Capture) -> Vec<Rule> {
    let rule = |comment: &str| Rule::new(OUTPUT, comment);
    let mut rules = vec![
        rule("the proxy's own").user(wanted.proxy_uid).accept(),
        rule("within the pod").leaving_by(LOOPBACK).accept(),
    ];
    rules.extend(wanted.skip_outbound.iter().map(|range| port(rule("skipped port"), *range).accept()));
    rules.extend(
        wanted.skip_subnets.iter().map(|subnet| within(rule("skipped subnet"), *subnet, &DESTINATION).accept()),
    );
    let redirect = |rule: Rule| rule.protocol(libc::IPPROTO_TCP).redirect(wanted.outbound_port);
    match wanted.only_subnets.as_slice() {
        [] => rules.push(redirect(rule("to the proxy"))),
        only => rules.extend(only.iter().map(|subnet| redirect(within(rule("to the proxy"), *subnet, &DESTINATION)))),
    }
    rules
}

fn prerouting(wanted: &Capture) -> Vec<Rule> {
    let rule = |comment: &str| Rule::new(PREROUTING, comment);
    let mut rules = vec![rule("within the pod").come_by(LOOPBACK).accept()];
    rules.extend(PROXY_PORTS.map(|own| port(rule("the proxy's own port"), PortRange::one(own)).accept()));
    rules.extend(wanted.skip_inbound.iter().map(|range| port(rule("skipped port"), *range).accept()));
    rules.extend(wanted.skip_callers.iter().map(|subnet| within(rule("skipped caller"), *subnet, &SOURCE).accept()));
    let redirect = |rule: Rule| rule.redirect(wanted.inbound_port);
    match wanted.only_inbound.as_slice() {
        [] => rules.push(redirect(rule("to the proxy").protocol(libc::IPPROTO_TCP))),
        only => rules.extend(only.iter().map(|range| redirect(port(rule("to the proxy"), *range)))),
    }
    rules
}

fn port(rule: Rule, range: PortRange) -> Rule {
    rule.protocol(libc::IPPROTO_TCP).transport_within(DESTINATION_PORT, (range.first, range.last))
}

fn within(rule: Rule, subnet: Subnet, place: &Place) -> Rule {
    let (octets, mask) = subnet.octets_and_mask();
    let (family, offset) = match subnet.address() {
        std::net::IpAddr::V4(_) => (libc::NFPROTO_IPV4, place.v4),
        std::net::IpAddr::V6(_) => (libc::NFPROTO_IPV6, place.v6),
    };
    rule.family(family).network(offset, &mask, &octets)
}

/// Where an address stands in the network headers.
struct Place {
    v4: u32,
    v6: u32,
}

const TABLE: &str = "weft";
/// Priority `dstnat`, as translation asks for.
const OUTPUT: Chain = Chain { name: "output", kind: "nat", hook: libc::NF_INET_LOCAL_OUT, priority: -100 };
const PREROUTING: Chain = Chain { name: "prerouting", kind: "nat", hook: libc::NF_INET_PRE_ROUTING, priority: -100 };
const SOURCE: Place = Place { v4: 12, v6: 8 };
const DESTINATION: Place = Place { v4: 16, v6: 24 };
const DESTINATION_PORT: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::parse;

    fn texts(line: &str) -> Vec<String> {
        let line = format!("--proxy-uid 2102 --outbound-port 15001 --inbound-port 15006 {line}");
        let wanted = parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap();
        let texts = ruleset(&wanted).into_iter().map(|request| request.what);
        texts.filter(|what| what.starts_with("rule")).map(|what| what[6..what.len() - 1].to_owned()).collect()
    }

    #[test]
    fn what_passes_is_decided_before_what_is_redirected() {
        let own = ["within the pod", "the proxy's own port", "the proxy's own port"];
        let plain = texts("");
        assert_eq!(plain[..3], ["the proxy's own", "within the pod", "to the proxy"]);
        assert_eq!(plain[3..6], own);
        assert_eq!(plain[6..], ["to the proxy"]);
        let all = texts(
            "--skip-inbound-ports 22 --skip-outbound-ports 25,110-120 --skip-outbound-subnets 10.0.0.0/8 \
             --only-outbound-subnets 0.0.0.0/0,::/0 --skip-inbound-subnets 10.9.0.0/16 --only-inbound-ports 80,443",
        );
        assert_eq!(all[2..5], ["skipped port", "skipped port", "skipped subnet"]);
        assert_eq!(all[5..7], ["to the proxy", "to the proxy"]);
        assert_eq!(all[10..], ["skipped port", "skipped caller", "to the proxy", "to the proxy"]);
    }

    #[test]
    fn the_table_takes_the_place_of_the_one_before() {
        let wanted = parse(&["--proxy-uid=2102", "--outbound-port=15001", "--inbound-port=15006"].map(str::to_owned));
        let requests = ruleset(&wanted.unwrap());
        let texts: Vec<&str> = requests.iter().map(|request| request.what.as_str()).collect();
        assert_eq!(texts[..4], ["begin of batch", "table weft", "removal of table weft", "table weft"]);
    }
}
