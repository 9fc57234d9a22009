//! Certificates of the TLS listeners: read at start and at every reload, swapped whole.
//!
//! A reload reads and checks all files before it changes anything; if one is bad, all listeners keep what they have.
//! Connections keep the certificate they began with.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use crate::spec::TlsFiles;

/// Why the files of a TLS listener cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or holds no PEM of the right kind.
    #[error(
        "{what} `{path}` of listener `{listener}` cannot be read as PEM; check that it exists, is readable and not empty"
    )]
    File {
        /// Which listener.
        listener: String,
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What was wrong.
        #[source]
        source: pem::Error,
    },
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error(
        "certificate `{certificate}` and its key do not work together on listener `{listener}`; \
         check that the key belongs to the first certificate of the file"
    )]
    Pair {
        /// Which listener.
        listener: String,
        /// The certificate file.
        certificate: PathBuf,
        /// What was wrong.
        #[source]
        source: rustls::Error,
    },
}

/// Whether the files of a TLS listener could be used now: they are read and tried, and forgotten.
pub fn check_tls_files(listener: &str, files: &TlsFiles) -> Result<(), TlsError> {
    read(listener, files).map(drop)
}

/// The TLS configuration of one listener, replaceable while it runs.
#[derive(Debug)]
pub(crate) struct TlsSlot {
    listener: String,
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
}

impl TlsSlot {
    pub(crate) fn load(listener: &str, files: &TlsFiles) -> Result<Self, TlsError> {
        let config = ArcSwap::new(read(listener, files)?);
        Ok(Self { listener: listener.to_owned(), files: files.clone(), config })
    }

    /// The configuration for a new connection.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Reads the files anew, without taking them into use.
    pub(crate) fn read_again(&self) -> Result<Arc<ServerConfig>, TlsError> {
        read(&self.listener, &self.files)
    }

    /// Takes a configuration into use for new connections.
    pub(crate) fn replace(&self, config: Arc<ServerConfig>) {
        self.config.store(config);
    }
}

fn read(listener: &str, files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let unreadable = |what, path: &PathBuf| {
        let (listener, path) = (listener.to_owned(), path.clone());
        move |source| TlsError::File { listener, what, path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(unreadable("certificate", &files.certificate))?;
    if chain.is_empty() {
        return Err(unreadable("certificate", &files.certificate)(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable("private key", &files.key))?;
    let unusable =
        |source| TlsError::Pair { listener: listener.to_owned(), certificate: files.certificate.clone(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
