//! DNS messages (RFC 1035), and which service a name means, as Kubernetes resolves names. Pure.

use std::net::{IpAddr, Ipv6Addr};

use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE};
use weft_wire::bootstrap::Names;

use crate::host;

/// One question.
pub(super) struct Question<'a> {
    packet: Packet<'a>,
    /// The name, in lower case, without a dot at its end.
    pub(super) name: String,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The name has these addresses, of which those of the asked family are told.
    Addresses(Vec<IpAddr>),
    /// The address has this name.
    Name(String),
    /// There is no such name.
    NoSuchName,
    /// It can't be said just now.
    Failed,
}

/// Whose name it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The mesh's: the full name of the service.
    Mesh(String),
    /// The mesh's if it has this service, else the outside's.
    Either(String),
    /// Under the mesh's suffix, and no service can have it.
    Nobody,
    /// The host's own, inside of a workload.
    Host,
    /// Not the mesh's.
    Outside,
}

/// Whose name `name` is: `NAME.NS.<suffix>`, `NAME.NS.svc`, `NAME.NS` or `NAME`.
pub(super) fn whose(name: &str, names: &Names) -> Asked {
    if name == host::NAME {
        return Asked::Host;
    }
    let suffix = names.suffix.as_str();
    // `cluster.local` of `svc.cluster.local`: all of it is the mesh's.
    let (first, domain) = suffix.split_once('.').unwrap_or((suffix, suffix));
    if let Some(rest) = strip(name, suffix) {
        return match rest.split('.').count() {
            2 | 3 => Asked::Mesh(name.to_owned()),
            _ => Asked::Nobody,
        };
    }
    if name == suffix || name == domain || strip(name, domain).is_some() {
        return Asked::Nobody;
    }
    if let Some(rest) = strip(name, first)
        && rest.split('.').count() == 2
    {
        return Asked::Mesh(format!("{rest}.{suffix}"));
    }
    match name.split('.').count() {
        _ if name.is_empty() => Asked::Outside,
        1 => Asked::Either(format!("{name}.{}.{suffix}", names.namespace)),
        2 => Asked::Either(format!("{name}.{suffix}")),
        _ => Asked::Outside,
    }
}

/// The address of a name that addresses are looked up by (RFC 1035, 3.5; RFC 3596, 2.5).
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(labels) = strip(name, "in-addr.arpa") {
        let octets: Vec<u8> = labels.rsplit('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        return <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    }
    let digits: Vec<&str> = strip(name, "ip6.arpa")?.rsplit('.').collect();
    if digits.len() != 32 || digits.iter().any(|digit| digit.len() != 1) {
        return None;
    }
    u128::from_str_radix(&digits.concat(), 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into())
}

/// What stands before `.<suffix>`, if `name` ends so.
fn strip<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    name.strip_suffix(suffix)?.strip_suffix('.')
}

impl<'a> Question<'a> {
    /// Reads a query of one question for the Internet's class. `None`: it is another kind of
    /// message, with which name servers may deal.
    pub(super) fn parse(query: &'a [u8]) -> Option<Self> {
        let packet = Packet::parse(query).ok()?;
        let [question] = packet.questions.as_slice() else { return None };
        let internet = matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY);
        if packet.has_flags(PacketFlag::RESPONSE) || !internet {
            return None;
        }
        let name = question.qname.to_string().to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
        Some(Self { packet, name })
    }

    /// The address whose name is asked for, if that is the question.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let qtype = self.packet.questions.first()?.qtype;
        matches!(qtype, QTYPE::TYPE(TYPE::PTR) | QTYPE::ANY).then(|| reversed(&self.name)).flatten()
    }

    /// The reply's bytes.
    pub(super) fn reply(&self, answer: Answer) -> Option<Vec<u8>> {
        let mut reply = Packet::new_reply(self.packet.id());
        let question = self.packet.questions.first()?;
        reply.questions = vec![question.clone()];
        reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
        if self.packet.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        match answer {
            Answer::Addresses(addresses) => {
                let data = addresses.into_iter().filter_map(|ip| record(ip, question.qtype));
                let name = &question.qname;
                reply.answers =
                    data.map(|data| ResourceRecord::new(name.clone(), CLASS::IN, TTL_SECONDS, data)).collect();
            }
            Answer::Name(name) => {
                let data = RData::PTR(PTR(Name::new(&name).ok()?.into_owned()));
                reply.answers = vec![ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL_SECONDS, data)];
            }
            Answer::NoSuchName => *reply.rcode_mut() = RCODE::NameError,
            Answer::Failed => *reply.rcode_mut() = RCODE::ServerFailure,
        }
        reply.build_bytes_vec_compressed().ok()
    }
}

