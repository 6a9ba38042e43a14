//! The launcher's side: prepares a sandbox and receives what the proxy needs from it.

use std::fs;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::{Pid, getpid};
use weft_wire::bootstrap::Redirection;

use crate::blueprint::{Blueprint, Processes};
use crate::channel::{Channel, Packet, socket_pair};
use crate::error::{CaptureError, Failure, Step};
use crate::inside::{self, Ends};
use crate::message::Message;
use crate::namespaces::Namespaces;
use crate::netlink::rules::{Datagrams, Steering};
use crate::network::DatagramSockets;
use crate::plan::Plan;
use crate::program::{HeldProgram, Tree};
use crate::sys::{self, NoProcess};

/// A sandbox whose program waits to be started. Sockets go to the proxy; the launcher keeps copies, so that another
/// proxy can take over.
#[derive(Debug)]
pub struct Sandbox {
    /// Listeners on port 15001, non-blocking: IPv4, then IPv6 when the workload has it. A program can also connect
    /// to port 15001 itself: such a connection has no other destination, and is to be closed. A program may bind
    /// any address before it connects, so the peer's address proves nothing.
    pub outbound: Vec<OwnedFd>,
    /// UDP sockets on port 15053, non-blocking, likewise. With TPROXY each query comes with its original
    /// destination, and is answered by the raw socket in `datagrams`, or where there is none from a socket that
    /// [`weft_wire::maker::Request::DnsReply`] makes. With REDIRECT it comes as if to port 15053, and is answered from this very socket: the kernel translates back.
    pub dns: Vec<OwnedFd>,
    /// For all other datagrams, a pair a family; its raw socket answers DNS, too. Empty where the kernel refuses them.
    pub datagrams: Vec<DatagramSockets>,
    /// How accepted sockets tell their original destination.
    pub redirection: Redirection,
    /// The socket maker's end; see [`weft_wire::maker`].
    pub maker: OwnedFd,
    /// Where it is, for [`crate::join`].
    pub namespaces: Namespaces,
    /// What is less than it should be on this machine, a sentence each.
    pub notes: Vec<String>,
    /// What will run.
    pub program: HeldProgram,
}

/// Makes a workload's namespaces, rules and listeners, and holds its program back. The caller must have one thread
/// (it forks and goes on), and is the sandbox's life: when it ends, all of it ends.
///
/// # Errors
/// [`CaptureError`]; nothing is left over then.
pub fn prepare(plan: &Plan) -> Result<Sandbox, CaptureError> {
    plan.check()?;
    match attempt(plan, Processes::Own) {
        Err(CaptureError::Failed(refused)) if matches!(refused.step, Step::PidNamespace | Step::Proc) => {
            let mut sandbox = attempt(plan, Processes::Shared)?;
            let hint = refused.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            sandbox.notes.push(format!("the program sees the processes around it: {refused}{hint}"));
            Ok(sandbox)
        }
        other => other,
    }
}

fn attempt(plan: &Plan, processes: Processes) -> Result<Sandbox, CaptureError> {
    let failed = |errno| Failure::new(Step::Fork, errno, "sockets");
    let (setup, their_setup) = Channel::pair().map_err(failed)?;
    let (maker, their_maker) = socket_pair().map_err(failed)?;
    let (channel, their_channel) = Channel::pair().map_err(failed)?;
    // canonicalize fails where there is no such file; the rules then cover what resolvers do without one.
    let resolv_conf = fs::canonicalize("/etc/resolv.conf").ok();
    let blueprint = Blueprint { plan, resolv_conf, processes, launcher: getpid() };
    let ends = Ends { setup: their_setup, maker: their_maker, program: their_channel };
    let first = spawn(&blueprint, ends)?;
    let tree = Tree::new(channel, first);

    let mut notes = Vec::new();
    let (steering, descriptors) = listeners(&setup, &mut notes)?;
    let namespaces = await_ready(&tree, &setup, &mut notes)?;
    let (outbound, dns, datagrams) = sorted(steering, descriptors);
    let redirection = steering.redirection();
    let name = plan.program.argv[0].to_string_lossy().into_owned();
    let program = HeldProgram::new(tree, name);
    Ok(Sandbox { outbound, dns, datagrams, redirection, maker, namespaces, notes, program })
}

fn spawn(blueprint: &Blueprint<'_>, ends: Ends) -> Result<Pid, CaptureError> {
    sys::spawn(|| inside::run(blueprint, ends)).map_err(|reason| match reason {
        NoProcess::Threads(count) => CaptureError::Threads(count),
        NoProcess::Refused(errno) => Failure::new(Step::Fork, errno, "").into(),
    })
}

/// Waits for the first process to hand its listeners over.
fn listeners(setup: &Channel, notes: &mut Vec<String>) -> Result<(Steering, Vec<OwnedFd>), CaptureError> {
    let step = Step::NetworkNamespace;
    loop {
        let received = setup.receive().map_err(|errno| Failure::new(Step::HandOver, errno, ""))?;
        let Packet { message, descriptors, .. } = received.ok_or(CaptureError::Killed(step))?;
        match message {
            Message::Sockets(steering) => return Ok((steering, descriptors)),
            Message::Failed(failure) => return Err(failure.into()),
            Message::Note(note) => notes.push(note),
            _ => return Err(Failure::new(Step::HandOver, Errno::EPROTO, "").into()),
        }
    }
}

/// Listeners for TCP, for DNS and for other datagrams, as [`Message::Sockets`] has them in order.
fn sorted(steering: Steering, mut descriptors: Vec<OwnedFd>) -> (Vec<OwnedFd>, Vec<OwnedFd>, Vec<DatagramSockets>) {
    let families = match steering.datagrams() {
        Datagrams::Captured => descriptors.len() / 4,
        Datagrams::Refused => descriptors.len() / 2,
    };
    let mut pairs = descriptors.split_off(2 * families).into_iter();
    let dns = descriptors.split_off(families);
    let pair = || Some(DatagramSockets { captured: pairs.next()?, answers: pairs.next()? });
    (descriptors, dns, std::iter::from_fn(pair).collect())
}

/// Waits for PID 1. When it never comes to be, the first process says why.
fn await_ready(tree: &Tree, setup: &Channel, notes: &mut Vec<String>) -> Result<Namespaces, CaptureError> {
    let odd = || Failure::new(Step::HandOver, Errno::EPROTO, "").into();
    loop {
        let Packet { message, descriptors, .. } = match tree.receive(Step::MountNamespace) {
            Ok(packet) => packet,
            Err(error) => match setup.try_receive() {
                Ok(Some(Packet { message: Message::Failed(failure), .. })) => return Err(failure.into()),
                _ => return Err(error),
            },
        };
        match message {
            Message::Ready => return Namespaces::adopt(descriptors).ok_or_else(odd),
            Message::Failed(failure) => return Err(failure.into()),
            Message::Note(note) => notes.push(note),
            _ => return Err(odd()),
        }
    }
}
