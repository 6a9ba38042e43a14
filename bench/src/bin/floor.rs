//! `floor client|server --cert F --key F --ca F --peer SPIFFE-ID --route LISTEN=CONNECT[/KIB]…`: one half of the bare
//! relay, on a current-thread runtime. Copy buffers are 16 KiB unless the route says otherwise.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weft_bench::relay::{Route, Side, accept};
use weft_bench::tls::{self, Identity};

#[allow(clippy::print_stderr, reason = "the one place where the program tells its user what was wrong")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match arguments(&words).and_then(|(side, routes)| run(side, routes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("floor: {why}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(words: &[String]) -> Result<(Side, Vec<Route>), String> {
    let (side, rest) = words.split_first().ok_or("expected client or server")?;
    let option = |name: &str| value(rest, name).ok_or_else(|| format!("expected {name} VALUE"));
    let identity = Identity {
        cert: option("--cert")?.into(),
        key: option("--key")?.into(),
        anchors: option("--ca")?.into(),
        peer: option("--peer")?,
    };
    let side = match side.as_str() {
        "client" => Side::Client(tls::client(&identity)?),
        "server" => Side::Server(tls::server(&identity)?),
        other => return Err(format!("expected client or server, found {other}")),
    };
    let routes = rest.windows(2).filter(|pair| pair[0] == "--route").map(|pair| route(&pair[1]));
    Ok((side, routes.collect::<Result<_, _>>()?))
}

fn value(words: &[String], name: &str) -> Option<String> {
    words.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone())
}

fn route(text: &str) -> Result<Route, String> {
    let wrong = || format!("expected LISTEN=CONNECT[/KIB], found {text}");
    let (listen, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (connect, kib) = rest.split_once('/').unwrap_or((rest, "16"));
    Ok(Route {
        listen: listen.parse().map_err(|_| wrong())?,
        connect: connect.parse().map_err(|_| wrong())?,
        buffer: kib.parse::<usize>().map_err(|_| wrong())? * 1024,
    })
}

fn run(side: Side, routes: Vec<Route>) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|e| format!("runtime: {e}"))?;
    runtime.block_on(async {
        let mut listeners = JoinSet::new();
        for route in routes {
            let listener = TcpListener::bind(route.listen).await.map_err(|e| format!("{}: {e}", route.listen))?;
            listeners.spawn(accept(listener, route, side.clone()));
        }
        match listeners.join_next().await {
            Some(Ok(Err(e))) => Err(format!("accept: {e}")),
            Some(other) => Err(format!("a listener ended: {other:?}")),
            None => Err("expected a --route at least".into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_16_kib_unless_it_says_otherwise() {
        assert_eq!(route("127.0.0.1:1=127.0.0.1:2").unwrap().buffer, 16 * 1024);
        assert_eq!(route("127.0.0.1:1=127.0.0.1:2/64").unwrap().buffer, 64 * 1024);
    }

    #[test]
    fn a_route_without_a_destination_is_refused() {
        assert!(route("127.0.0.1:1").is_err());
        assert!(route("127.0.0.1:1=here").is_err());
    }
}
