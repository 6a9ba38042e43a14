use proptest::prelude::*;

use super::*;

/// All parts of a body that arrives in pieces of these sizes, kept by a caller that holds back
/// what isn't taken; then what remains of `bytes` and whether the body is over.
fn read(framing: Framing, bytes: &[u8], pieces: &[usize]) -> Result<Body, BodyError> {
    let mut reader = BodyReader::new(framing);
    let mut body = Body::default();
    let (mut start, mut end) = (0, 0);
    for piece in pieces.iter().copied().chain([bytes.len()]) {
        end = (end + piece).min(bytes.len());
        loop {
            let at_hand = &bytes[start..end];
            let part = match reader.step(at_hand)? {
                Step::Data(part) => {
                    body.data.extend(&at_hand[..part]);
                    part
                }
                Step::Framing(part) => part,
                Step::Trailers(part) => {
                    body.trailers.extend(&at_hand[..part]);
                    part
                }
                Step::NeedMore | Step::Over => break,
            };
            assert!(part > 0 && part <= at_hand.len());
            start += part;
        }
    }
    body.length = start;
    body.over = reader.is_over();
    Ok(body)
}

#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Body {
    data: Vec<u8>,
    trailers: Vec<u8>,
    length: usize,
    over: bool,
}

fn chunked(text: &str) -> Result<(String, String, &str), BodyError> {
    let body = read(Framing::Chunked, text.as_bytes(), &[])?;
    assert!(body.over, "{text:?}");
    let string = |bytes| String::from_utf8(bytes).unwrap();
    Ok((string(body.data), string(body.trailers), &text[body.length..]))
}

#[test]
fn lengths_are_counted() {
    let mut reader = BodyReader::new(Framing::Length(5));
    assert_eq!(reader.take(b"hel"), Ok(Taken { length: 3, over: false }));
    assert_eq!(reader.take(b""), Ok(Taken { length: 0, over: false }));
    assert_eq!(reader.take(b"loGET"), Ok(Taken { length: 2, over: true }));
    assert_eq!(reader.take(b"GET"), Ok(Taken { length: 0, over: true }));
    assert!(BodyReader::new(Framing::Empty).is_over());
    assert!(BodyReader::new(Framing::Length(0)).is_over());
    let mut huge = BodyReader::new(Framing::Length(u64::MAX));
    assert_eq!(huge.take(b"abc"), Ok(Taken { length: 3, over: false }));
}

#[test]
fn the_end_of_the_stream_ends_only_what_it_may() {
    let mut open = BodyReader::new(Framing::UntilClose);
    assert_eq!(open.take(b"abc"), Ok(Taken { length: 3, over: false }));
    assert_eq!(open.end_of_stream(), Ok(()));
    assert_eq!(open.take(b"abc"), Ok(Taken { length: 0, over: true }));
    assert_eq!(BodyReader::new(Framing::Length(1)).end_of_stream(), Err(BodyError::Truncated));
    assert_eq!(BodyReader::new(Framing::Empty).end_of_stream(), Ok(()));
    let text = b"3\r\nabc\r\n0\r\n\r\n";
    for end in 0..=text.len() {
        let mut reader = BodyReader::new(Framing::Chunked);
        reader.take(&text[..end]).unwrap();
        assert_eq!(reader.end_of_stream().is_ok(), end == text.len(), "{end}");
    }
}

#[test]
fn chunks_are_found() {
    let cases = [
        ("0\r\n\r\nGET", "", "", "GET"),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", "", ""),
        ("5\r\nhello\r\n00000\r\n\r\n", "hello", "", ""),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", "", ""),
        ("a\r\n0123456789\r\nB\r\nhello world\r\n0\r\n\r\n", "0123456789hello world", "", ""),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", "", ""),
        ("1;a\r\nx\r\n0;b=c;d=\"e \\\" ;f\"\r\n\r\n", "x", "", ""),
        ("1;a=\"\"\r\nx\r\n0\r\n\r\n", "x", "", ""),
        ("1\r\nx\r\n0\r\nX-Sum: 1\r\nother:\r\n\r\n\r\n", "x", "X-Sum: 1\r\nother:\r\n\r\n", "\r\n"),
    ];
    for (text, data, trailers, rest) in cases {
        assert_eq!(chunked(text), Ok((data.to_owned(), trailers.to_owned(), rest)), "{text:?}");
    }
}

