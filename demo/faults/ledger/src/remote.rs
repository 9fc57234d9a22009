//! The clearing house: asked over HTTP on kept connections, or over TLS on fresh ones.

use crate::book::Transfer;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use stage::Stage;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub struct Remote {
    plain: String,
    sealed: String,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
    tls: Arc<ClientConfig>,
    turn: AtomicUsize,
}

impl Remote {
    pub fn new(stage: &Stage) -> Self {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(stage.value("certificate")).expect("the certificate's file");
        roots.add_parsable_certificates(certificates.flatten());
        let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.resumption = rustls::client::Resumption::disabled();
        Self {
            plain: stage.value("back-http").into(),
            sealed: stage.value("back-https").into(),
            idle: Mutex::default(),
            tls: Arc::new(tls),
            turn: AtomicUsize::new(0),
        }
    }

    /// Asks whether a transfer may go on.
    pub fn clear(&self, stage: &Stage, transfer: &Transfer) -> io::Result<()> {
        for part in 0..stage.pick("n_plus_one", [2, 5, 9, 16]) {
            self.get(&format!("/get?key=limit-{}-{part}", transfer.from))?;
        }
        let path = format!("/get?key=from-{}&key=to-{}", transfer.from, transfer.to);
        let share = stage.pick("connection_churn", [10, 25, 50, 100]);
        if self.turn.fetch_add(37, Ordering::Relaxed) % 100 < share { self.get_afresh(&path) } else { self.get(&path) }
    }

    /// A GET on a connection that is kept.
    pub fn get(&self, path: &str) -> io::Result<()> {
        let idle = self.idle.lock().expect("the pool").pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => BufReader::new(TcpStream::connect(&self.plain)?),
        };
        connection.get_ref().set_nodelay(true)?;
        write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        consume(&mut connection)?;
        self.idle.lock().expect("the pool").push(connection);
        Ok(())
    }

    /// A GET over TLS on a connection of its own.
    fn get_afresh(&self, path: &str) -> io::Result<()> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, TcpStream::connect(&self.sealed)?);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        consume(&mut BufReader::new(stream))
    }
}

/// Reads an answer to its end.
fn consume(reader: &mut impl BufRead) -> io::Result<()> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("Content-Length: ") {
            length = value.parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)
}
