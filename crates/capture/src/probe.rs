//! What this kernel allows, found out by doing it in a process that is thrown away.

use std::net::IpAddr;
use std::os::fd::AsFd;

use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;

use crate::channel::Channel;
use crate::error::{CaptureError, Failure, Step};
use crate::guard::end_with_parent;
use crate::message::Message;
use crate::mounts::{own_namespace, own_proc};
use crate::netlink::rules::{Addresses, Datagrams, Steering};
use crate::sys::NoProcess;
use crate::{capability, descriptors, namespace, network, sys};

/// One ability of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub ability: &'static str,
    /// What follows where it is missing. `None`: no program can be run under Weft.
    pub otherwise: Option<&'static str>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Works,
    /// It was refused; [`Failure::hint`] says what to do.
    Missing(Failure),
    /// It needs something that was refused before.
    NotTried,
}

/// Tries each ability that [`crate::prepare`] builds on, in order. The caller must have one thread.
///
/// # Errors
/// [`CaptureError::Threads`], or a failure to start a process at all.
pub fn probe() -> Result<Vec<Finding>, CaptureError> {
    let failed = |errno| Failure::new(Step::Fork, errno, "");
    let (here, there) = Channel::pair().map_err(failed)?;
    let child = sys::spawn(|| {
        descriptors::close_private(&[there.as_fd()]);
        i32::from(try_all(&there).is_err())
    });
    let child = child.map_err(|reason| match reason {
        NoProcess::Threads(count) => CaptureError::Threads(count),
        NoProcess::Refused(errno) => failed(errno).into(),
    })?;
    drop(there);
    let mut findings = Vec::new();
    for Trial { ability, otherwise, .. } in TRIALS {
        let outcome = match here.receive() {
            Ok(Some(packet)) => match packet.message {
                Message::Failed(failure) => Outcome::Missing(failure),
                _ => Outcome::Works,
            },
            Ok(None) | Err(_) => Outcome::NotTried,
        };
        findings.push(Finding { ability, otherwise, outcome });
    }
    // ECHILD: this process lets the kernel reap its children.
    let _ = waitpid(child, None);
    Ok(findings)
}

struct Trial {
    ability: &'static str,
    otherwise: Option<&'static str>,
    act: fn() -> Result<(), Failure>,
}

/// One message for each trial. Where an indispensable one is refused, the rest isn't tried: it would be done to the host.
fn try_all(launcher: &Channel) -> Result<(), Failure> {
    let report = |message| launcher.send(&message).map_err(|errno| Failure::new(Step::HandOver, errno, ""));
    sys::await_children();
    end_with_parent()?;
    for trial in &TRIALS {
        match (trial.act)() {
            Ok(()) => report(Message::Ready)?,
            Err(failure) => {
                report(Message::Failed(failure))?;
                if trial.otherwise.is_none() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn connect() -> Result<(), Failure> {
    network::connect(&[OWN_IPV4])?;
    network::listen(&[OWN_IPV4]).map(drop)
}

fn connect_ipv6() -> Result<(), Failure> {
    network::connect(&[OWN_IPV6])?;
    network::listen(&[OWN_IPV6]).map(drop)
}

fn tproxy() -> Result<(), Failure> {
    network::apply(
        Steering::Tproxy(Datagrams::Captured),
        Addresses { own: &[OWN_IPV4], near_nameservers: &[], forwarded: &[] },
    )
}

fn datagrams() -> Result<(), Failure> {
    network::datagrams(&[OWN_IPV4]).map(drop)
}

/// In a network namespace of its own: a table `weft` stands in the first.
fn redirect() -> Result<(), Failure> {
    namespace::into(CloneFlags::CLONE_NEWNET, Step::NetworkNamespace)?;
    network::apply(Steering::Redirect, Addresses { own: &[OWN_IPV4], near_nameservers: &[], forwarded: &[] })
}

/// In a grandchild: only a new process is inside a new PID namespace.
fn processes() -> Result<(), Failure> {
    namespace::into(CloneFlags::CLONE_NEWPID, Step::PidNamespace)?;
    let failed = |errno| Failure::new(Step::Fork, errno, "");
    let (here, there) = Channel::pair().map_err(failed)?;
    let child = sys::spawn(|| {
        let message = own_proc().map_or_else(Message::Failed, |()| Message::Ready);
        i32::from(there.send(&message).is_err())
    });
    let child = child.map_err(|reason| match reason {
        NoProcess::Threads(_) => failed(nix::errno::Errno::EPROTO),
        NoProcess::Refused(errno) => failed(errno),
    })?;
    drop(there);
    let received = here.receive();
    waitpid(child, None).map_err(failed)?;
    match received.map_err(failed)?.map(|packet| packet.message) {
        Some(Message::Ready) => Ok(()),
        Some(Message::Failed(failure)) => Err(failure),
        _ => Err(Failure::new(Step::Proc, nix::errno::Errno::ECHILD, "")),
    }
}

/// Documentation's addresses (RFC 5737, RFC 3849); nothing leaves the namespace.
const OWN_IPV4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const OWN_IPV6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

const TRIALS: [Trial; 9] = [
    Trial { ability: "network namespaces", otherwise: None, act: namespace::enter },
    Trial { ability: "addresses, routes and transparent sockets", otherwise: None, act: connect },
    Trial { ability: "IPv6", otherwise: Some("programs see IPv4 only"), act: connect_ipv6 },
    Trial {
        ability: "steering by TPROXY",
        otherwise: Some("REDIRECT is used, which costs more for each connection, and UDP other than DNS is refused"),
        act: tproxy,
    },
    Trial {
        ability: "sockets that answer for others, for UDP",
        otherwise: Some("UDP other than DNS is refused"),
        act: datagrams,
    },
    Trial { ability: "steering by REDIRECT", otherwise: Some("TPROXY is needed"), act: redirect },
    Trial { ability: "mount namespaces", otherwise: None, act: own_namespace },
    Trial {
        ability: "PID namespaces with a /proc",
        otherwise: Some("programs see the processes around them, and what they leave behind is ended less surely"),
        act: processes,
    },
    Trial { ability: "giving capabilities up", otherwise: None, act: capability::restrict },
];
