//! A request as it is passed on: its head with small edits, then what of its body was at hand.

use weft_http::body::BodyReader;
use weft_http::head::{Asked, HeadParser, Persistence, RequestHead, Upgrade};
use weft_http::rewrite::{Edits, Hop, Rewritten};

use crate::request::FORGEABLE;

/// Readers of heads, one for each direction.
#[derive(Default)]
pub(super) struct Parsers {
    pub request: HeadParser,
    pub answer: HeadParser,
}

/// What of a request's head outlives it.
pub(super) struct Taken {
    /// What the answer's reader must know.
    pub asked: Asked,
    /// What the client says of its connection.
    pub persistence: Persistence,
    /// Reads the rest of the body.
    pub body: BodyReader,
    /// How many of the client's bytes head and body took.
    pub used: usize,
}

/// Appends the message of `head`, and what of its body is in `bytes`, to `message`. Trailers that a
/// caller could forge are refused like heads that can be read in two ways.
///
/// # Errors
/// A text for the answer, which is 400.
pub(super) fn build(
    head: &RequestHead<'_>,
    edits: &Edits<'_>,
    bytes: &[u8],
    message: &mut Vec<u8>,
) -> Result<Taken, String> {
    let mut body = BodyReader::new(head.framing).refusing_trailers(FORGEABLE);
    let at_hand = &bytes[head.consumed..];
    let length = body.take(at_hand).map_err(|error| error.to_string())?.length;
    // The next server's connection is to be used again, though the client's isn't.
    let closes = head.persistence == Persistence::Close && head.upgrade != Upgrade::Asked;
    let edits = if closes { Edits { hop: Hop::Renew, ..*edits } } else { *edits };
    match head.rewrite(&edits, message).map_err(|error| error.to_string())? {
        Rewritten::AsIs(bytes) => message.extend_from_slice(bytes),
        Rewritten::Appended => {}
    }
    message.extend_from_slice(&at_hand[..length]);
    Ok(Taken { asked: head.asked(), persistence: head.persistence, body, used: head.consumed + length })
}
