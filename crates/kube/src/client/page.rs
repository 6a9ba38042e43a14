//! A text of the web, such as a manifest that is applied by its address. It comes whole or not at all,
//! within bounds.

use std::time::Duration;

use http::{Request, Uri, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::{Client, Config};

/// Why a page can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It is no address of the web.
    #[error("expected an address such as https://example.org/app.yaml")]
    Address,
    /// It leads from HTTPS to HTTP, or on and on.
    #[error("it leads to {0}, which isn't followed")]
    Redirect(String),
    /// The server has none.
    #[error("the server answered {0}")]
    Status(u16),
    /// It can't be had whole, and why.
    #[error("{0}")]
    Failed(String),
}

/// The text at an address of HTTP or HTTPS, whose server the system's roots vouch for.
///
/// # Errors
/// [`PageError`]; also after half a minute, and beyond 16 MiB.
pub async fn page(address: &str) -> Result<String, PageError> {
    let late = |_| PageError::Failed(format!("no whole answer came within {} s", PAGE_WAIT.as_secs()));
    tokio::time::timeout(PAGE_WAIT, follow(address)).await.map_err(late)?
}

async fn follow(address: &str) -> Result<String, PageError> {
    let mut uri: Uri = address.parse().map_err(|_| PageError::Address)?;
    for _ in 0..=PAGE_REDIRECTS {
        let answer = ask(&uri).await?;
        if answer.status().is_success() {
            return text(answer.into_body()).await;
        }
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        match location.filter(|_| answer.status().is_redirection()) {
            Some(location) => uri = next(&uri, location)?,
            None => return Err(PageError::Status(answer.status().as_u16())),
        }
    }
    Err(PageError::Redirect(uri.to_string()))
}

/// Asks with a client that knows nothing but the server: no kubeconfig, no credentials.
async fn ask(uri: &Uri) -> Result<http::Response<Body>, PageError> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(PageError::Address) };
    let server: Uri = format!("{scheme}://{authority}/").parse().map_err(|_| PageError::Address)?;
    let failed = |error: &dyn std::error::Error| PageError::Failed(super::error::innermost(error));
    let client = Client::try_from(Config::new(server)).map_err(|error| failed(&error))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::USER_AGENT, "weft").body(Body::empty());
    client.send(request.map_err(|_| PageError::Address)?).await.map_err(|error| failed(&error))
}

/// Where a redirection leads (RFC 9110, section 10.2.2).
fn next(uri: &Uri, location: &str) -> Result<Uri, PageError> {
    let refused = || PageError::Redirect(location.to_owned());
    let text = match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) if location.starts_with('/') && !location.starts_with("//") => {
            format!("{scheme}://{authority}{location}")
        }
        _ => location.to_owned(),
    };
    let next: Uri = text.parse().map_err(|_| refused())?;
    match (uri.scheme_str(), next.scheme_str()) {
        (_, Some("https")) | (Some("http"), Some("http")) => Ok(next),
        _ => Err(refused()),
    }
}

async fn text(body: Body) -> Result<String, PageError> {
    let whole = Limited::new(body, PAGE_BYTES).collect().await;
    let whole = whole.map_err(|error| PageError::Failed(super::error::innermost(&*error)))?.to_bytes();
    String::from_utf8(whole.into()).map_err(|_| PageError::Failed("expected text, found other bytes".to_owned()))
}

const PAGE_WAIT: Duration = Duration::from_secs(30);
const PAGE_BYTES: usize = 16 << 20;
const PAGE_REDIRECTS: usize = 5;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::Clock;

    /// A server that answers each request for a path with the next of these, and its address.
    async fn server(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let text = String::from_utf8(head).unwrap();
                assert!(!text.to_lowercase().contains("authorization"), "{text}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_page_is_had_also_where_it_has_moved() {
        let moved = answer("302 Found", "location: /there?x=1\r\n", "");
        let address = server(vec![moved, answer("200 OK", "", "kind: Pod\n")]).await;
        assert_eq!(page(&format!("{address}/here")).await.as_deref(), Ok("kind: Pod\n"));
    }

    #[tokio::test]
    async fn what_is_no_page_is_told() {
        let address = server(vec![answer("404 Not Found", "", "kind: Pod\n")]).await;
        assert_eq!(page(&address).await, Err(PageError::Status(404)));
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nkind: Pod\n".to_owned();
        let address = server(vec![cut]).await;
        assert!(matches!(page(&address).await, Err(PageError::Failed(_))));
        assert_eq!(page("https:///x").await, Err(PageError::Address));
    }

    #[tokio::test]
    async fn a_page_is_followed_and_read_so_far_and_no_further() {
        let moved = |times| vec![answer("302 Found", "location: /on\r\n", ""); times];
        let found = |times| server([moved(times), vec![answer("200 OK", "", "kind: Pod\n")]].concat());
        assert_eq!(page(&found(5).await).await.as_deref(), Ok("kind: Pod\n"));
        assert!(matches!(page(&found(6).await).await, Err(PageError::Redirect(_))));
        let large = |bytes| server(vec![answer("200 OK", "", &"x".repeat(bytes))]);
        assert!(page(&large(16 << 20).await).await.is_ok());
        assert!(matches!(page(&large((16 << 20) + 1).await).await, Err(PageError::Failed(_))));
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let clock = Clock::stop();
        let asked = tokio::spawn(async move { page(&address).await });
        clock.ends(PAGE_WAIT, || asked.is_finished()).await;
        assert_eq!(asked.await.unwrap(), Err(PageError::Failed("no whole answer came within 30 s".to_owned())));
    }

    #[test]
    fn a_redirection_never_leaves_tls() {
        let next = |from: &str, to: &str| super::next(&from.parse().unwrap(), to).map(|uri| uri.to_string());
        assert_eq!(next("https://a/b", "/c").as_deref(), Ok("https://a/c"));
        assert_eq!(next("http://a/b", "https://c/d").as_deref(), Ok("https://c/d"));
        for to in ["http://a/b", "//c/d", "c", "file:///etc/passwd"] {
            assert_eq!(next("https://a/b", to), Err(PageError::Redirect(to.to_owned())));
        }
    }
}
