//! What launcher, socket maker, PID 1 and program say to each other, a packet each. No I/O.

use nix::errno::Errno;

use crate::error::{Failure, Step};
use crate::netlink::rules::{Datagrams, Steering};

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// To the launcher: a step was refused, and the sender ends.
    Failed(Failure),
    /// The socket maker to the launcher: listeners are attached, TCP ones first, as many for DNS, and where datagrams
    /// are captured, as many pairs for them.
    Sockets(Steering),
    /// To the launcher: something is less than it should be.
    Note(String),
    /// To the launcher: all is prepared.
    Ready,
    /// The launcher to PID 1: run the program.
    Go,
    /// The program's process to the launcher, so that the kernel tells its pid.
    Hello,
    /// PID 1 to the launcher: the program runs.
    Running,
    /// PID 1 to the launcher: exec failed with this errno.
    NotRunning(i32),
    /// The launcher to PID 1: send the program this signal, with the value of sigqueue(3) if there is one.
    Signal(i32, Option<u64>),
    /// PID 1 to the launcher: the program has been stopped, by this signal.
    Stopped(i32),
    /// PID 1 to the launcher: the program ended with this status, wait(2).
    Ended(i32),
}

impl Message {
    /// The packet's bytes: a letter, then what belongs to it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let number = |letter: u8, value: i32| [&[letter][..], &value.to_ne_bytes()].concat();
        match self {
            Self::Failed(failure) => {
                let mut packet = vec![b'F', failure.step.number()];
                packet.extend(failure.errno.to_ne_bytes());
                packet.extend(failure.detail.as_bytes());
                packet
            }
            Self::Sockets(Steering::Tproxy(Datagrams::Captured)) => vec![b'T'],
            Self::Sockets(Steering::Tproxy(Datagrams::Refused)) => vec![b't'],
            Self::Sockets(Steering::Redirect) => vec![b'D'],
            Self::Note(text) => [b"N", text.as_bytes()].concat(),
            Self::Ready => vec![b'R'],
            Self::Go => vec![b'G'],
            Self::Hello => vec![b'H'],
            Self::Running => vec![b'X'],
            Self::NotRunning(errno) => number(b'x', *errno),
            Self::Signal(signal, None) => number(b'S', *signal),
            Self::Signal(signal, Some(value)) => [number(b'Q', *signal), value.to_ne_bytes().to_vec()].concat(),
            Self::Stopped(signal) => number(b'P', *signal),
            Self::Ended(status) => number(b'E', *status),
        }
    }

    /// Reads a packet; EPROTO when it is none.
    pub(crate) fn decode(packet: &[u8]) -> Result<Self, Errno> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let number = |bytes: &[u8]| bytes.try_into().map(i32::from_ne_bytes).map_err(|_| Errno::EPROTO);
        match packet {
            [b'F', step, rest @ ..] => {
                let (errno, detail) = rest.split_first_chunk().ok_or(Errno::EPROTO)?;
                let step = Step::numbered(*step).ok_or(Errno::EPROTO)?;
                Ok(Self::Failed(Failure { step, errno: i32::from_ne_bytes(*errno), detail: text(detail) }))
            }
            b"T" => Ok(Self::Sockets(Steering::Tproxy(Datagrams::Captured))),
            b"t" => Ok(Self::Sockets(Steering::Tproxy(Datagrams::Refused))),
            b"D" => Ok(Self::Sockets(Steering::Redirect)),
            [b'N', note @ ..] => Ok(Self::Note(text(note))),
            b"R" => Ok(Self::Ready),
            b"G" => Ok(Self::Go),
            b"H" => Ok(Self::Hello),
            b"X" => Ok(Self::Running),
            [b'x', errno @ ..] => number(errno).map(Self::NotRunning),
            [b'S', signal @ ..] => number(signal).map(|signal| Self::Signal(signal, None)),
            [b'Q', rest @ ..] => {
                let (signal, value) = rest.split_first_chunk().ok_or(Errno::EPROTO)?;
                let value = value.try_into().map_err(|_| Errno::EPROTO)?;
                Ok(Self::Signal(i32::from_ne_bytes(*signal), Some(u64::from_ne_bytes(value))))
            }
            [b'P', signal @ ..] => number(signal).map(Self::Stopped),
            [b'E', status @ ..] => number(status).map(Self::Ended),
            _ => Err(Errno::EPROTO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_way() {
        for message in [
            Message::Failed(Failure::new(Step::Rules, Errno::EPERM, "rule `x`")),
            Message::Sockets(Steering::Tproxy(Datagrams::Captured)),
            Message::Sockets(Steering::Tproxy(Datagrams::Refused)),
            Message::Sockets(Steering::Redirect),
            Message::Note("no PID namespace".into()),
            Message::Ready,
            Message::Go,
            Message::Hello,
            Message::Running,
            Message::NotRunning(2),
            Message::Signal(15, None),
            Message::Signal(40, Some(u64::MAX - 1)),
            Message::Stopped(20),
            Message::Ended(7 << 8),
        ] {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for packet in [&b""[..], b"F", b"F\xff\0\0\0\0", b"F\0\0", b"S\x01", b"Q\x01\0\0\0", b"P", b"?", b"Rx"] {
            assert_eq!(Message::decode(packet), Err(Errno::EPROTO), "{packet:?}");
        }
    }
}
