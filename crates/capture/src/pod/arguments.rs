//! The command line of `weft-init`, as the injector writes it. Pure; every mistake is told at once.

use super::ports::{ports, subnets};
use super::{Capture, PortRange, Subnet};

/// What is wrong with a command line: one line for each mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ArgumentsError(pub Vec<String>);

/// Reads `--name value` and `--name=value`.
///
/// # Errors
/// [`ArgumentsError`] with all mistakes.
pub fn parse(arguments: &[String]) -> Result<Capture, ArgumentsError> {
    let mut read = Read::default();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match word.split_once('=') {
            Some((name, value)) => read.take(name, value),
            None => match rest.next() {
                Some(value) => read.take(word, value),
                None => read.mistakes.push(format!("expected a value after {word}, found the end")),
            },
        }
    }
    read.finish()
}

#[derive(Default)]
struct Read {
    proxy_uid: Option<u32>,
    outbound_port: Option<u16>,
    inbound_port: Option<u16>,
    skip_inbound: Vec<PortRange>,
    skip_callers: Vec<Subnet>,
    only_inbound: Vec<PortRange>,
    skip_outbound: Vec<PortRange>,
    skip_subnets: Vec<Subnet>,
    only_subnets: Vec<Subnet>,
    mistakes: Vec<String>,
}

impl Read {
    fn take(&mut self, name: &str, value: &str) {
        match name {
            "--proxy-uid" => self.proxy_uid = self.number(name, value, "a user other than root"),
            "--outbound-port" => self.outbound_port = self.number(name, value, "a port"),
            "--inbound-port" => self.inbound_port = self.number(name, value, "a port"),
            "--skip-inbound-ports" => self.ports(name, value, |read| &mut read.skip_inbound),
            "--skip-inbound-subnets" => self.subnets(name, value, |read| &mut read.skip_callers),
            "--only-inbound-ports" => self.ports(name, value, |read| &mut read.only_inbound),
            "--skip-outbound-ports" => self.ports(name, value, |read| &mut read.skip_outbound),
            "--skip-outbound-subnets" => self.subnets(name, value, |read| &mut read.skip_subnets),
            "--only-outbound-subnets" => self.subnets(name, value, |read| &mut read.only_subnets),
            _ => self.mistakes.push(format!("{name} is no argument; weft-init --help lists them")),
        }
    }

    fn number<T: std::str::FromStr + Default + PartialEq>(&mut self, name: &str, value: &str, what: &str) -> Option<T> {
        match value.parse() {
            Ok(number) if number != T::default() => Some(number),
            _ => {
                self.mistakes.push(format!("{name}: expected {what}, found `{value}`"));
                None
            }
        }
    }

    /// A list that is given again adds to the one before.
    fn ports(&mut self, name: &str, value: &str, list: fn(&mut Self) -> &mut Vec<PortRange>) {
        match ports(value) {
            Ok(read) => list(self).extend(read),
            Err(error) => self.mistakes.push(format!("{name}: {error}")),
        }
    }

    fn subnets(&mut self, name: &str, value: &str, list: fn(&mut Self) -> &mut Vec<Subnet>) {
        match subnets(value) {
            Ok(read) => list(self).extend(read),
            Err(part) => {
                self.mistakes.push(format!("{name}: expected subnets such as 10.0.0.0/8, found `{part}`"));
            }
        }
    }

    fn finish(mut self) -> Result<Capture, ArgumentsError> {
        let missing = [
            ("--proxy-uid", self.proxy_uid.is_none()),
            ("--outbound-port", self.outbound_port.is_none()),
            ("--inbound-port", self.inbound_port.is_none()),
        ];
        for (name, is_missing) in missing {
            if is_missing && !self.mistakes.iter().any(|mistake| mistake.starts_with(name)) {
                self.mistakes.push(format!("expected {name}, found none"));
            }
        }
        match (self.proxy_uid, self.outbound_port, self.inbound_port) {
            (Some(proxy_uid), Some(outbound_port), Some(inbound_port)) if self.mistakes.is_empty() => Ok(Capture {
                proxy_uid,
                outbound_port,
                inbound_port,
                skip_inbound: self.skip_inbound,
                skip_callers: self.skip_callers,
                only_inbound: self.only_inbound,
                skip_outbound: self.skip_outbound,
                skip_subnets: self.skip_subnets,
                only_subnets: self.only_subnets,
            }),
            _ => Err(ArgumentsError(self.mistakes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Capture, ArgumentsError> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn both_forms_of_an_argument_are_read() {
        let wanted = read(
            "--proxy-uid 2102 --outbound-port=15001 --inbound-port 15006 --skip-inbound-ports 80,90-95 --skip-inbound-ports=443 \
             --only-outbound-subnets=10.0.0.0/8,fd00::/8",
        )
        .unwrap();
        assert_eq!((wanted.proxy_uid, wanted.outbound_port, wanted.inbound_port), (2102, 15001, 15006));
        assert_eq!((wanted.skip_inbound.len(), wanted.only_subnets.len()), (3, 2));
        assert!(wanted.skip_outbound.is_empty());
    }

    #[test]
    fn every_mistake_is_told() {
        let ArgumentsError(mistakes) =
            read("--proxy-uid 0 --inbound-port x --skip-outbound-ports a --weird 1 --skip-inbound-ports").unwrap_err();
        assert_eq!(
            mistakes,
            [
                "--proxy-uid: expected a user other than root, found `0`",
                "--inbound-port: expected a port, found `x`",
                "--skip-outbound-ports: expected ports such as 80,90-95, found `a`",
                "--weird is no argument; weft-init --help lists them",
                "expected a value after --skip-inbound-ports, found the end",
                "expected --outbound-port, found none",
            ]
        );
    }
}
