//! nf_tables: tables, chains, rules and the expressions that rules are made of. No I/O, and no
//! opinion of what the rules should say. Numbers are linux/netfilter/nf_tables.h's; they travel in
//! network order.

use super::message::{Request, attribute, nested};

/// A rule under construction: conditions first, then what is done.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    chain: &'static str,
    comment: String,
    expressions: Vec<Vec<u8>>,
}

/// Where a chain listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// `NF_INET_…`.
    pub(crate) hook: i32,
    pub(crate) priority: i32,
}

impl Rule {
    /// An empty rule; `comment` is shown by `nft list ruleset` and in errors.
    pub(crate) fn new(chain: Chain, comment: impl Into<String>) -> Self {
        Self { chain: chain.name, comment: comment.into(), expressions: Vec::new() }
    }

    /// If the packet's family (`NFPROTO_…`) is this.
    pub(crate) fn family(self, family: i32) -> Self {
        // The cast is exact: at most 10.
        self.meta(libc::NFT_META_NFPROTO).compare(libc::NFT_CMP_EQ, &[family as u8])
    }

    /// If the packet's protocol (`IPPROTO_…`) is this.
    pub(crate) fn protocol(self, protocol: i32) -> Self {
        // The cast is exact: TCP's and UDP's numbers.
        self.meta(libc::NFT_META_L4PROTO).compare(libc::NFT_CMP_EQ, &[protocol as u8])
    }

    /// If bytes of the network header, masked, are these.
    pub(crate) fn network(self, offset: u32, mask: &[u8], value: &[u8]) -> Self {
        let rule = self.payload(libc::NFT_PAYLOAD_NETWORK_HEADER, offset, value.len());
        let rule = if mask.iter().all(|byte| *byte == 0xff) { rule } else { rule.bits(mask) };
        rule.compare(libc::NFT_CMP_EQ, value)
    }

