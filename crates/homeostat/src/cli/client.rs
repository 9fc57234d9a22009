//! The CLI's side of the API: one request at a time, answers as model types, errors in words.

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longest answer that is read: the recording of a busy minute takes some 10 MiB.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Longest single line of the event stream: the whole view of a large installation takes 1 MiB.
const LINE_BYTES_MAX: usize = 16 << 20;
/// Until an answer is complete; the server gives up after half of it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How to reach the running instance.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Connection {
    /// Address of the running instance's API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7700")]
    api: String,
    /// File with the bearer token; without it the variable HOMEOSTAT_TOKEN is used, if set
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Connection {
    /// To an address, without a token.
    pub(crate) fn to(address: &str) -> Self {
        Self { api: address.to_owned(), token_file: None }
    }
}

/// Why there is no answer, in words for whoever typed the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("`{0}` is not the address of an API; it looks like http://127.0.0.1:7700")]
    Address(String),
    #[error("cannot read the token from {path}: {source}")]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("the token holds characters that a header cannot carry")]
    Token,
    #[error(
        "nothing answers at {0}; start it with `homeostat up -c FILE`, or name its address with `--api URL` \
         (the configuration's `api.listen`)"
    )]
    NotRunning(String),
    #[error("the connection to {address} failed: {problem}")]
    Connection { address: String, problem: String },
    #[error("{address} did not answer within {} s", TIMEOUT.as_secs())]
    Timeout { address: String },
    #[error("{detail}{}", hint(*.status))]
    Refused { status: StatusCode, detail: String },
    #[error("the answer is not understood ({0}); is it another version of Homeostat?")]
    Answer(String),
    #[error("{0}")]
    Local(String),
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "; name the token's file with `--token-file FILE` or set HOMEOSTAT_TOKEN",
        _ => "",
    }
}

impl ClientError {
    /// Says it and gives the exit code: 2 when the user has something to mend, 1 otherwise.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("homeostat: {self}");
        match self {
            Self::Address(_) | Self::TokenFile { .. } | Self::Token | Self::Local(_) => ExitCode::from(2),
            Self::Refused { status, .. } if status.is_client_error() => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// A connection to the API with a runtime of its own.
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    token: Option<HeaderValue>,
}

impl Client {
    pub(crate) fn new(connection: &Connection) -> Result<Self, ClientError> {
        let base = connection.api.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| ClientError::Address(connection.api.clone()))?;
        if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(ClientError::Address(connection.api.clone()));
        }
        let provider = rustls::crypto::ring::default_provider();
        let local = |error: io::Error| ClientError::Local(error.to_string());
        // Without any roots on the machine, plain HTTP still has to work.
        let connector = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider) {
            Ok(builder) => builder.https_or_http().enable_http1().build(),
            Err(error) if uri.scheme_str() == Some("https") => return Err(local(error)),
            Err(_) => {
                HttpsConnectorBuilder::new().with_tls_config(without_roots()?).https_or_http().enable_http1().build()
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(local)?;
        let http = HttpClient::builder(TokioExecutor::new()).build(connector);
        Ok(Self { runtime, http, base, token: token(connection)? })
    }

    /// Where it talks to.
    pub(crate) fn address(&self) -> &str {
        &self.base
    }

    /// Reads one thing.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let bytes = self.get_bytes(path)?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// Reads one thing as it is.
    pub(crate) fn get_bytes(&self, path: &str) -> Result<Bytes, ClientError> {
        self.exchange(Method::GET, path, Bytes::new())
    }

    /// Asks for something to be done.
    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> Result<(), ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.exchange(Method::POST, path, body.into()).map(drop)
    }

    /// Follows an event stream: `each` gets every event's name and data until it says `false` or the stream ends.
    pub(crate) fn follow(&self, path: &str, mut each: impl FnMut(&str, &str) -> bool) -> Result<(), ClientError> {
        self.runtime.block_on(async {
            let mut body = self.send(Method::GET, path, Bytes::new()).await?.into_body();
            let mut parser = EventParser::default();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| self.broken(&error))?;
                let Ok(data) = frame.into_data() else { continue };
                if !parser.push(&data, &mut each)? {
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        self.runtime.block_on(async {
            let whole = async {
                let body = self.send(method, path, body).await?.into_body();
                read(body).await
            };
            let timed_out = || ClientError::Timeout { address: self.base.clone() };
            tokio::time::timeout(TIMEOUT, whole).await.unwrap_or_else(|_| Err(timed_out()))
        })
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder().method(&method).uri(format!("{}/homeostat/v1{path}", self.base));
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body)).map_err(|error| ClientError::Local(error.to_string()))?;
        let response = self.http.request(request).await.map_err(|error| {
            if error.is_connect() && io_kind(&error) == Some(io::ErrorKind::ConnectionRefused) {
                ClientError::NotRunning(self.base.clone())
            } else {
                self.broken(&error)
            }
        })?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    fn broken(&self, error: &dyn std::error::Error) -> ClientError {
        let mut problem = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            problem = error.to_string();
            cause = error.source();
        }
        ClientError::Connection { address: self.base.clone(), problem }
    }
}

