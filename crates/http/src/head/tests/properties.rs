use proptest::prelude::*;

use super::*;

/// Bytes that look like a head here and there.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "GET ", "POST ", "CONNECT ", "/", "*", "a:80", "http://a", " HTTP/1.1", " HTTP/1.0", "HTTP/1.1 200 OK",
            "HTTP/1.1 101 ", "\r\n", "\r", "\n", "\r\n\r\n", "Host: a\r\n", "Host: ", "Content-Length: ", "5", ", ",
            "Transfer-Encoding: ", "chunked", "Connection: ", "close", "upgrade", "Upgrade: ", "websocket", "h2c", ":",
            " ", "\t", "X-A: b\r\n", "Expect: 100-continue\r\n", "\u{e4}", "\0",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// What a lenient reader sees in a head, found the slow way: lines of `name: value`.
fn naive_fields(head: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text: String = head.iter().map(|&byte| char::from(byte)).collect();
    let lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").skip(1);
    let bytes = |text: &str| text.chars().map(|letter| letter as u8).collect();
    lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (bytes(name), bytes(value.trim_matches([' ', '\t']))))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_give_an_answer(bytes: Vec<u8>) {
        let _ = HeadParser::new().request(&bytes);
        let _ = HeadParser::new().response(&bytes, WEBSOCKET);
    }

    #[test]
    fn what_is_read_is_what_stands_there(bytes in pieces()) {
        let mut parser = HeadParser::new();
        if let Ok(Some(head)) = parser.request(&bytes) {
            let found: Vec<_> = head.fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
            prop_assert_eq!(found, naive_fields(head.bytes));
            prop_assert!(bytes[..head.consumed].ends_with(head.bytes));
            let line = format!("{} {} HTTP/1.", head.method, head.target_text);
            prop_assert!(head.bytes.starts_with(line.as_bytes()));
        }
        let _ = HeadParser::new().response(&bytes, CONNECT);
    }

    /// However a head arrives, one parser that sees it grow says the same at its end. Only an
    /// error may wait for the head's empty line.
    #[test]
    fn splits_change_nothing(bytes in pieces(), cuts in prop::collection::vec(1usize..20, 0..12)) {
        let whole = outcome(&bytes);
        let mut parser = HeadParser::new();
        let mut end = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            end = (end + cut).min(bytes.len());
            let step = parser.request(&bytes[..end]);
            match step {
                Ok(None) if end < bytes.len() => continue,
                Ok(Some(head)) => {
                    let found = (head.target_text.to_owned(), head.framing, head.persistence, head.consumed);
                    prop_assert_eq!(Ok(Some(found)), whole.clone());
                }
                Ok(None) => {
                    let has_end = bytes.windows(3).any(|window| window.ends_with(b"\n\n") || window == b"\n\r\n");
                    prop_assert!(whole == Ok(None) || (whole.is_err() && !has_end), "{:?}", whole);
                }
                Err(_) => prop_assert!(whole.is_err(), "{:?}", whole),
            }
            return Ok(());
        }
    }

    /// A good head with fields of any kind, in any split.
    #[test]
    fn good_heads_arrive_in_any_pieces(
        values in prop::collection::vec("[ -~]{0,20}", 0..20),
        cuts in prop::collection::vec(1usize..40, 0..20),
    ) {
        let mut text = "GET /x HTTP/1.1\r\nHost: a\r\n".to_owned();
        for (index, value) in values.iter().enumerate() {
            text += &format!("X-{index}: {value}\r\n");
        }
        text += "\r\n";
        let mut parser = HeadParser::new();
        let mut end = 0;
        for cut in cuts {
            end = (end + cut).min(text.len() - 1);
            prop_assert!(matches!(parser.request(&text.as_bytes()[..end]), Ok(None)));
        }
        let head = parser.request(text.as_bytes()).unwrap().unwrap();
        prop_assert_eq!(head.fields.len(), values.len() + 1);
        prop_assert_eq!(head.consumed, text.len());
    }
}

#[test]
fn a_parser_serves_one_head_after_another() {
    let mut parser = HeadParser::new();
    let stream = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /22 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(matches!(parser.request(&stream[..20]), Ok(None)));
    let first = parser.request(stream).unwrap().unwrap().consumed;
    let second = parser.request(&stream[first..]).unwrap().unwrap();
    assert_eq!((second.target_text, second.consumed), ("/22", stream.len() - first));
}

/// What the parser keeps of a head is all that it allocates.
#[test]
fn memory_is_used_again() {
    let mut parser = HeadParser::new();
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nY: z\r\n\r\n";
    parser.request(bytes).unwrap();
    let before = (parser.spans.as_ptr(), parser.spans.capacity());
    for _ in 0..10 {
        parser.request(bytes).unwrap();
    }
    assert_eq!((parser.spans.as_ptr(), parser.spans.capacity()), before);
}
