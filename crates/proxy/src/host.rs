//! The host's loopback, as far as a program in a network namespace of its own may reach it: any port under a name
//! of its own, and single ports as if they were the program's. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where a call to `destination` leads on the host; `None` when it isn't meant for the host. `forwarded` are the
/// ports of the program's own loopback that are the host's.
pub(crate) fn target(destination: SocketAddr, forwarded: &BTreeSet<u16>) -> Option<SocketAddr> {
    let ip = destination.ip().to_canonical();
    let is_meant = ip == ADDRESS || (ip.is_loopback() && forwarded.contains(&destination.port()));
    is_meant.then(|| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), destination.port()))
}

/// The host's name inside of a workload.
pub(crate) const NAME: &str = "host.weft.internal";
/// Its address there: of those that the control plane gives to nobody.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(240, 240, 0, 1));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_name_and_forwarded_ports_lead_to_the_host() {
        let check = |destination: &str, expected: Option<&str>| {
            let found = target(destination.parse().unwrap(), &BTreeSet::from([5432]));
            assert_eq!(found, expected.map(|address| address.parse().unwrap()), "{destination}");
        };
        check("240.240.0.1:80", Some("127.0.0.1:80"));
        check("127.0.0.1:5432", Some("127.0.0.1:5432"));
        check("[::1]:5432", Some("127.0.0.1:5432"));
        check("127.0.0.1:80", None);
        check("240.240.0.2:5432", None);
        check("192.0.2.1:5432", None);
    }
}
