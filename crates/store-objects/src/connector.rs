//! HTTP for buckets: hyper and rustls with ring, as everywhere else in the tree.
//!
//! Not here: signing, retries, meaning of answers (`object_store`).
//! Invariant: a bucket that says nothing is an error after a while, whether before its answer or in the middle of it.

use std::{future::Future, io, pin::Pin, time::Duration};

use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body, Bytes, Frame};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as TcpConnector},
    rt::TokioExecutor,
};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService,
    },
};

use crate::Waits;

/// What a line takes that is hardly one: pieces of 8 MiB, four at once, at 2 Mbit/s.
const SENT_BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// Makes clients for `object_store`.
#[derive(Clone, Debug)]
pub(crate) struct Hyper {
    client: Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
    wait: Duration,
}

impl Hyper {
    /// With the machine's root certificates.
    pub(crate) fn new(waits: Waits) -> io::Result<Self> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(waits.connect));
        let provider = rustls::crypto::ring::default_provider();
        let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
        let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), wait: waits.request })
    }
}

impl HttpConnector for Hyper {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Hyper {
    fn call<'s, 'a>(&'s self, request: HttpRequest) -> Answer<'a>
    where
        's: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let kind = |error: &hyper_util::client::legacy::Error| {
                if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request }
            };
            let sending = Duration::from_secs(request.body().content_length() as u64 / SENT_BYTES_PER_SECOND_MIN);
            let answer = tokio::time::timeout(self.wait + sending, self.client.request(request)).await;
            let answer = answer.map_err(|_| silent(self.wait + sending))?;
            let (parts, body) = answer.map_err(|error| HttpError::new(kind(&error), error))?.into_parts();
            let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
            Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(patient(body, self.wait))))
        })
    }
}

/// A body that ends with an error when nothing more comes.
fn patient<B>(body: B, wait: Duration) -> impl Body<Data = Bytes, Error = HttpError>
where
    B: Body<Data = Bytes, Error = HttpError> + Unpin,
{
    StreamBody::new(stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        let frame: Option<Result<Frame<Bytes>, HttpError>> = match tokio::time::timeout(wait, body.frame()).await {
            Ok(frame) => frame,
            Err(_) => return Some((Err(silent(wait)), None)),
        };
        frame.map(|frame| (frame, Some(body)))
    }))
}

fn silent(wait: Duration) -> HttpError {
    let said = format!("it has said nothing for {:.1} s", wait.as_secs_f64());
    HttpError::new(HttpErrorKind::Timeout, io::Error::new(io::ErrorKind::TimedOut, said))
}