fn record(ip: IpAddr, qtype: QTYPE) -> Option<RData<'static>> {
    match (ip, qtype) {
        (IpAddr::V4(ip), QTYPE::TYPE(TYPE::A) | QTYPE::ANY) => Some(RData::A(A::from(ip))),
        (IpAddr::V6(ip), QTYPE::TYPE(TYPE::AAAA) | QTYPE::ANY) => Some(RData::AAAA(AAAA::from(ip))),
        _ => None,
    }
}

/// Short: addresses are stable, but a service may go.
const TTL_SECONDS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { namespace: "shop".to_owned(), suffix: "svc.cluster.local".to_owned(), upstream: Vec::new() }
    }

    #[test]
    fn names_mean_services_as_in_kubernetes() {
        let mesh = |host: &str| Asked::Mesh(host.to_owned());
        let either = |host: &str| Asked::Either(host.to_owned());
        for (name, expected) in [
            ("web.shop.svc.cluster.local", mesh("web.shop.svc.cluster.local")),
            ("web-1.web.shop.svc.cluster.local", mesh("web-1.web.shop.svc.cluster.local")),
            ("web.shop.svc", mesh("web.shop.svc.cluster.local")),
            ("web.shop", either("web.shop.svc.cluster.local")),
            ("web", either("web.shop.svc.cluster.local")),
            ("web.svc.cluster.local", Asked::Nobody),
            ("svc.cluster.local", Asked::Nobody),
            ("www.example.com.cluster.local", Asked::Nobody),
            ("a.www.example.com.svc.cluster.local", Asked::Nobody),
            ("www.example.com", Asked::Outside),
            ("host.weft.internal", Asked::Host),
            ("", Asked::Outside),
        ] {
            assert_eq!(whose(name, &names()), expected, "{name}");
        }
    }

    #[test]
    fn names_that_addresses_are_looked_up_by() {
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.7.6.6.5.6.7.7.d.f.ip6.arpa";
        for (name, expected) in [
            ("1.2.240.240.in-addr.arpa", Some("240.240.2.1")),
            (v6, Some("fd77:6566:7400::1")),
            ("2.240.240.in-addr.arpa", None),
            ("9.1.2.240.240.in-addr.arpa", None),
            ("256.2.240.240.in-addr.arpa", None),
            ("in-addr.arpa", None),
            (&v6[2..], None),
            (&v6.replacen("1.0", "g.0", 1), None),
            (&v6.replacen("1.0", "10", 1), None),
            ("1.2.240.240.example.com", None),
        ] {
            assert_eq!(reversed(name), expected.map(|ip| ip.parse().unwrap()), "{name}");
        }
        assert_eq!(Question::parse(&query("1.2.240.240.in-addr.arpa", TYPE::A)).unwrap().address(), None);
    }

    fn query(name: &str, qtype: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        let question = simple_dns::Question::new(Name::new_unchecked(name), qtype.into(), CLASS::IN.into(), false);
        packet.questions.push(question);
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn addresses_of_the_asked_family_are_told() {
        let both: Vec<IpAddr> = vec!["240.240.0.1".parse().unwrap(), "fd77:6566:7400::1".parse().unwrap()];
        for (qtype, expected) in [(TYPE::A, 1), (TYPE::AAAA, 1), (TYPE::MX, 0)] {
            let bytes = query("Web.shop", qtype);
            let question = Question::parse(&bytes).unwrap();
            assert_eq!(question.name, "web.shop");
            let reply = question.reply(Answer::Addresses(both.clone())).unwrap();
            let reply = Packet::parse(&reply).unwrap();
            assert_eq!((reply.id(), reply.rcode(), reply.answers.len()), (7, RCODE::NoError, expected), "{qtype:?}");
        }
        let bytes = query("web.shop", TYPE::A);
        let reply = Question::parse(&bytes).unwrap().reply(Answer::NoSuchName).unwrap();
        assert_eq!(Packet::parse(&reply).unwrap().rcode(), RCODE::NameError);
    }

    #[test]
    fn what_is_no_question_is_left_to_name_servers() {
        assert!(Question::parse(b"").is_none());
        assert!(Question::parse(&[0xff; 40]).is_none());
        let mut reply = query("web", TYPE::A);
        reply[2] |= 0x80;
        assert!(Question::parse(&reply).is_none());
    }
}
