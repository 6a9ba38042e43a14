//! The destinations that are known or asked for, by name and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use weft_mesh::record::Destination;

use super::Order;
use crate::limits::{DESTINATION_IDLE, SUBSCRIPTIONS};
use crate::service::Service;
use crate::why::{Cause, Failure};

#[derive(Default)]
pub(super) struct Destinations {
    by_host: HashMap<Rc<str>, Rc<Service>>,
    by_address: HashMap<IpAddr, Rc<str>>,
    asked: HashMap<Key, Asked>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Host(String),
    Address(IpAddr),
}

struct Asked {
    state: State,
    used: Instant,
}

enum State {
    Waiting(Rc<Notify>),
    Known,
    Absent,
}

pub(super) enum Looked {
    Found(Option<Rc<Service>>),
    Wait(Rc<Notify>),
}

impl Destinations {
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    pub(super) fn at_address(&self, ip: IpAddr) -> Option<Rc<Service>> {
        self.at_host(self.by_address.get(&ip)?)
    }

    pub(super) fn at_host(&self, host: &str) -> Option<Rc<Service>> {
        let service = self.by_host.get(host)?;
        service.used.set(Instant::now());
        Some(service.clone())
    }

    fn find(&self, key: &Key) -> Option<Rc<Service>> {
        match key {
            Key::Host(host) => self.at_host(host),
            Key::Address(ip) => self.at_address(*ip),
        }
    }

    /// What is known of `key`; asks for it when nobody has.
    pub(super) fn look(&mut self, key: &Key, orders: &mpsc::UnboundedSender<Order>) -> Result<Looked, Failure> {
        if let Some(service) = self.find(key) {
            return Ok(Looked::Found(Some(service)));
        }
        let full = !self.asked.contains_key(key) && self.asked.len() >= SUBSCRIPTIONS && !self.forget_absent(orders);
        match self.asked.get_mut(key) {
            Some(asked) => {
                asked.used = Instant::now();
                Ok(match &asked.state {
                    State::Waiting(arrived) => Looked::Wait(arrived.clone()),
                    State::Known | State::Absent => Looked::Found(None),
                })
            }
            None if full => {
                let detail = format!("{} names and addresses are asked for already", self.asked.len());
                Err(Failure::outbound(Cause::Limit, detail))
            }
            None => {
                let arrived = Rc::new(Notify::new());
                let asked = Asked { state: State::Waiting(arrived.clone()), used: Instant::now() };
                self.asked.insert(key.clone(), asked);
                // The control thread is gone only when the process ends.
                let _ended = orders.send(Order::Subscribe(key.text()));
                Ok(Looked::Wait(arrived))
            }
        }
    }

    /// Gives up the name or address that nobody has and that wasn't asked for the longest. A program
    /// that calls many others outside of the mesh goes on, so. Returns whether there was one.
    fn forget_absent(&mut self, orders: &mpsc::UnboundedSender<Order>) -> bool {
        let absent = self.asked.iter().filter(|(_, asked)| matches!(asked.state, State::Absent));
        let Some(key) = absent.min_by_key(|(_, asked)| asked.used).map(|(key, _)| key.clone()) else { return false };
        self.asked.remove(&key);
        // The control thread is gone only when the process ends.
        let _ended = orders.send(Order::Unsubscribe(key.text()));
        true
    }

    pub(super) fn put(&mut self, record: Destination, now: Instant) {
        let host: Rc<str> = Rc::from(record.host.as_str());
        self.by_address.retain(|_, of| *of != host);
        for ip in &record.addresses {
            self.by_address.insert(*ip, host.clone());
        }
        for key in keys(&record) {
            self.settle(&key, State::Known);
        }
        match self.by_host.get(&host) {
            Some(service) => service.update(record, now),
            None => {
                self.by_host.insert(host, Rc::new(Service::new(record, now)));
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.settle(&Key::parse(name), State::Absent);
        if let Ok(ip) = name.parse::<IpAddr>() {
            self.by_address.remove(&ip);
        }
        if let Some(service) = self.by_host.remove(name) {
            self.by_address.retain(|_, host| **host != *name);
            for key in keys(&service.record()) {
                self.settle(&key, State::Absent);
            }
        }
    }

    /// Has those who wait look again.
    pub(super) fn wake(&self) {
        for asked in self.asked.values() {
            if let State::Waiting(arrived) = &asked.state {
                arrived.notify_waiters();
            }
        }
    }

    fn settle(&mut self, key: &Key, state: State) {
        if let Some(asked) = self.asked.get_mut(key)
            && let State::Waiting(arrived) = std::mem::replace(&mut asked.state, state)
        {
            arrived.notify_waiters();
        }
    }

    /// Removes what is unused, and returns the names under which it was asked for or known.
    pub(super) fn unused(&mut self, now: Instant) -> Vec<Key> {
        let idle = |used: Instant| now.saturating_duration_since(used) > DESTINATION_IDLE;
        let mut unused = Vec::new();
        self.by_host.retain(|host, service| {
            // A connection that is open holds its service.
            let keep = !idle(service.used.get()) || Rc::strong_count(service) > 1;
            if !keep {
                unused.push(Key::Host(host.to_string()));
            }
            keep
        });
        let by_host = &self.by_host;
        self.by_address.retain(|_, host| by_host.contains_key(host));
        let by_address = &self.by_address;
        self.asked.retain(|key, asked| {
            let served = match key {
                Key::Host(host) => by_host.contains_key(host.as_str()),
                Key::Address(ip) => by_address.contains_key(ip),
            };
            let keep = served || !idle(asked.used);
            if !keep {
                unused.push(key.clone());
            }
            keep
        });
        unused
    }
}

impl Key {
    fn parse(name: &str) -> Self {
        name.parse().map_or_else(|_| Self::Host(name.to_owned()), Self::Address)
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Host(host) => host.clone(),
            Self::Address(ip) => ip.to_string(),
        }
    }
}

/// Every name by which a record can have been asked for.
fn keys(record: &Destination) -> impl Iterator<Item = Key> {
    let addresses = record.addresses.iter().copied().map(Key::Address);
    std::iter::once(Key::Host(record.host.clone())).chain(addresses)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_is_outside_of_the_mesh_never_fills_the_bound() {
        let (orders, mut asked) = mpsc::unbounded_channel();
        let mut destinations = Destinations::default();
        let address = |at: usize| Key::Address(Ipv4Addr::from_bits(at as u32).into());
        for at in 0..SUBSCRIPTIONS {
            assert!(matches!(destinations.look(&address(at), &orders), Ok(Looked::Wait(_))));
        }
        assert!(destinations.look(&address(SUBSCRIPTIONS), &orders).is_err(), "nobody has answered yet");
        destinations.remove(&address(7).text());
        assert!(matches!(destinations.look(&address(7), &orders), Ok(Looked::Found(None))));
        assert!(matches!(destinations.look(&address(SUBSCRIPTIONS), &orders), Ok(Looked::Wait(_))));
        let mut last = Vec::new();
        while let Ok(order) = asked.try_recv() {
            last.push(order);
        }
        let expected = [Order::Unsubscribe(address(7).text()), Order::Subscribe(address(SUBSCRIPTIONS).text())];
        assert_eq!(last[SUBSCRIPTIONS..], expected);
    }
}
