//! One scrape on the wire: a GET with a deadline, an answer within its limits.
//!
//! Whatever a target does — trickle, redirect in circles, send without end, unpack to gigabytes — costs at most the
//! time-out and twice the limit on bytes. Credentials go to the host that the job names and to no other: a redirect
//! elsewhere is followed without them.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use homeostat_model::TimeMs;
use homeostat_wire::gzip::{self, GzipError};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{
    credentials, duration,
    spec::{Format, HttpSpec},
    tls::{self, TlsError},
};

/// Redirects that are followed at most, as browsers and Prometheus have it.
const REDIRECTS_MAX: usize = 10;
/// Characters of a target's words in an error.
const WORDS_MAX: usize = 200;

/// Who we are.
const AGENT: &str = concat!("homeostat/", env!("CARGO_PKG_VERSION"));

/// What a target answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The exposition, unpacked.
    pub body: Bytes,
    /// `Content-Type`; empty when there was none.
    pub content_type: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address cannot be asked.
    #[error("`{url}` cannot be asked: {reason}")]
    Request {
        /// Which.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A credential's file cannot be read or holds what no header can.
    #[error(transparent)]
    Credentials(#[from] credentials::CredentialsError),
    /// No connection, or it broke.
    #[error("the target cannot be reached")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another status than 200.
    #[error("the target answered {status}{}", said(.words))]
    Status {
        /// Which.
        status: StatusCode,
        /// The beginning of what it said.
        words: String,
    },
    /// It goes round in circles.
    #[error("the target redirects more than {REDIRECTS_MAX} times")]
    Redirects,
    /// A redirect where none is followed, or to nowhere.
    #[error("the target redirects to {to:?}; set `follow_redirects: true` or scrape that address")]
    Redirect {
        /// Where to.
        to: String,
    },
    /// Larger than the job allows.
    #[error("the answer is larger than {limit} bytes; raise `body_size_limit` or expose less")]
    TooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// Packed in a way that is not understood, or damaged.
    #[error("the answer cannot be unpacked: {reason}")]
    Encoding {
        /// Why.
        reason: String,
    },
    /// Too slow.
    #[error("the target did not answer within {}", duration::show(*.0))]
    Timeout(Duration),
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" and said {words:?}") }
}

/// A request that was not answered.
#[derive(Debug)]
pub struct Unanswered {
    /// Why not.
    pub error: FetchError,
    /// Whether it may have arrived all the same.
    pub sent: Sent,
}

/// How much of a request had left when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing of its body: there was no connection.
    Nothing,
    /// Some of it, or all.
    Perhaps,
}

/// What one GET needs to know.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Where.
    pub url: &'a str,
    /// Longest time for everything.
    pub timeout: Duration,
    /// `Accept`.
    pub accept: &'a str,
    /// Whether gzip is asked for.
    pub compression: bool,
    /// Bytes of the unpacked answer at most.
    pub body_bytes_max: u64,
}

/// Asks targets of one job; keeps their connections.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Noted>,
    spec: Arc<HttpSpec>,
}

