//! What the access logs of several proxies say of one request, put together. Pure: lines in, words out.

use serde::Deserialize;
use serde_json::Value;

use crate::figures::NOTHING;
use crate::print;

/// One request, as all who logged it saw it.
#[derive(Debug)]
pub(super) struct Story {
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    line: Value,
    seen: Seen,
}

/// A line of the access log, as far as it tells why.
#[derive(Debug, Deserialize)]
struct Seen {
    start: String,
    duration_ms: u64,
    reporter: Reporter,
    source_workload: Option<String>,
    source_namespace: Option<String>,
    source_principal: Option<String>,
    destination_workload: Option<String>,
    destination_namespace: Option<String>,
    destination_principal: Option<String>,
    verdict: Option<String>,
    reason: Option<String>,
    flag: String,
    hop: Option<String>,
    why: Option<String>,
    detail: Option<String>,
    method: Option<String>,
    authority: Option<String>,
    path: Option<String>,
    status: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reporter {
    Source,
    Destination,
}

impl Story {
    /// The lines of a log that are of this request; `None` when none is.
    pub(super) fn of<'a>(id: &str, lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut calls: Vec<Call> = lines.filter_map(|line| Call::of(id, line)).collect();
        // RFC 3339 in UTC, with as many digits each: the order of the texts is that of the times.
        calls.sort_by(|a, b| a.seen.start.cmp(&b.seen.start));
        (!calls.is_empty()).then_some(Self { calls })
    }

    /// Its lines, in the order of time.
    pub(super) fn calls(&self) -> Vec<&Value> {
        self.calls.iter().map(|call| &call.line).collect()
    }

    /// What was asked, who saw it, and what it comes to.
    pub(super) fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.calls.iter().map(|call| call.seen.row()).collect();
        let table = print::table(&["START", "PROXY OF", "PEER", "STATUS", "TOOK", "OUTCOME"], &rows);
        format!("{}\n\n{table}\n\n{}", self.asked(), self.conclusion())
    }

    fn asked(&self) -> String {
        let told = |part: fn(&Seen) -> Option<&String>| self.calls.iter().find_map(|call| part(&call.seen));
        let words = [told(|seen| seen.method.as_ref()), told(|seen| seen.authority.as_ref())];
        let [method, authority] = words.map(|word| word.map_or("", String::as_str));
        format!("{method} {authority}{}", told(|seen| seen.path.as_ref()).map_or("", String::as_str))
    }

    /// Who ended it, and why. The caller's proxy knows how it ended, the callee's why.
    pub(super) fn conclusion(&self) -> String {
        let seen = || self.calls.iter().map(|call| &call.seen);
        let by_caller = seen().rfind(|seen| seen.reporter == Reporter::Source);
        let Some(end) = by_caller.or_else(|| seen().next_back()) else { return NOTHING.to_owned() };
        let is_cause = |seen: &&Seen| {
            seen.reporter == Reporter::Destination && seen.outcome().is_some() && seen.status == end.status
        };
        let cause = seen().rfind(is_cause).unwrap_or(end);
        match (cause.outcome(), &cause.hop) {
            (Some(outcome), _) if cause.is_denied() => format!("{} refused it: {outcome}", cause.proxy()),
            (Some(outcome), Some(hop)) => format!("it failed at the {hop}, says {}: {outcome}", cause.proxy()),
            (Some(outcome), None) => format!("it failed, says {}: {outcome}", cause.proxy()),
            (None, _) => format!("{} answered it with status {}", cause.callee(), status(cause.status)),
        }
    }
}

impl Call {
    fn of(id: &str, line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let is_meant = line["request_id"] == id;
        let seen = is_meant.then(|| Seen::deserialize(&line).ok())??;
        Some(Self { line, seen })
    }
}

impl Seen {
    fn row(&self) -> Vec<String> {
        let clock = self.start.get(11..23).unwrap_or(&self.start);
        let (own, peer, principal) = match self.reporter {
            Reporter::Source => (self.caller(), self.callee(), &self.destination_principal),
            Reporter::Destination => (self.callee(), self.caller(), &self.source_principal),
        };
        let side = if self.reporter == Reporter::Source { "caller" } else { "callee" };
        let peer = principal.as_ref().map_or(format!("{peer}, unproved"), |principal| format!("{peer} as {principal}"));
        let outcome =
            self.outcome().unwrap_or_else(|| if self.verdict.is_some() { "allowed" } else { "passed on" }.into());
        let took = format!("{} ms", self.duration_ms);
        vec![clock.to_owned(), format!("{side} {own}"), peer, status(self.status), took, outcome]
    }

