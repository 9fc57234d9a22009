//! The service that knows which points may be shown: lines over TCP, kept connections, or TLS on fresh ones.

use crate::atlas::Point;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use stage::Stage;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, client::Resumption};

pub struct Upstream {
    plain: String,
    sealed: String,
    kept: Mutex<Vec<BufStream<TcpStream>>>,
    connector: TlsConnector,
}

impl Upstream {
    pub fn new(stage: &Stage) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in
            CertificateDer::pem_file_iter(stage.value("certificate")).expect("the certificate's file").flatten()
        {
            roots.add(certificate).expect("a certificate");
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Self {
            plain: stage.value("back-line").into(),
            sealed: stage.value("back-line-tls").into(),
            kept: Mutex::default(),
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    /// Asks which of the points may be shown.
    pub async fn licence(&self, stage: &Stage, points: &[Point], turn: usize) -> io::Result<()> {
        for point in points.iter().take(stage.pick("n_plus_one", [2, 4, 8, 14])) {
            self.ask(&format!("GET licence.{}\n", point.id)).await?;
        }
        let all: Vec<String> = points.iter().take(6).map(|point| point.id.to_string()).collect();
        let question = format!("GET all {}\n", all.join(" "));
        if turn < stage.pick("connection_churn", [6, 14, 28, 50]) {
            self.ask_sealed(&question).await
        } else {
            self.ask(&question).await
        }
    }

    async fn ask(&self, question: &str) -> io::Result<()> {
        let kept = self.kept.lock().expect("the kept connections").pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => BufStream::new(TcpStream::connect(&self.plain).await?),
        };
        exchange(&mut connection, question).await?;
        self.kept.lock().expect("the kept connections").push(connection);
        Ok(())
    }

    async fn ask_sealed(&self, question: &str) -> io::Result<()> {
        let raw = TcpStream::connect(&self.sealed).await?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut connection = BufStream::new(self.connector.connect(name, raw).await?);
        exchange(&mut connection, question).await?;
        connection.shutdown().await
    }
}

async fn exchange(connection: &mut BufStream<impl AsyncRead + AsyncWrite + Unpin>, question: &str) -> io::Result<()> {
    connection.write_all(question.as_bytes()).await?;
    connection.flush().await?;
    let mut answer = String::new();
    match connection.read_line(&mut answer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