#[test]
fn size_tricks_are_refused() {
    for line in [
        "",
        " 5",
        "5 ",
        "5\t",
        "\t5",
        "+5",
        "-5",
        "0x5",
        "0X5",
        "x5",
        "5x",
        "5h",
        "5,5",
        "5.0",
        "5_0",
        "\"5\"",
        "5\0",
        "\0",
        "5\x0b",
        "5 5",
        "00000000000000005",
        "8000000000000000",
        "ffffffffffffffff",
        "10000000000000000",
        "5 ;a",
        "5; a",
        "5;a =b",
        "5;a= b",
        "5;",
        "5;;a",
        "5;a=",
        "5;=b",
        "5;a;",
        "5;a=\"b",
        "5;a=\"b\"c",
        "5;a=\"\\\"",
        "5;a=\"\x01\"",
        "5;a\r",
        "5;\ra",
        "5;a=\"\r\"",
        "5;a b",
        "5;a\x0bb",
        "5:a",
        "\u{665}",
        "5;\u{e4}",
    ] {
        let text = format!("{line}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(chunked(&text), Err(BodyError::ChunkSize), "{line:?}");
    }
    for text in
        ["5\nhello\r\n0\r\n\r\n", "5;a\nhello\r\n0\r\n\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n", "5;a\r\n\nhello\r\n"]
    {
        assert!(chunked_fails(text), "{text:?}");
    }
}

fn chunked_fails(text: &str) -> bool {
    read(Framing::Chunked, text.as_bytes(), &[]).is_err()
}

#[test]
fn data_ends_where_its_size_says() {
    for text in [
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
    ] {
        assert_eq!(chunked(text), Err(BodyError::ChunkEnd), "{text:?}");
    }
}

#[test]
fn trailers_are_strict() {
    use HeadError::{FieldName, FieldValue, LineEnd, TooManyFields};
    let many = "a: b\r\n".repeat(MAX_TRAILER_FIELDS + 1);
    let cases: [(&str, BodyError); 20] = [
        ("a : b\r\n", BodyError::Trailers(FieldName)),
        (": b\r\n", BodyError::Trailers(FieldName)),
        ("a\r\n", BodyError::Trailers(FieldName)),
        (" a: b\r\n", BodyError::Trailers(FieldName)),
        ("a: b\r\n c\r\n", BodyError::Trailers(FieldName)),
        ("\ra: b\r\n", BodyError::Trailers(LineEnd)),
        ("\na: b\r\n", BodyError::Trailers(LineEnd)),
        ("a: b\nc: d\r\n", BodyError::Trailers(LineEnd)),
        ("a: b\n\nGET / HTTP/1.1\r\n", BodyError::Trailers(LineEnd)),
        ("a: b\0\r\n", BodyError::Trailers(FieldValue)),
        ("a: b\rc\r\n", BodyError::Trailers(FieldValue)),
        (&many, BodyError::Trailers(TooManyFields)),
        ("Content-Length: 5\r\n", BodyError::RefusedTrailer),
        ("transfer_encoding: chunked\r\n", BodyError::RefusedTrailer),
        ("x: y\r\nHost: a\r\n", BodyError::RefusedTrailer),
        ("authorization: Bearer x\r\n", BodyError::RefusedTrailer),
        ("If-Match: x\r\n", BodyError::RefusedTrailer),
        ("connection: close\r\n", BodyError::RefusedTrailer),
        ("trailer: x\r\n", BodyError::RefusedTrailer),
        ("Set-Cookie: x\r\n", BodyError::RefusedTrailer),
    ];
    for (fields, error) in cases {
        assert_eq!(chunked(&format!("0\r\n{fields}\r\n")), Err(error), "{fields:?}");
    }
    let names: &[&str] = &["x-forwarded-client-cert"];
    let mut reader = BodyReader::new(Framing::Chunked).refusing_trailers(names);
    assert_eq!(reader.take(b"0\r\nX_Forwarded_Client_Cert: me\r\n\r\n"), Err(BodyError::RefusedTrailer));
}

#[test]
fn bounds_are_kept() {
    let line = |length: usize| format!("1;a={}\r\nx\r\n0\r\n\r\n", "b".repeat(length - 6));
    assert!(chunked(&line(MAX_CHUNK_LINE_BYTES)).is_ok());
    assert_eq!(chunked(&line(MAX_CHUNK_LINE_BYTES + 1)), Err(BodyError::ChunkLineTooLong));
    // However much of it is at hand, what is no size line is no long one.
    assert_eq!(chunked(&"x".repeat(MAX_CHUNK_LINE_BYTES)), Err(BodyError::ChunkSize));
    let trailers = |length: usize| format!("0\r\na: {}\r\n\r\n", "b".repeat(length - 7));
    assert!(chunked(&trailers(MAX_TRAILER_BYTES)).is_ok());
    assert_eq!(chunked(&trailers(MAX_TRAILER_BYTES + 1)), Err(BodyError::TrailersTooLarge));
}

#[test]
fn what_is_waited_for_may_still_become_good() {
    for (text, is_hopeful) in [("5", true), ("5;a", true), ("5\r", true), ("5 ", false), ("g", false), (";", false)] {
        let waits = BodyReader::new(Framing::Chunked).step(text.as_bytes()) == Ok(Step::NeedMore);
        assert_eq!(waits, is_hopeful, "{text:?}");
    }
}

#[test]
fn written_chunks_are_read() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("content-length", "5".parse().unwrap());
    let mut out = Vec::new();
    for data in [b"hello".as_slice(), b"", &[b'x'; 300]] {
        write_chunk_start(data.len(), &mut out);
        if !data.is_empty() {
            out.extend(data);
            out.extend(b"\r\n");
        }
    }
    write_last_chunk(&trailers, &mut out);
    let text = String::from_utf8(out).unwrap();
    let data = format!("hello{}", "x".repeat(300));
    assert_eq!(chunked(&text), Ok((data, "grpc-status: 0\r\n\r\n".to_owned(), "")));
}