    fn is_denied(&self) -> bool {
        self.verdict.as_deref() == Some("deny")
    }

    /// What went wrong; `None` where nothing did.
    fn outcome(&self) -> Option<String> {
        if self.is_denied() {
            return Some(self.reason.clone().unwrap_or_else(|| "denied".to_owned()));
        }
        let why = self.why.as_ref()?;
        let detail = self.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        Some(format!("{why}{detail} (flag {})", self.flag))
    }

    fn proxy(&self) -> String {
        match self.reporter {
            Reporter::Source => format!("the proxy of {}", self.caller()),
            Reporter::Destination => format!("the proxy of {}", self.callee()),
        }
    }

    fn caller(&self) -> String {
        party(self.source_namespace.as_deref(), self.source_workload.as_deref())
    }

    fn callee(&self) -> String {
        party(self.destination_namespace.as_deref(), self.destination_workload.as_deref())
    }
}

fn party(namespace: Option<&str>, workload: Option<&str>) -> String {
    match (namespace, workload) {
        (Some(namespace), Some(workload)) if workload != "unknown" => format!("{namespace}/{workload}"),
        _ => "somebody outside the mesh".to_owned(),
    }
}

/// 0 means that no answer came.
fn status(status: Option<u16>) -> String {
    status.filter(|status| *status != 0).map_or(NOTHING.to_owned(), |status| status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "f123324b";

    fn line(reporter: &str, more: Value) -> String {
        let mut line = serde_json::json!({
            "start": "2026-11-30T12:09:31.079597389Z", "duration_ms": 4, "reporter": reporter, "request_id": ID,
            "source_workload": "c-1", "source_namespace": "default", "source_principal": "spiffe://d/ns/default/sa/c",
            "destination_workload": "api-1", "destination_namespace": "shop", "flag": "-",
            "method": "GET", "authority": "api:81", "path": "/x", "status": 200,
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line.to_string()
    }

    fn story(lines: &[String]) -> Story {
        Story::of(ID, lines.iter().map(String::as_str)).unwrap()
    }

    #[test]
    fn a_refusal_is_the_callees_proxys() {
        let denied = serde_json::json!({"verdict": "deny", "reason": "denied: no ALLOW rule", "status": 403, "flag": "DENY",
            "why": "policy", "hop": "callee's proxy", "start": "2026-11-30T12:09:31.08Z"});
        let told = story(&[line("destination", denied), line("source", serde_json::json!({"status": 403}))]);
        assert_eq!(told.conclusion(), "the proxy of shop/api-1 refused it: denied: no ALLOW rule");
        let text = told.text();
        assert!(text.starts_with("GET api:81/x\n"), "{text}");
        assert!(text.find("caller default/c-1") < text.find("callee shop/api-1"), "by time: {text}");
    }

    #[test]
    fn what_another_endpoint_has_made_good_is_no_cause() {
        let failed = serde_json::json!({"verdict": "allow", "status": 503, "flag": "UF", "why": "connect",
            "hop": "callee's proxy", "detail": "port 81: refused"});
        let told = story(&[line("destination", failed.clone()), line("source", serde_json::json!({}))]);
        assert_eq!(told.conclusion(), "shop/api-1 answered it with status 200");
        let told = story(&[line("destination", failed.clone()), line("source", failed)]);
        let cause =
            "it failed at the callee's proxy, says the proxy of shop/api-1: connect: port 81: refused (flag UF)";
        assert_eq!(told.conclusion(), cause);
    }

    #[test]
    fn lines_of_others_and_what_is_no_line_are_passed_over() {
        let other = line("source", serde_json::json!({"request_id": "other"}));
        let strange = format!("{{\"request_id\": \"{ID}\"}}");
        for text in [other.as_str(), &strange, "INFO f123324b", "{", ""] {
            assert!(Story::of(ID, [text].into_iter()).is_none(), "{text}");
        }
    }
}
