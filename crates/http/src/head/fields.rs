//! Fields as places in the bytes of a head, and the proof that its lines are whole.

use super::HeadError;
use crate::token::is_same_name;

/// The fields of a head or a trailer section, in order, as sent.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    spans: &'a [FieldSpan],
}

/// One field, as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name in the sender's spelling; a token.
    pub name: &'a [u8],
    /// The value without the blanks around it.
    pub value: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8], spans: &'a [FieldSpan]) -> Self {
        Self { bytes, spans }
    }

    /// The head or section that the fields stand in.
    pub(crate) fn section(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let Self { bytes, spans } = *self;
        spans.iter().map(move |span| span.field(bytes))
    }

    /// The values of the fields called `name` in any case, in order.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
    }

    /// Each field with its kind and the place of its line, `CRLF` included.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let Self { bytes, spans } = *self;
        let end = bytes.len().saturating_sub(2);
        let ends = spans.iter().skip(1).map(|next| usize::from(next.name)).chain([end]);
        spans.iter().zip(ends).map(move |(span, end)| Line {
            field: span.field(bytes),
            kind: span.kind,
            start: usize::from(span.name),
            end,
        })
    }
}

/// A field's line within its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) field: Field<'a>,
    pub(crate) kind: FieldKind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Where a field's name and value stand. Heads have at most 2^16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldSpan {
    name: u16,
    name_bytes: u16,
    value: u16,
    value_bytes: u16,
    kind: FieldKind,
}

impl FieldSpan {
    fn new(bytes: &[u8], header: &httparse::Header<'_>) -> Option<Self> {
        let offset = |part: *const u8| u16::try_from(part.addr().checked_sub(bytes.as_ptr().addr())?).ok();
        Some(Self {
            name: offset(header.name.as_ptr())?,
            name_bytes: u16::try_from(header.name.len()).ok()?,
            value: offset(header.value.as_ptr())?,
            value_bytes: u16::try_from(header.value.len()).ok()?,
            kind: FieldKind::of(header.name.as_bytes()),
        })
    }

    fn field(self, bytes: &[u8]) -> Field<'_> {
        let part = |start: u16, length: u16| {
            let start = usize::from(start);
            bytes.get(start..start + usize::from(length)).unwrap_or_default()
        };
        Field { name: part(self.name, self.name_bytes), value: part(self.value, self.value_bytes) }
    }
}

/// The fields that this room looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldKind {
    Other,
    Connection,
    ContentLength,
    /// A framing field's name with `_` for `-`, which CGI-like servers take for the field itself.
    Disguised,
    Expect,
    Host,
    Http2Settings,
    KeepAlive,
    ProxyConnection,
    Te,
    TransferEncoding,
    Upgrade,
}

impl FieldKind {
    /// The kind of the field called `name`, in any case.
    pub(crate) fn of(name: &[u8]) -> Self {
        let (kind, known): (Self, &[u8]) = match name.len() {
            2 => (Self::Te, b"te"),
            4 => (Self::Host, b"host"),
            6 => (Self::Expect, b"expect"),
            7 => (Self::Upgrade, b"upgrade"),
            10 if name[0] | 0x20 == b'c' => (Self::Connection, b"connection"),
            10 => (Self::KeepAlive, b"keep-alive"),
            14 if name[0] | 0x20 == b'c' => (Self::ContentLength, b"content-length"),
            14 => (Self::Http2Settings, b"http2-settings"),
            16 => (Self::ProxyConnection, b"proxy-connection"),
            17 => (Self::TransferEncoding, b"transfer-encoding"),
            _ => return Self::Other,
        };
        let frames = matches!(kind, Self::ContentLength | Self::TransferEncoding);
        if name.eq_ignore_ascii_case(known) {
            kind
        } else if frames && is_same_name(name, known) {
            Self::Disguised
        } else {
            Self::Other
        }
    }
}

/// Writes where each of `headers` stands in `bytes`, which are a head or trailer section from its
/// first byte to its empty line.
///
/// `httparse` takes a bare LF for the end of a line; here each line must end in CRLF.
pub(crate) fn locate(
    bytes: &[u8],
    headers: &[httparse::Header<'_>],
    spans: &mut Vec<FieldSpan>,
) -> Result<(), HeadError> {
    spans.clear();
    spans.reserve(headers.len());
    let last = bytes.len().saturating_sub(2);
    for header in headers {
        let span = FieldSpan::new(bytes, header).ok_or(HeadError::TooLarge)?;
        check_line_end(bytes, usize::from(span.name))?;
        spans.push(span);
    }
    check_line_end(bytes, last)?;
    check_line_end(bytes, bytes.len())
}

fn check_line_end(bytes: &[u8], end: usize) -> Result<(), HeadError> {
    let is_whole = end == 0 || bytes.get(..end).is_some_and(|lines| lines.ends_with(b"\r\n"));
    if is_whole { Ok(()) } else { Err(HeadError::LineEnd) }
}