fn without_roots() -> Result<rustls::ClientConfig, ClientError> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| ClientError::Local(error.to_string()))?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

fn token(connection: &Connection) -> Result<Option<HeaderValue>, ClientError> {
    let text = match &connection.token_file {
        Some(path) => Some(
            std::fs::read_to_string(path).map_err(|source| ClientError::TokenFile { path: path.clone(), source })?,
        ),
        None => super::environment("HOMEOSTAT_TOKEN").filter(|token| !token.is_empty()),
    };
    let header = text.map(|token| HeaderValue::try_from(format!("Bearer {}", token.trim())));
    header.transpose().map_err(|_| ClientError::Token)
}

async fn read(body: Incoming) -> Result<Bytes, ClientError> {
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| ClientError::Answer(error.to_string()))
}

async fn refusal(response: Response<Incoming>) -> ClientError {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let status = response.status();
    let problem = read(response.into_body()).await.ok().and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
    let detail = problem.map_or_else(|| format!("the server answered {status}"), |problem| problem.detail);
    ClientError::Refused { status, detail }
}

fn io_kind(error: &dyn std::error::Error) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

/// Takes a stream of server-sent events apart. Source: WHATWG HTML, "Server-sent events", 9.2.6.
#[derive(Default)]
struct EventParser {
    line: Vec<u8>,
    name: String,
    data: String,
}

impl EventParser {
    /// Takes more bytes; `false` when `each` has had enough.
    fn push(&mut self, bytes: &[u8], each: &mut impl FnMut(&str, &str) -> bool) -> Result<bool, ClientError> {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() >= LINE_BYTES_MAX {
                    return Err(ClientError::Answer("a line of the event stream is too long".to_owned()));
                }
                self.line.push(*byte);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            if !self.end_line(line.trim_end_matches('\r'), each) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn end_line(&mut self, line: &str, each: &mut impl FnMut(&str, &str) -> bool) -> bool {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return data.is_empty() || each(&name, &data);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, ids and reconnection times mean nothing here.
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_apart_wherever_the_bytes_are_split() {
        let stream = b": hello\n\nevent: view\nretry: 1000\ndata: {\"a\":1}\n\nevent: x\r\ndata: 1\r\ndata: 2\r\n\r\n";
        for size in 1..stream.len() {
            let mut parser = EventParser::default();
            let mut seen = Vec::new();
            for chunk in stream.chunks(size) {
                let more = parser.push(chunk, &mut |name, data| {
                    seen.push(format!("{name}={data}"));
                    true
                });
                assert!(more.unwrap());
            }
            assert_eq!(seen, ["view={\"a\":1}", "x=1\n2"], "chunks of {size}");
        }
    }

    #[test]
    fn a_port_where_nobody_listens_says_how_to_start() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let connection = Connection { api: format!("http://{address}"), token_file: None };
        let error = Client::new(&connection).unwrap().get_bytes("/view").unwrap_err();
        assert!(error.to_string().contains("start it with `homeostat up -c FILE`"), "{error}");
    }

    #[test]
    fn addresses_are_checked() {
        for api in ["", "127.0.0.1:7700", "ftp://127.0.0.1", "http://", "a b"] {
            let connection = Connection { api: api.to_owned(), token_file: None };
            assert!(matches!(Client::new(&connection), Err(ClientError::Address(_))), "{api}");
        }
    }
}
