//! What the command line says, read into types. Pure.

use std::net::SocketAddr;
use std::path::PathBuf;

use weft_hbone_peer::client::Head;
use weft_hbone_peer::server::Rules;
use weft_hbone_peer::tls::Files;

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Connect(Connect),
    Serve(Serve),
}

/// The client's end.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) files: Files,
    pub(crate) expect: Vec<String>,
    /// Where to take connections from instead of stdin and stdout.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) target: SocketAddr,
    pub(crate) head: Head,
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) files: Files,
    pub(crate) rules: Rules,
    pub(crate) listen: SocketAddr,
}

/// Reads the words after the program's name.
pub(crate) fn parse(words: &[String]) -> Result<Command, String> {
    let (verb, rest) = words.split_first().ok_or(USAGE)?;
    let mut words = Words::of(rest)?;
    let files = Files {
        cert: PathBuf::from(words.one("--cert")?),
        key: PathBuf::from(words.one("--key")?),
        ca: PathBuf::from(words.one("--ca")?),
    };
    let command = match verb.as_str() {
        "connect" => Command::Connect(connect(&mut words, files)?),
        "serve" => Command::Serve(serve(&mut words, files)?),
        _ => return Err(USAGE.into()),
    };
    match words.options.first() {
        Some((name, _)) => Err(format!("{name} has no meaning here; {USAGE}")),
        None => Ok(command),
    }
}

fn connect(words: &mut Words, files: Files) -> Result<Connect, String> {
    let [target, authority] = words.plain.as_slice() else { return Err(USAGE.into()) };
    let (target, authority) = (parsed(target)?, authority.clone());
    let mut fields = Vec::new();
    for name in ["baggage", "forwarded", "traceparent"] {
        fields.extend(words.all(&format!("--{name}")).into_iter().map(|value| (name.to_owned(), value)));
    }
    let listen = words.all("--listen").first().map(|text| parsed(text)).transpose()?;
    let expect = words.all("--expect");
    if expect.is_empty() {
        return Err("expected --expect SPIFFE-ID".into());
    }
    Ok(Connect { files, expect, listen, target, head: Head { authority, fields } })
}

fn serve(words: &mut Words, files: Files) -> Result<Serve, String> {
    let [listen] = words.plain.as_slice() else { return Err(USAGE.into()) };
    let listen = parsed(listen)?;
    let destinations = words.all("--destination").iter().map(|text| parsed(text)).collect::<Result<_, _>>()?;
    let dial = words.all("--dial").first().map(|text| parsed(text)).transpose()?;
    Ok(Serve { files, rules: Rules { allow: words.all("--allow"), destinations, dial, ..Rules::default() }, listen })
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected an address, found {text}"))
}

/// Options with their values, and the rest, in order.
struct Words {
    options: Vec<(String, String)>,
    plain: Vec<String>,
}

impl Words {
    fn of(words: &[String]) -> Result<Self, String> {
        let mut found = Self { options: Vec::new(), plain: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word.starts_with("--") {
                let value = words.next().ok_or_else(|| format!("expected a value after {word}"))?;
                found.options.push((word.clone(), value.clone()));
            } else {
                found.plain.push(word.clone());
            }
        }
        Ok(found)
    }

    /// Takes out all values of an option.
    fn all(&mut self, name: &str) -> Vec<String> {
        self.options.extract_if(.., |(option, _)| option == name).map(|(_, value)| value).collect()
    }

    fn one(&mut self, name: &str) -> Result<String, String> {
        self.all(name).into_iter().next().ok_or_else(|| format!("expected {name} VALUE; {USAGE}"))
    }
}

const USAGE: &str = "usage: hbone-peer connect --cert F --key F --ca F --expect SPIFFE-ID… [--listen ADDRESS] \
    [--baggage V] [--forwarded V] [--traceparent V] TARGET:15008 DESTINATION:PORT, or \
    hbone-peer serve --cert F --key F --ca F [--allow SPIFFE-ID]… [--destination IP]… [--dial IP] LISTEN:15008";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Command, String> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_client_needs_an_identity_to_expect() {
        let files = "connect --cert c --key k --ca a";
        assert!(words(&format!("{files} 127.0.0.1:15008 10.0.0.1:80")).is_err());
        let line = format!("{files} --expect spiffe://a/ns/b/sa/c --baggage a=b 127.0.0.1:15008 10.0.0.1:80");
        let Ok(Command::Connect(found)) = words(&line) else { panic!("expected connect") };
        assert_eq!(found.head.authority, "10.0.0.1:80");
        assert_eq!(found.head.fields, [("baggage".to_owned(), "a=b".to_owned())]);
    }

    #[test]
    fn an_option_of_the_other_end_is_refused() {
        let found = words("serve --cert c --key k --ca a --expect spiffe://a/ns/b/sa/c 127.0.0.1:0");
        assert!(found.is_err_and(|why| why.starts_with("--expect has no meaning")));
    }
}
