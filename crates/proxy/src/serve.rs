//! The data thread's life: its listeners and tasks, until it is told to end and has drained.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;

use crate::access::AccessLog;
use crate::config::{Config, Program};
use crate::crowd::{Crowd, Turns};
use crate::data::Data;
use crate::detect::Known;
use crate::flow::Flows;
use crate::http1::Programs;
use crate::http2::Connections;
use crate::limits::{DRAIN_WAIT, INBOUND_HANDSHAKES, OUTBOUND_CONNECTIONS, SWEEP};
use crate::metrics::Metrics;
use crate::records::{Order, Records, Update};
use crate::report::{self, Reporter};
use crate::sockets::{Maker, SocketSource};
use crate::tunnel::Pool;
use crate::{admin, dns, inbound, outbound, udp};

/// How a data thread is reached from others.
pub struct Channels {
    /// What the control thread, or a file, tells.
    pub updates: mpsc::Receiver<Update>,
    /// What is asked of the control thread.
    pub orders: mpsc::UnboundedSender<Order>,
    /// Tells the control thread of signals.
    pub signals: report::DataEnd,
    /// Ends the thread as SIGTERM does.
    pub stop: Arc<Notify>,
}

/// Runs the data plane on this thread until SIGTERM or `stop`, and its drain.
///
/// # Errors
/// When a socket can't be watched; nothing is served then.
pub fn run(config: Config, channels: Channels) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A set polls its own future with each turn of the loop; one that only waits for a task costs little.
    let served = LocalSet::new().block_on(&runtime, async { spawn_local(serve(config, channels)).await });
    served.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
}

/// What [`run`] does, on a runtime of the caller's that has one thread, as a task of its [`LocalSet`].
///
/// # Errors
/// As [`run`].
pub async fn serve(mut config: Config, channels: Channels) -> io::Result<()> {
    let terminate = signal(SignalKind::terminate())?;
    let access = Rc::new(AccessLog::new(config.access.take())?);
    let ready = config.ready.take();
    let (report, asks) = Reporter::new(channels.signals);
    let data = start(config, channels.orders, (access.clone(), report))?;
    spawn_local(report::answer(data.clone(), asks));
    let followed = spawn_local(follow(data.clone(), channels.updates));
    spawn_local(sweep(data.clone()));
    if let Some(ready) = ready {
        spawn_local(tell_ready(data.clone(), ready.into()));
    }
    until_stopped(terminate, &channels.stop, followed).await;
    data.drain.begin();
    data.pool.clear();
    data.h2_calls.clear();
    data.h2_programs.clear();
    let left = data.drain.finish(DRAIN_WAIT).await;
    if left > 0 {
        tracing::warn!(left, "connections were still open at the end of the drain");
    }
    data.report.finish(&data);
    access.finish();
    Ok(())
}

/// The address of a listener that only this host reaches.
fn own_loopback(listener: &std::net::TcpListener) -> Option<IpAddr> {
    listener.local_addr().ok().map(|at| at.ip()).filter(IpAddr::is_loopback)
}

