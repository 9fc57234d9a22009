//! Requests on the wire: one HTTP client for all receivers, TLS by rustls with the system's roots.
//!
//! Errors are words without addresses: what the layers below say may quote the URL, and URLs of chat bots are secrets.
//! For the same reason nothing that those layers log is heard: the client and its connections run without a subscriber.

use std::{error::Error, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioTimer,
};
use tracing::{Dispatch, instrument::WithSubscriber as _};

use crate::{limits::REPLY_BYTES_MAX, payload::Outgoing};

/// What a receiver answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After` in seconds, if it was a number.
    pub retry_after: Option<Duration>,
    /// The body, empty if it was too long or broke off: the status has said enough.
    pub body: Vec<u8>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The address or the bearer token cannot be used; the configuration checks both.
    #[error("its address or token cannot be used")]
    Request,
    /// No connection.
    #[error("it could not be reached: {}", words(*.0))]
    Connect(io::ErrorKind),
    /// The TLS handshake failed.
    #[error("TLS failed; check its certificate and that its authority is among the system's roots")]
    Tls,
    /// The connection ended before an answer.
    #[error("it closed the connection without an answer")]
    Closed,
    /// It took too long.
    #[error("it did not answer in time")]
    Timeout,
    /// The delivery itself broke; a bug of ours.
    #[error("the delivery was broken off")]
    Broken,
}

/// Kinds of failure that say nothing to an operator are mostly those of name resolution.
fn words(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::TimedOut => kind.to_string(),
        _ => "its name does not resolve, or there is no way to it".to_owned(),
    }
}

/// A pending answer.
pub type Answer = Pin<Box<dyn Future<Output = Result<Reply, SendError>> + Send>>;

/// Carries requests; the tests have their own.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and waits for its answer, `timeout` at most.
    fn send(&self, outgoing: Outgoing, timeout: Duration) -> Answer;
}

/// The real one. Connections are kept for further messages.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpTransport {
    /// Reads the system's roots. Without any, `http://` works and `https://` fails with [`SendError::Tls`].
    pub fn new() -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let connector = match HttpsConnectorBuilder::new().with_provider_and_native_roots(Arc::clone(&provider)) {
            Ok(builder) => builder.https_or_http().enable_http1().build(),
            Err(error) => {
                tracing::warn!(%error, "no TLS roots were found; receivers with https:// cannot be reached");
                HttpsConnectorBuilder::new()
                    .with_tls_config(without_roots(provider))
                    .https_or_http()
                    .enable_http1()
                    .build()
            }
        };
        let client = Client::builder(Unheard)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_mins(1))
            .pool_max_idle_per_host(2)
            .build(connector);
        Self { client }
    }
}

/// Runs the client's connections without a log.
#[derive(Clone, Copy, Debug)]
struct Unheard;

impl<F> hyper::rt::Executor<F> for Unheard
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        drop(tokio::spawn(future.with_subscriber(Dispatch::none())));
    }
}

impl Default for HttpTransport {
    fn default() -> Self {
        Self::new()
    }
}

fn without_roots(provider: Arc<rustls::crypto::CryptoProvider>) -> rustls::ClientConfig {
    let versions =
        rustls::ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    // The ring provider supports the default versions; the other branch only satisfies the types.
    let builder = versions.unwrap_or_else(|_| rustls::ClientConfig::builder());
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

impl Transport for HttpTransport {
    fn send(&self, outgoing: Outgoing, timeout: Duration) -> Answer {
        let client = self.client.clone();
        Box::pin(async move {
            let request = request(outgoing)?;
            let exchange = async {
                let response = client.request(request).await.map_err(|error| classify(&error))?;
                let (parts, body) = response.into_parts();
                let body = Limited::new(body, REPLY_BYTES_MAX).collect().await;
                let body = body.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
                let retry_after = parts.headers.get(header::RETRY_AFTER).and_then(seconds);
                Ok(Reply { status: parts.status.as_u16(), retry_after, body })
            };
            let exchange = exchange.with_subscriber(Dispatch::none());
            tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(SendError::Timeout))
        })
    }
}

fn request(outgoing: Outgoing) -> Result<Request<Full<Bytes>>, SendError> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(outgoing.url.reveal())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("homeostat/", env!("CARGO_PKG_VERSION")));
    if let Some(bearer) = &outgoing.bearer {
        let value = HeaderValue::try_from(format!("Bearer {}", bearer.reveal()));
        let mut value = value.map_err(|_| SendError::Request)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request.body(Full::new(Bytes::from(outgoing.body))).map_err(|_| SendError::Request)
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Finds the kind of failure in the chain of causes without repeating its words.
fn classify(error: &hyper_util::client::legacy::Error) -> SendError {
    let mut kind = None;
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return SendError::Tls;
        }
        let io = error.downcast_ref::<io::Error>();
        // The innermost knows best; wrappers say `Other`.
        kind = io.map(io::Error::kind).or(kind);
        // What an I/O error carries is not its source, but the source of that is.
        cause = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    match kind.unwrap_or(io::ErrorKind::Other) {
        _ if !error.is_connect() => SendError::Closed,
        // While connecting, only a handshake reads anything that could end early or make no sense.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => SendError::Tls,
        kind => SendError::Connect(kind),
    }
}