    /// If bytes of the transport header are these.
    pub(crate) fn transport(self, offset: u32, value: &[u8]) -> Self {
        self.payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, offset, value.len()).compare(libc::NFT_CMP_EQ, value)
    }

    /// If bytes of the transport header, masked, are others.
    pub(crate) fn transport_not(self, offset: u32, mask: &[u8], value: &[u8]) -> Self {
        let rule = self.payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, offset, value.len());
        rule.bits(mask).compare(libc::NFT_CMP_NEQ, value)
    }

    /// If a port of the transport header lies between these two, or is one of them.
    pub(crate) fn transport_within(self, offset: u32, ports: (u16, u16)) -> Self {
        let rule = self.payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2);
        rule.compare(libc::NFT_CMP_GTE, &ports.0.to_be_bytes()).compare(libc::NFT_CMP_LTE, &ports.1.to_be_bytes())
    }

    /// If the packet leaves by the interface of this index.
    pub(crate) fn leaving_by(self, interface: u32) -> Self {
        self.meta(libc::NFT_META_OIF).compare(libc::NFT_CMP_EQ, &interface.to_ne_bytes())
    }

    /// If the packet came in by the interface of this index.
    pub(crate) fn come_by(self, interface: u32) -> Self {
        self.meta(libc::NFT_META_IIF).compare(libc::NFT_CMP_EQ, &interface.to_ne_bytes())
    }

    /// If the packet is a socket's of this user.
    pub(crate) fn user(self, uid: u32) -> Self {
        self.meta(libc::NFT_META_SKUID).compare(libc::NFT_CMP_EQ, &uid.to_ne_bytes())
    }

    /// Accept.
    pub(crate) fn accept(self) -> Self {
        self.verdict(libc::NF_ACCEPT)
    }

    /// Drop.
    pub(crate) fn drop(self) -> Self {
        self.verdict(libc::NF_DROP)
    }

    /// Give it to the socket that listens at this address and port, and accept. If there is none, go on.
    pub(crate) fn tproxy(self, family: i32, address: &[u8], port: u16) -> Self {
        let rule = self.immediate(libc::NFT_REG_1, address).immediate(libc::NFT_REG_2, &port.to_be_bytes());
        let attributes = [number(1, family), number(2, libc::NFT_REG_1), number(3, libc::NFT_REG_2)];
        rule.expression("tproxy", &attributes).accept()
    }

    /// Change the destination to this host's loopback and this port.
    pub(crate) fn redirect(self, port: u16) -> Self {
        self.immediate(libc::NFT_REG_1, &port.to_be_bytes()).expression("redir", &[number(1, libc::NFT_REG_1)])
    }

    /// Refuse with the message of ICMP or ICMPv6 that `code` (`NFT_REJECT_ICMPX_…`) stands for.
    pub(crate) fn refuse(self, code: i32) -> Self {
        // The cast is exact: at most 3.
        let code = attribute(2, &[code as u8]);
        self.expression("reject", &[number(1, libc::NFT_REJECT_ICMPX_UNREACH), code])
    }

    /// The request that adds it.
    pub(crate) fn request(&self, table: &str) -> Request {
        let comment = format!("{}\0", self.comment);
        // A comment is type 0 in the user data of libnftnl: type, length, text.
        let mut user_data = vec![0, comment.len() as u8];
        user_data.extend(comment.as_bytes());
        let elements: Vec<Vec<u8>> =
            self.expressions.iter().map(|expression| nested(1, std::slice::from_ref(expression))).collect();
        let attributes = [string(1, table), string(2, self.chain), nested(4, &elements), attribute(7, &user_data)];
        request(
            libc::NFT_MSG_NEWRULE,
            libc::NLM_F_CREATE | libc::NLM_F_APPEND,
            &attributes,
            format!("rule `{}`", self.comment),
        )
    }

    fn meta(self, key: i32) -> Self {
        self.expression("meta", &[number(1, libc::NFT_REG_1), number(2, key)])
    }

    fn payload(self, base: i32, offset: u32, length: usize) -> Self {
        let place = [attribute(3, &offset.to_be_bytes()), attribute(4, &(length as u32).to_be_bytes())].concat();
        self.expression("payload", &[number(1, libc::NFT_REG_1), number(2, base), place])
    }

    fn bits(self, mask: &[u8]) -> Self {
        let length = attribute(3, &(mask.len() as u32).to_be_bytes());
        let attributes = [
            number(1, libc::NFT_REG_1),
            number(2, libc::NFT_REG_1),
            length,
            nested(4, &[attribute(1, mask)]),
            nested(5, &[attribute(1, &vec![0; mask.len()])]),
        ];
        self.expression("bitwise", &attributes)
    }

    fn compare(self, operation: i32, value: &[u8]) -> Self {
        let data = nested(3, &[attribute(1, value)]);
        self.expression("cmp", &[number(1, libc::NFT_REG_1), number(2, operation), data])
    }

    fn immediate(self, register: i32, value: &[u8]) -> Self {
        self.expression("immediate", &[number(1, register), nested(2, &[attribute(1, value)])])
    }

    fn verdict(self, code: i32) -> Self {
        let verdict = nested(2, &[nested(2, &[number(1, code)])]);
        self.expression("immediate", &[number(1, libc::NFT_REG_VERDICT), verdict])
    }

    fn expression(mut self, name: &str, attributes: &[Vec<u8>]) -> Self {
        self.expressions.push([string(1, name), nested(2, attributes)].concat());
        self
    }
}

/// The request that makes a table for both families.
pub(crate) fn new_table(table: &str) -> Request {
    let attributes = [string(1, table)];
    request(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &attributes, format!("table {table}"))
}

/// The requests that remove a table, whether there is one or not.
pub(crate) fn no_table(table: &str) -> [Request; 2] {
    let attributes = [string(1, table)];
    let make = request(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE, &attributes, format!("table {table}"));
    [make, request(libc::NFT_MSG_DELTABLE, 0, &attributes, format!("removal of table {table}"))]
}

