//! Start, reload and stop.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, mpsc},
    time::Duration,
};

use homeostat_gateway_proxy::{
    Gateway, StartError,
    spec::{ListenerSpec, ProxyLimits, ProxySpec, TlsFiles},
};
use homeostat_gateway_route::{
    RouteTable,
    spec::{Endpoint, Timeouts, UpstreamProtocol},
};
use homeostat_model::OutcomeClass;

use crate::{
    peers::certificate,
    support::{
        PATIENCE, Running, Setup, eventually, read_request, read_to_end, read_until, recording_upstream, status, table,
        upstream,
    },
};

fn start(listeners: Vec<ListenerSpec>, workers: usize) -> Result<Gateway, StartError> {
    let spec = ProxySpec { listeners, workers, limits: ProxyLimits::default(), trust_forwarded: false };
    Gateway::start(spec, Arc::new(table(&[], Timeouts::default())))
}

fn listener(address: &str, tls: Option<TlsFiles>) -> ListenerSpec {
    ListenerSpec { name: "public".to_owned(), address: address.parse().expect("address"), tls }
}

#[test]
fn errors_of_the_start_name_the_address_and_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let missing = TlsFiles { certificate: "no/such.pem".into(), key: "no/such.key".into() };
    for (started, words) in [
        (start(Vec::new(), 1), &["no listener", "add"][..]),
        (start(vec![listener("127.0.0.1:0", None)], 0), &["0 workers", "1 to 256"]),
        (start(vec![listener(&address, None)], 1), &["public", &address, "another program listens there"]),
        (start(vec![listener("192.0.2.1:0", None)], 1), &["192.0.2.1:0", "does not have the address"]),
        (start(vec![listener("127.0.0.1:0", Some(missing))], 1), &["no/such.pem", "public", "check that it exists"]),
    ] {
        let error = started.expect_err("must not start").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn a_second_gateway_does_not_take_a_share_of_the_first_ones_port() {
    let first = start(vec![listener("127.0.0.1:0", None)], 2).expect("starts");
    let address = first.local_addrs()[0].to_string();
    assert!(matches!(start(vec![listener(&address, None)], 2), Err(StartError::Bind { .. })));
    let report = first.drain(PATIENCE);
    assert_eq!((report.cut_off, report.workers_dead), (0, 0));
    start(vec![listener(&address, None)], 2).expect("the port is free again at once");
}

/// An upstream that answers each request when it is told to.
fn told_upstream() -> (SocketAddr, mpsc::Receiver<()>, mpsc::SyncSender<()>) {
    let (begun, has_begun) = mpsc::sync_channel(8);
    let (go, may_go) = mpsc::sync_channel(8);
    let may_go = std::sync::Mutex::new(may_go);
    let address = upstream(move |mut stream| {
        while read_request(&mut stream).is_some() {
            begun.send(()).expect("test listens");
            if may_go.lock().expect("lock").recv().is_err() {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("sent");
        }
    });
    (address, has_begun, go)
}

fn drain(gateway: Running, deadline: Duration) -> std::thread::JoinHandle<homeostat_gateway_proxy::DrainReport> {
    std::thread::spawn(move || gateway.gateway.drain(deadline))
}

#[test]
fn a_drain_lets_running_requests_finish_and_closes_the_rest() {
    let (address, has_begun, go) = told_upstream();
    let gateway = Setup::http1(address).start();
    let (handle, bound) = (gateway.handle.clone(), gateway.address);
    let (mut busy, mut idle) = (gateway.connect(), gateway.connect());
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    has_begun.recv_timeout(PATIENCE).expect("request begins");
    eventually("both connections", || handle.stats().connections() == 2);
    let draining = drain(gateway, PATIENCE);
    assert_eq!(read_to_end(&mut idle), "", "the idle connection is closed");
    eventually("the listener to be closed", || TcpStream::connect(bound).is_err());
    go.send(()).expect("upstream waits");
    let answer = read_to_end(&mut busy);
    assert!(status(&answer) == 200 && answer.ends_with("ok"), "{answer}");
    let report = draining.join().expect("drained");
    assert_eq!((report.cut_off, report.workers_dead), (0, 0));
    assert_eq!(handle.stats().header_timeouts, 0, "nobody was waited for until a time-out");
    assert!(!handle.stats().is_healthy(), "stopped workers do not count as alive");
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let (address, has_begun, _go) = told_upstream();
    let gateway = Setup::http1(address).start();
    let mut busy = gateway.connect();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    has_begun.recv_timeout(PATIENCE).expect("request begins");
    let report = drain(gateway, Duration::from_millis(100)).join().expect("drained");
    assert_eq!(report.cut_off, 1);
    assert_eq!(read_to_end(&mut busy), "");
}

#[test]
fn certificates_are_replaced_whole_or_not_at_all() {
    let directory = tempfile::tempdir().expect("directory");
    let files = certificate(directory.path(), "first");
    let (backend, _seen) = recording_upstream();
    let gateway = Setup::http1(backend).with(|s| s.tls = Some(files.clone())).start();
    let serves = |name: &str| peer_certificate(gateway.address).windows(name.len()).any(|w| w == name.as_bytes());
    assert!(serves("first"));
    certificate(directory.path(), "second");
    assert!(serves("first"), "nothing changes before the reload");
    gateway.handle.reload_tls().expect("reloads");
    assert!(serves("second"));
    std::fs::write(&files.key, "not a key").expect("written");
    let error = gateway.handle.reload_tls().expect_err("must fail").to_string();
    assert!(error.contains("key.pem"), "{error}");
    assert!(serves("second"));
}

/// The certificate a listener presents, as DER.
fn peer_certificate(address: SocketAddr) -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    let name = "localhost".try_into().expect("name");
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).expect("session");
    let mut stream = crate::support::connect(address);
    session.complete_io(&mut stream).expect("handshake");
    session.peer_certificates().expect("certificates")[0].to_vec()
}

/// Accepts every certificate: the test looks at it itself.
#[derive(Debug)]
struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A request keeps the table it began with; the next one uses the new one. Nothing is lost on the way.
#[test]
fn tables_are_swapped_between_requests() {
    let (old, has_begun, go) = told_upstream();
    let (new, _seen) = recording_upstream();
    let gateway = Setup::http1(old).start();
    let mut before = gateway.connect();
    before.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    has_begun.recv_timeout(PATIENCE).expect("request begins");
    let endpoint = Endpoint { address: new, protocol: UpstreamProtocol::Http1 };
    let swapped: RouteTable = table(&[endpoint], Timeouts::default());
    gateway.handle.swap_table(Arc::new(swapped));
    let after = gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&after), 200, "answered by the new endpoint while the old one still thinks");
    go.send(()).expect("upstream waits");
    assert_eq!(status(&read_until(&mut before, "\r\n\r\nok")), 200);
    assert_eq!(gateway.outcomes(2).class(OutcomeClass::Ok), 2);
}