impl Fetcher {
    /// Reads the certificates that the job names.
    pub fn new(spec: Arc<HttpSpec>) -> Result<Self, TlsError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls::client_config(&spec.tls)?).https_or_http();
        let builder = match tls::server_name(&spec.tls)? {
            Some(name) => builder.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name)),
            None => builder,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Longer than most intervals, so that a connection serves more than one scrape.
            .pool_idle_timeout(Duration::from_mins(5))
            .pool_max_idle_per_host(1)
            .build(builder.enable_http1().wrap_connector(connector));
        Ok(Self { client, spec })
    }

    /// Asks once.
    pub async fn get(&self, question: &Question<'_>) -> Result<Answer, FetchError> {
        let all = self.follow(question);
        tokio::time::timeout(question.timeout, all).await.unwrap_or(Err(FetchError::Timeout(question.timeout)))
    }

    /// Sends a body once and gives what came of it, whatever the status. Redirects are not followed: a body goes where
    /// it was sent, or nowhere.
    pub async fn post(
        &self,
        url: &str,
        own: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<(StatusCode, HeaderMap, String), Unanswered> {
        let begun = Arc::new(AtomicBool::new(false));
        let body = Noted { body: Full::new(body), begun: Arc::clone(&begun) };
        let all = async {
            let mut request = Request::new(body);
            *request.method_mut() = Method::POST;
            *request.uri_mut() = parse(url)?;
            let headers = request.headers_mut();
            *headers = own;
            headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
            self.own_headers(headers).await?;
            let response = self.client.request(request).await.map_err(|error| FetchError::Connect(error.into()))?;
            let (parts, body) = response.into_parts();
            Ok((parts.status, parts.headers, words(body).await))
        };
        let answered = tokio::time::timeout(limit, all).await.unwrap_or(Err(FetchError::Timeout(limit)));
        answered.map_err(|error| {
            let sent = if begun.load(Ordering::Relaxed) { Sent::Perhaps } else { Sent::Nothing };
            Unanswered { error, sent }
        })
    }

    async fn follow(&self, question: &Question<'_>) -> Result<Answer, FetchError> {
        let mut uri = parse(question.url)?;
        let home = uri.authority().cloned();
        for _ in 0..=REDIRECTS_MAX {
            let at_home = uri.authority() == home.as_ref();
            let response = self.ask(&uri, question, at_home).await?;
            if !response.status().is_redirection() {
                return answer(response, question.body_bytes_max).await;
            }
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
            let next = if self.spec.follow_redirects { resolve(&uri, to) } else { None };
            uri = next.ok_or_else(|| FetchError::Redirect { to: to.chars().take(WORDS_MAX).collect() })?;
        }
        Err(FetchError::Redirects)
    }

    async fn ask(&self, uri: &Uri, question: &Question<'_>, at_home: bool) -> Result<Response<Incoming>, FetchError> {
        let mut request = Request::new(Noted::default());
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        let wrong = |reason: String| FetchError::Request { url: question.url.to_owned(), reason };
        let accept = HeaderValue::from_str(question.accept).map_err(|error| wrong(error.to_string()))?;
        headers.insert(header::ACCEPT, accept);
        if question.compression {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        if let Ok(seconds) = HeaderValue::from_str(&question.timeout.as_secs_f64().to_string()) {
            headers.insert("x-prometheus-scrape-timeout-seconds", seconds);
        }
        if at_home {
            self.own_headers(headers).await?;
        }
        self.client.request(request).await.map_err(|error| FetchError::Connect(error.into()))
    }

    async fn own_headers(&self, headers: &mut HeaderMap) -> Result<(), FetchError> {
        for (name, value) in &self.spec.headers {
            let wrong = || FetchError::Request { url: name.clone(), reason: "it is no header".to_owned() };
            let name = HeaderName::try_from(name).map_err(|_| wrong())?;
            headers.append(name, HeaderValue::try_from(value).map_err(|_| wrong())?);
        }
        if let Some(credentials) = &self.spec.credentials {
            headers.insert(header::AUTHORIZATION, credentials::header_of(credentials).await?);
        }
        Ok(())
    }
}

/// A body that notes when it is asked for: only where there is a connection that can be written to.
#[derive(Clone, Debug, Default)]
struct Noted {
    body: Full<Bytes>,
    begun: Arc<AtomicBool>,
}

impl Body for Noted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.begun.store(true, Ordering::Relaxed);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn parse(url: &str) -> Result<Uri, FetchError> {
    let wrong = |reason: String| FetchError::Request { url: url.to_owned(), reason };
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
    if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("it needs `http://` or `https://` and a host".to_owned()));
    }
    Ok(uri)
}

/// Where a redirect leads: an address of its own, or a path of the same host.
fn resolve(from: &Uri, to: &str) -> Option<Uri> {
    if to.starts_with('/') && !to.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(to.parse().ok()?);
        return Uri::from_parts(parts).ok();
    }
    parse(to).ok()
}