/// The request that makes a chain, which accepts what no rule decides.
pub(crate) fn new_chain(table: &str, chain: Chain) -> Request {
    let hook = nested(4, &[number(1, chain.hook), number(2, chain.priority)]);
    let attributes = [string(1, table), string(3, chain.name), hook, string(7, chain.kind)];
    request(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &attributes, format!("chain {}", chain.name))
}

/// Requests as one batch: all of them take effect, or none.
pub(crate) fn batch(requests: Vec<Request>) -> Vec<Request> {
    let edge = |kind: i32, what: &str| {
        let mut body = vec![libc::AF_UNSPEC as u8, 0];
        body.extend((libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes());
        Request { kind: kind as u16, flags: 0, body, what: what.into() }
    };
    let begin = edge(libc::NFNL_MSG_BATCH_BEGIN, "begin of batch");
    let end = edge(libc::NFNL_MSG_BATCH_END, "end of batch");
    [begin].into_iter().chain(requests).chain([end]).collect()
}

fn request(message: i32, flags: i32, attributes: &[Vec<u8>], what: String) -> Request {
    // struct nfgenmsg: family, version, resource.
    let mut body = vec![libc::NFPROTO_INET as u8, 0, 0, 0];
    body.extend(attributes.concat());
    let kind = (libc::NFNL_SUBSYS_NFTABLES << 8 | message) as u16;
    Request { kind, flags: (flags | libc::NLM_F_ACK) as u16, body, what }
}

fn number(kind: u16, value: i32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn string(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, format!("{value}\0").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: Chain = Chain { name: "pre", kind: "filter", hook: 0, priority: -150 };

    /// The names of a rule's expressions.
    fn names(rule: &Rule) -> Vec<String> {
        let name = |expression: &Vec<u8>| {
            let length = usize::from(u16::from_ne_bytes([expression[0], expression[1]]));
            String::from_utf8(expression[4..length - 1].to_vec()).unwrap()
        };
        rule.expressions.iter().map(name).collect()
    }

    #[test]
    fn conditions_load_and_compare() {
        let rule =
            Rule::new(CHAIN, "x").family(libc::NFPROTO_IPV4).network(16, &[255, 0, 0, 0], &[127, 0, 0, 0]).accept();
        assert_eq!(names(&rule), ["meta", "cmp", "payload", "bitwise", "cmp", "immediate"]);
        let whole = Rule::new(CHAIN, "x").network(16, &[255; 4], &[10, 0, 0, 1]);
        assert_eq!(names(&whole), ["payload", "cmp"]);
    }

    #[test]
    fn tproxy_takes_address_and_port_from_registers_then_accepts() {
        let rule = Rule::new(CHAIN, "x").tproxy(libc::NFPROTO_IPV4, &[127, 0, 0, 1], 15001);
        assert_eq!(names(&rule), ["immediate", "immediate", "tproxy", "immediate"]);
        assert!(rule.expressions[1].windows(2).any(|pair| pair == 15001u16.to_be_bytes()));
    }

    #[test]
    fn a_rule_carries_its_comment() {
        let request = Rule::new(CHAIN, "why").accept().request("weft");
        assert_eq!(request.what, "rule `why`");
        assert!(request.body.windows(6).any(|bytes| bytes == b"\0\x04why\0"), "{:?}", request.body);
    }

    #[test]
    fn a_batch_has_two_ends() {
        let batch = batch(vec![new_table("weft"), new_chain("weft", CHAIN)]);
        let kinds: Vec<u16> = batch.iter().map(|request| request.kind).collect();
        assert_eq!(kinds, [16, 0x0a00, 0x0a03, 17]);
        assert_eq!(batch[0].body, [0, 0, 0, 10]);
    }
}
