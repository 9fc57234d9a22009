//! HTTP for buckets: hyper and rustls with ring, as everywhere else in the tree.
//!
//! Not here: signing, retries, meaning of answers (`object_store`).

use std::{future::Future, io, pin::Pin};

use http_body_util::BodyExt as _;
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

/// Makes clients for `object_store`.
#[derive(Clone, Debug)]
pub(crate) struct Hyper(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

impl Hyper {
    /// With the machine's root certificates.
    pub(crate) fn new() -> io::Result<Self> {
        let provider = rustls::crypto::ring::default_provider();
        let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
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
            let answer = self.0.request(request).await.map_err(|error| HttpError::new(kind(&error), error))?;
            let (parts, body) = answer.into_parts();
            let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
            Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
        })
    }
}
