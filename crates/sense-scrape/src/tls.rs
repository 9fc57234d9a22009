//! TLS towards targets: rustls with ring, the system's roots or those that a job names.

use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};

use crate::spec::TlsSpec;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("{} cannot be used as {what}; it must be a PEM file that this user may read", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate", file.display())]
    Empty {
        /// Which file.
        file: PathBuf,
    },
    /// The system has no roots.
    #[error("the system's certificates cannot be read; install `ca-certificates` or name a `ca_file`")]
    Roots(#[source] io::Error),
    /// Certificate and key do not belong together, and the like.
    #[error("the certificates cannot be used")]
    Config(#[from] rustls::Error),
    /// The server's name is none.
    #[error("`{name}` is no server name; write a host name or an IP address")]
    ServerName {
        /// As written.
        name: String,
    },
}

/// Makes the client's side of TLS.
pub(crate) fn client_config(spec: &TlsSpec) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if spec.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
    } else {
        builder.with_root_certificates(roots(spec)?)
    };
    let Some((certificate, key)) = &spec.client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let key_der = PrivateKeyDer::from_pem_file(key);
    let wrong = |source| TlsError::File { file: key.clone(), what: "a private key", source };
    Ok(builder.with_client_auth_cert(chain, key_der.map_err(wrong)?)?)
}

/// The name that the server's certificate must have, where the job names one.
pub(crate) fn server_name(spec: &TlsSpec) -> Result<Option<ServerName<'static>>, TlsError> {
    let Some(name) = &spec.server_name else { return Ok(None) };
    let parsed = ServerName::try_from(name.clone());
    parsed.map(Some).map_err(|_| TlsError::ServerName { name: name.clone() })
}

fn roots(spec: &TlsSpec) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &spec.ca_file {
        for certificate in certificates(file)? {
            roots.add(certificate)?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    match found.errors.into_iter().next() {
        Some(error) if roots.is_empty() => Err(TlsError::Roots(io::Error::other(error))),
        _ => Ok(roots),
    }
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File { file: file.clone(), what: "a certificate", source };
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect();
    let all = all.map_err(wrong)?;
    if all.is_empty() { Err(TlsError::Empty { file: file.clone() }) } else { Ok(all) }
}

/// Accepts every certificate: `insecure_skip_verify`.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
