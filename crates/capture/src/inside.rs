//! The first process of a sandbox: makes the network namespace, hands its listeners out, starts PID 1,
//! and then stays as the socket maker, outside of the program's PID and mount namespaces.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::{Pid, getppid};

use crate::blueprint::{Blueprint, Processes};
use crate::channel::Channel;
use crate::error::{Failure, Step};
use crate::guard::{end_with_parent, untraceable};
use crate::message::Message;
use crate::netlink::rules::{Addresses, Datagrams};
use crate::sys::NoProcess;
use crate::{capability, descriptors, init, maker, namespace, network, sys};

/// The ends that the first process was given.
pub(crate) struct Ends {
    /// To the launcher, for the first process.
    pub(crate) setup: Channel,
    /// From the proxy: requests for sockets.
    pub(crate) maker: OwnedFd,
    /// To the launcher, for PID 1.
    pub(crate) program: Channel,
}

/// The first process's life; its exit code tells nothing.
pub(crate) fn run(blueprint: &Blueprint<'_>, ends: Ends) -> i32 {
    match prepare(blueprint, &ends) {
        Ok(init) => {
            let Ends { setup, maker, program } = ends;
            drop((setup, program));
            maker::serve(&maker, init)
        }
        Err(failure) => {
            // If the launcher is gone, nobody wants to know.
            let _ = ends.setup.send(&Message::Failed(failure));
            1
        }
    }
}

fn prepare(blueprint: &Blueprint<'_>, ends: &Ends) -> Result<Pid, Failure> {
    sys::await_children();
    end_with_parent()?;
    if getppid() != blueprint.launcher {
        return Err(Failure::new(Step::Fork, Errno::ESRCH, "the launcher has ended"));
    }
    descriptors::close_private(&[ends.setup.as_fd(), ends.maker.as_fd(), ends.program.as_fd()]);
    namespace::enter()?;
    // Entering a user namespace may have undone it.
    end_with_parent()?;
    untraceable()?;
    set_up_network(blueprint, &ends.setup)?;
    if blueprint.processes == Processes::Own {
        namespace::into(CloneFlags::CLONE_NEWPID, Step::PidNamespace)?;
    }
    let init = start_init(blueprint, ends)?;
    descriptors::close_all(&[ends.maker.as_fd(), ends.setup.as_fd(), ends.program.as_fd()])
        .and_then(|()| nix::unistd::chdir("/"))
        .map_err(|errno| Failure::new(Step::Supervise, errno, "open files"))?;
    capability::keep(capability::NET_BIND_SERVICE)?;
    Ok(init)
}

fn set_up_network(blueprint: &Blueprint<'_>, setup: &Channel) -> Result<(), Failure> {
    let plan = blueprint.plan;
    let hand_over = |errno| Failure::new(Step::HandOver, errno, "");
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = plan.addresses.iter().copied().partition(IpAddr::is_ipv4);
    network::connect(&v4)?;
    let mut own = v4;
    match network::connect(&v6) {
        Ok(()) => own.extend(v6),
        Err(refused) => {
            let note = format!("programs see IPv4 only: {refused}");
            setup.send(&Message::Note(note)).map_err(hand_over)?;
        }
    }
    let listeners = network::listen(&own)?;
    let near_nameservers = near_nameservers(blueprint, &own);
    let addresses = Addresses { own: &own, near_nameservers: &near_nameservers, forwarded: &plan.forward };
    let datagrams = network::datagrams(&own);
    let wanted = if datagrams.is_ok() { Datagrams::Captured } else { Datagrams::Refused };
    let steering = network::steer(plan.redirection, wanted, addresses)?;
    let mut handed: Vec<&OwnedFd> = listeners.outbound.iter().chain(&listeners.dns).collect();
    match (steering.datagrams(), &datagrams) {
        (Datagrams::Captured, Ok(pairs)) => {
            handed.extend(pairs.iter().flat_map(|pair| [&pair.captured, &pair.answers]))
        }
        (_, datagrams) => {
            let why = datagrams.as_ref().err().map_or_else(|| "no TPROXY".to_owned(), ToString::to_string);
            let note = Message::Note(format!("UDP other than DNS is refused: {why}"));
            setup.send(&note).map_err(hand_over)?;
        }
    }
    let numbers: Vec<RawFd> = handed.into_iter().map(AsRawFd::as_raw_fd).collect();
    setup.send_with(&Message::Sockets(steering), &numbers).map_err(hand_over)
}

/// Name servers at addresses that stay inside must be steered to the proxy by themselves. Without a resolv.conf,
/// which can't be made in a folder of root's, resolvers ask at 127.0.0.1.
fn near_nameservers(blueprint: &Blueprint<'_>, own: &[IpAddr]) -> Vec<IpAddr> {
    let is_near = |ip: &IpAddr| ip.is_loopback() || own.contains(ip);
    let mut servers: Vec<IpAddr> = blueprint.plan.nameservers.iter().copied().filter(is_near).collect();
    if blueprint.resolv_conf.is_none() {
        servers.push(IpAddr::from([127, 0, 0, 1]));
    }
    servers.retain(|server| own.iter().any(|ip| ip.is_ipv4() == server.is_ipv4()));
    servers
}

fn start_init(blueprint: &Blueprint<'_>, ends: &Ends) -> Result<Pid, Failure> {
    let kept = [ends.program.as_fd()];
    let body = || {
        descriptors::close_private(&kept);
        init::run(blueprint, &ends.program)
    };
    sys::spawn(body).map_err(|reason| match reason {
        NoProcess::Refused(errno) => Failure::new(Step::Fork, errno, ""),
        NoProcess::Threads(count) => Failure::new(Step::Fork, Errno::EPROTO, format!("{count} threads")),
    })
}