async fn answer(response: Response<Incoming>, limit: u64) -> Result<Answer, FetchError> {
    let (parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return Err(FetchError::Status { status: parts.status, words: words(body).await });
    }
    let limit_here = usize::try_from(limit).unwrap_or(usize::MAX);
    let body = Limited::new(body, limit_here).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { FetchError::TooLarge { limit } } else { FetchError::Connect(error) }
    })?;
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let body = match text(header::CONTENT_ENCODING) {
        "" | "identity" => body.to_bytes(),
        "gzip" => gunzip(&body.to_bytes(), limit)?,
        other => return Err(FetchError::Encoding { reason: format!("{other:?} is not understood") }),
    };
    Ok(Answer { body, content_type: text(header::CONTENT_TYPE).to_owned() })
}

/// The beginning of what somebody said, however long it goes on and however it ends.
async fn words(mut body: impl Body<Data = Bytes> + Unpin) -> String {
    // A character takes four bytes at most.
    const BYTES_MAX: usize = WORDS_MAX * 4;
    let mut words = Vec::new();
    while words.len() < BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        let data = frame.into_data().unwrap_or_default();
        words.extend(data.iter().take(BYTES_MAX - words.len()));
    }
    String::from_utf8_lossy(&words).trim().chars().take(WORDS_MAX).collect()
}

fn gunzip(packed: &[u8], limit: u64) -> Result<Bytes, FetchError> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    gzip::unpack(packed, most).map(Bytes::from).map_err(|error| match error {
        GzipError::Damaged(error) => FetchError::Encoding { reason: error.to_string() },
        GzipError::TooLarge { .. } => FetchError::TooLarge { limit },
    })
}

/// The `Accept` header of formats, the first being liked best. Escaping is asked for as UTF-8: names stay as they are.
pub fn accept_of(formats: &[Format]) -> String {
    let kinds = formats.iter().map(|format| match format {
        Format::Protobuf => {
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
        }
        Format::OpenMetrics1 => "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
        Format::OpenMetrics0 => "application/openmetrics-text;version=0.0.1",
        Format::Text1 => "text/plain;version=1.0.0;escaping=allow-utf-8",
        Format::Text0 => "text/plain;version=0.0.4",
    });
    let mut accept = String::new();
    for (at, kind) in kinds.enumerate() {
        // From 0.9 downwards; a tenth format would not fit one digit and there is none.
        accept.push_str(&format_args!("{kind};q=0.{},", 9_usize.saturating_sub(at).max(2)).to_string());
    }
    accept.push_str("*/*;q=0.1");
    accept
}

/// Milliseconds since 1970 by the wall clock: what a sample without a time of its own gets.
pub fn now_ms() -> TimeMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as TimeMs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_asked_for_in_order() {
        let accept = accept_of(&[Format::OpenMetrics1, Format::Text0]);
        assert_eq!(
            accept,
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.9,text/plain;version=0.0.4;q=0.8,*/*;q=0.1"
        );
    }

    #[test]
    fn redirects_lead_to_paths_and_to_other_hosts() {
        let from = parse("http://a:1/x?y=z").unwrap();
        assert_eq!(resolve(&from, "/m?n=o").unwrap().to_string(), "http://a:1/m?n=o");
        assert_eq!(resolve(&from, "https://b:2/").unwrap().to_string(), "https://b:2/");
        assert!(resolve(&from, "ftp://b").is_none() && resolve(&from, "").is_none());
    }

    #[tokio::test]
    async fn the_beginning_of_a_long_speech_is_kept() {
        assert_eq!(words(Full::from(" short ")).await, "short");
        assert_eq!(words(Full::from("ä".repeat(10_000))).await, "ä".repeat(WORDS_MAX));
        let page = format!("<html>{}", "x".repeat(100_000));
        assert!(words(Full::from(page)).await.starts_with("<html>xxx"));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let packed = gzip::pack(&vec![0_u8; 1 << 20]);
        assert!(matches!(gunzip(&packed, 1 << 10), Err(FetchError::TooLarge { limit: 1024 })));
        assert_eq!(gunzip(&packed, 1 << 20).unwrap().len(), 1 << 20);
        assert!(matches!(gunzip(b"\x1f\x8bno", 10), Err(FetchError::Encoding { .. })));
    }
}
