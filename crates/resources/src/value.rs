//! Files in YAML or JSON that hold one value and no resource, such as a list of test cases.

use crate::parse::{end_of, fault, with_line_feeds};
use crate::problem::Problem;
use crate::yaml::{self, Budget, Node, Place};

/// Parses a file's only document. `file` is its name for messages.
///
/// # Errors
/// What was expected and found: no UTF-8, no YAML, more than one document, or none.
pub fn parse_value(file: &str, bytes: &[u8]) -> Result<Node, Box<Problem>> {
    let refused = |at, message| Box::new(fault(file, at, message));
    let bytes = with_line_feeds(bytes.strip_prefix(yaml::BYTE_ORDER_MARK).unwrap_or(bytes));
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let found = bytes[error.valid_up_to()];
        refused(end_of(&before, 1), format!("expected UTF-8, found the byte 0x{found:02X}"))
    })?;
    let (documents, broken) = yaml::read(text, 1, &mut Budget::default());
    if let Some(broken) = broken {
        return Err(refused(broken.at, broken.message));
    }
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(document), None) => Ok(document),
        (None, _) => Err(refused(Place { line: 1, column: 1 }, "expected one document, found none".to_owned())),
        (Some(_), Some(second)) => Err(refused(second.at, "expected one document, found another".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Value;

    #[test]
    fn the_only_document_is_given() {
        let node = parse_value("c.yaml", b"\xef\xbb\xbf---\ncases: []\n").unwrap();
        assert_eq!(node.child("cases").map(|cases| &cases.value), Some(&Value::List(Vec::new())));
        assert_eq!(parse_value("c.json", b"{\"cases\": 1}").unwrap().at.line, 1);
    }

    #[test]
    fn what_is_no_single_document_is_refused() {
        let check = |bytes: &[u8], expected: &str| {
            let problem = parse_value("c.yaml", bytes).unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{problem}");
        };
        check(b"a: 1\nb: \xff\n", "c.yaml:2: expected UTF-8, found the byte 0xFF");
        check(b"a: [\n", "c.yaml:");
        check(b"", "c.yaml:1: expected one document, found none");
        check(b"a: 1\n---\nb: 2\n", "c.yaml:3: expected one document, found another");
    }
}
