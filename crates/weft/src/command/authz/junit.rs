//! JUnit's XML, as CI systems read it: a suite, a `testcase` for each case, and a `failure` that
//! tells which rule decided. Times are left out; a decision takes none worth telling.

use std::fmt::Write;

use super::report::{Outcome, decided_by};

/// The report. `file` is the cases' file, `problems` what is wrong with the folder.
pub(super) fn report(outcomes: &[Outcome], file: &str, problems: &[String]) -> String {
    let tests = outcomes.len();
    let failures = outcomes.iter().filter(|outcome| !outcome.ok()).count();
    let counts = format!(r#"tests="{tests}" failures="{failures}" errors="0" skipped="0""#);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let file = escaped(file);
    xml += &format!("<testsuites name=\"weft authz test\" {counts}>\n  <testsuite name=\"{file}\" {counts}>\n");
    for outcome in outcomes {
        testcase(&mut xml, outcome, &file);
    }
    if !problems.is_empty() {
        xml += &format!("    <system-err>{}</system-err>\n", escaped_text(&problems.join("\n")));
    }
    xml += "  </testsuite>\n</testsuites>";
    xml
}

fn testcase(xml: &mut String, outcome: &Outcome, file: &str) {
    let Outcome { case, answer } = outcome;
    let (name, class) = (escaped(&case.name), escaped(&case.to.to_string()));
    let head = format!("    <testcase name=\"{name}\" classname=\"{class}\" file=\"{file}\" line=\"{}\"", case.line);
    if outcome.ok() {
        *xml += &format!("{head}/>\n");
        return;
    }
    let message = escaped(&format!("expected {}, found {}: {}", case.expect, answer.verdict, decided_by(answer)));
    let reason = escaped_text(&answer.whole_reason());
    // Writing to a String can't fail.
    let _ = write!(
        xml,
        "{head}>\n      <failure type=\"verdict\" message=\"{message}\">{reason}</failure>\n    </testcase>\n"
    );
}

/// For an attribute: line ends and tabs would become spaces there (XML 1.0, section 3.3.3).
fn escaped(text: &str) -> String {
    escaped_text(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

/// For text. What no XML document can hold becomes U+FFFD (XML 1.0, section 2.2).
fn escaped_text(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#13;"),
            '\n' | '\t' => xml.push(c),
            '\0'..=' ' if c != ' ' => xml.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_escaped() {
        assert_eq!(
            escaped("a<b>&\"c\"\n\t\r\u{1b}[31m\0\u{ffff}ä"),
            "a&lt;b&gt;&amp;&quot;c&quot;&#10;&#9;&#13;\u{fffd}[31m\u{fffd}\u{fffd}ä"
        );
        assert_eq!(escaped_text("a\nb"), "a\nb");
    }
}