/// A good chunked body: its bytes and its data.
fn good_bodies() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let chunk = (prop::collection::vec(any::<u8>(), 1..40), prop::sample::select(vec!["", ";a", ";a=b;c=\"d e\""]));
    let trailers = prop::sample::select(vec!["", "x: y\r\n", "a:\r\nb: c d\r\n"]);
    (prop::collection::vec(chunk, 0..6), trailers).prop_map(|(chunks, trailers)| {
        let (mut bytes, mut data) = (Vec::new(), Vec::new());
        for (chunk, extension) in chunks {
            bytes.extend(format!("{:X}{extension}\r\n", chunk.len()).bytes());
            bytes.extend(&chunk);
            bytes.extend(b"\r\n");
            data.extend(chunk);
        }
        bytes.extend(format!("0\r\n{trailers}\r\nNEXT").bytes());
        (bytes, data)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn splits_of_good_bodies_change_nothing((bytes, data) in good_bodies(), pieces in prop::collection::vec(0usize..12, 0..60)) {
        let whole = read(Framing::Chunked, &bytes, &[]).unwrap();
        prop_assert_eq!((&whole.data, whole.length, whole.over), (&data, bytes.len() - 4, true));
        prop_assert_eq!(read(Framing::Chunked, &bytes, &pieces), Ok(whole.clone()));
        let bytewise = vec![1; bytes.len()];
        prop_assert_eq!(read(Framing::Chunked, &bytes, &bytewise), Ok(whole));
    }

    /// One damaged byte: never a panic, and never another answer for another split.
    #[test]
    fn damage_is_judged_alike_in_any_split(
        (mut bytes, _) in good_bodies(),
        at: prop::sample::Index,
        byte: u8,
        pieces in prop::collection::vec(0usize..12, 0..60),
    ) {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let whole = read(Framing::Chunked, &bytes, &[]);
        prop_assert_eq!(read(Framing::Chunked, &bytes, &pieces), whole);
    }

    #[test]
    fn any_bytes_give_an_answer(bytes: Vec<u8>, length: u64) {
        for framing in [Framing::Chunked, Framing::Length(length), Framing::UntilClose, Framing::Empty] {
            if let Ok(taken) = BodyReader::new(framing).take(&bytes) {
                prop_assert!(taken.length <= bytes.len());
            }
        }
    }
}