fn start(
    config: Config,
    orders: mpsc::UnboundedSender<Order>,
    (access, report): (Rc<AccessLog>, Reporter),
) -> io::Result<Rc<Data>> {
    let sockets = match config.program {
        Program::Inside(channel, forwarded) => SocketSource::Maker(Rc::new(Maker::new(channel, forwarded)?)),
        Program::Host(programs) => SocketSource::Host(programs),
        Program::Pod => SocketSource::Pod,
    };
    let data = Rc::new(Data {
        workload: config.workload,
        addresses: config.addresses,
        loopback: config.mesh.iter().find_map(own_loopback),
        names: config.names,
        records: Records::new(orders),
        pool: Pool::default(),
        programs: Programs::default(),
        known: Known::default(),
        h2_calls: Connections::default(),
        h2_programs: Connections::default(),
        live: Rc::default(),
        sockets,
        metrics: Metrics::default(),
        flows: Flows::default(),
        report,
        access,
        drain: Rc::default(),
        sweep: Notify::new(),
        outbound_permits: Arc::new(Semaphore::new(OUTBOUND_CONNECTIONS)),
        inbound_permits: Arc::new(Semaphore::new(config.callers)),
        inbound_crowd: Rc::new(Crowd::new(config.callers)),
        handshakes: Turns::new(INBOUND_HANDSHAKES),
        own: RefCell::default(),
    });
    for outbound in config.outbound {
        let listener = watched(outbound.listener)?;
        spawn_local(outbound::listen(data.clone(), listener, outbound.original));
    }
    for mesh in config.mesh {
        spawn_local(inbound::listen(data.clone(), watched(mesh)?));
    }
    for listener in config.captured {
        spawn_local(inbound::plain::listen_captured(data.clone(), watched(listener)?));
    }
    for (listener, port) in config.published {
        spawn_local(inbound::plain::listen_published(data.clone(), watched(listener)?, port));
    }
    if let Some(admin) = config.admin {
        spawn_local(admin::listen(data.clone(), watched(admin)?, Rc::new(config.checks)));
    }
    for socket in config.dns {
        socket.set_nonblocking(true)?;
        let answers = udp::answers_like(&config.udp, socket.local_addr()?)?;
        spawn_local(dns::serve_datagrams(data.clone(), UdpSocket::from_std(socket)?, answers));
    }
    for udp::Sockets { captured, answers } in config.udp {
        captured.set_nonblocking(true)?;
        spawn_local(udp::serve(data.clone(), UdpSocket::from_std(captured)?, answers));
    }
    Ok(data)
}

fn watched(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn until_stopped(mut terminate: Signal, stop: &Notify, followed: JoinHandle<()>) {
    tokio::select! {
        _ = terminate.recv() => {}
        () = stop.notified() => {}
        // What is known would stay in force for ever: who starts another proxy has one that is told.
        _ = followed => tracing::error!("nobody tells of policies and certificates any more; the proxy ends"),
    }
}

/// Takes updates as they come, until the sender has ended.
async fn follow(data: Rc<Data>, mut updates: mpsc::Receiver<Update>) {
    while let Some(update) = updates.recv().await {
        data.apply(update);
    }
}

/// Gives up what is unused. No timer runs while there is nothing.
async fn sweep(data: Rc<Data>) {
    loop {
        data.sweep.notified().await;
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = Instant::now();
            let destinations = data.records.sweep(now);
            let warm = data.pool.sweep(now);
            let programs = data.programs.sweep(now);
            let h2_calls = data.h2_calls.sweep(now);
            let h2_programs = data.h2_programs.sweep(now);
            if ![destinations, warm, programs, h2_calls, h2_programs].contains(&true) {
                break;
            }
        }
    }
}

async fn tell_ready(data: Rc<Data>, pipe: std::fs::File) {
    data.records.ready().await;
    // A launcher that has gone takes the proxy with it by other means.
    let _gone = (&pipe).write_all(b"r");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Checks;

    #[test]
    fn it_ends_when_nobody_can_tell_it_anything_any_more() {
        let config = Config {
            workload: "default/web".parse().unwrap(),
            addresses: Vec::new(),
            outbound: Vec::new(),
            mesh: Vec::new(),
            admin: None,
            published: Vec::new(),
            captured: Vec::new(),
            dns: Vec::new(),
            udp: Vec::new(),
            names: None,
            callers: 1,
            program: Program::Host([].into()),
            checks: Checks::default(),
            ready: None,
            access: None,
        };
        let (orders, _asked) = mpsc::unbounded_channel();
        let (_, updates) = mpsc::channel(1);
        let (_reports, signals) = report::channel();
        run(config, Channels { updates, orders, signals, stop: Arc::default() }).unwrap();
    }
}
