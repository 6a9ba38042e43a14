//! A call that is bytes both ways, of a caller with an identity.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use weft_wire::head::{Answer, Head, Refusal};

use super::admit::{asks_for_name, open, open_named, refused, relay};
use super::labels::account;
use crate::connection::Account;
use crate::data::Data;
use crate::detect::hello;
use crate::live::Facts;
use crate::metrics::Party;
use crate::side::Side;
use crate::why::{Cause, Failure};

pub(super) async fn serve_tcp(data: &Rc<Data>, mut caller: Side, head: Head, party: Rc<Party>) {
    let peer = party.principal.clone();
    let mut account = account(data, head.source, head.destination, &party);
    let facts = Facts { peer, source_ip: head.source.ip(), destination: head.destination };
    let opened = match data.records.inbound().await {
        Ok(inbound) if asks_for_name(data, &inbound, &facts) => {
            return Box::pin(serve_named(data, caller, head.source, (account, facts))).await;
        }
        Ok(_) => Box::pin(open(data, &mut account, facts, head.source)).await,
        Err(failure) => Err(failure),
    };
    match opened {
        Ok((program, admitted)) => match say(&mut caller, &Answer::Connected).await {
            Ok(()) => relay(account, caller, program, admitted).await,
            Err(error) => {
                program.stream.reset();
                account.refused(Failure::inbound(Cause::Reset, format!("the caller has gone: {error}")));
            }
        },
        Err(failure) => {
            let answer = Answer::Refused(refusal(failure.cause), told(&failure));
            // The caller may be gone already.
            let _gone = refuse(&mut caller, &answer).await;
            refused(data, account, failure);
        }
    }
}

/// A call whose verdict hangs on the server name of the caller's own TLS, which a caller says only
/// when it believes itself connected. A refusal is a reset, then.
async fn serve_named(data: &Rc<Data>, mut caller: Side, from: SocketAddr, (mut account, facts): (Account, Facts)) {
    if let Err(error) = say(&mut caller, &Answer::Connected).await {
        return account.refused(Failure::inbound(Cause::Reset, format!("the caller has gone: {error}")));
    }
    let hello = hello(&mut caller).await;
    match open_named(data, &mut account, (facts, hello), from).await {
        Ok((program, admitted)) => relay(account, caller, program, admitted).await,
        Err(failure) => {
            caller.stream.reset();
            refused(data, account, failure);
        }
    }
}

async fn say(stream: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16);
    answer.encode(&mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn refuse(tunnel: &mut Side, answer: &Answer) -> io::Result<()> {
    say(tunnel, answer).await?;
    tunnel.shutdown().await
}

/// What the caller's proxy learns. Of policy no more than the word.
fn told(failure: &Failure) -> String {
    match failure.cause {
        Cause::Policy => "policy".to_owned(),
        _ => failure.detail.clone(),
    }
}

fn refusal(cause: Cause) -> Refusal {
    match cause {
        Cause::Policy | Cause::PolicyChanged | Cause::Unjudged => Refusal::Policy,
        Cause::UnknownAddress | Cause::UnknownPort => Refusal::Destination,
        Cause::Limit => Refusal::Limit,
        Cause::Draining => Refusal::Draining,
        _ => Refusal::Connect,
    }
}
