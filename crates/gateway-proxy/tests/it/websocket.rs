//! WebSocket through the gateway, with a client and a server that others wrote.

use std::{net::SocketAddr, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use homeostat_model::{OutcomeClass, Span};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::{
    peers::certificate,
    support::{PATIENCE, Setup, eventually, recording_upstream, status, upstream},
};

/// Echoes every message.
fn echo_upstream() -> SocketAddr {
    upstream(|stream| {
        let Ok(mut socket) = tungstenite::accept(stream) else { return };
        while let Ok(message) = socket.read() {
            if message.is_close() || socket.send(message).is_err() {
                return;
            }
        }
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime")
}

#[test]
fn messages_travel_both_ways() {
    let gateway = Setup::http1(echo_upstream()).start();
    runtime().block_on(async {
        let url = format!("ws://{}/chat", gateway.address);
        let (mut socket, answer) = tokio_tungstenite::connect_async(url).await.expect("handshake");
        assert_eq!(answer.status(), 101);
        for size in [1, 100, 100_000] {
            let text = "x".repeat(size);
            socket.send(Message::text(text.clone())).await.expect("sent");
            assert_eq!(socket.next().await.expect("echo").expect("message"), Message::text(text));
        }
        assert_eq!(gateway.handle.stats().tunnels, 1);
        socket.close(None).await.expect("closes");
    });
    gateway.expect_one(OutcomeClass::Ok);
    eventually("the tunnel to end", || gateway.handle.stats().connections() == 0);
}

#[test]
fn a_silent_tunnel_is_closed() {
    let gateway = Setup::http1(echo_upstream()).with(|s| s.timeouts.idle = Span::from_ms(150)).start();
    runtime().block_on(async {
        let url = format!("ws://{}/chat", gateway.address);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("handshake");
        assert!(socket.next().await.is_none_or(|message| message.is_err()), "nothing comes but the end");
    });
    eventually("the tunnel to end", || gateway.handle.stats().connections() == 0);
}

/// Through TLS, with a client whose socket has little room.
#[test]
fn long_messages_arrive_whole_over_tls() {
    let address = upstream(|stream| {
        let Ok(mut socket) = tungstenite::accept(stream) else { return };
        while let Ok(message) = socket.read() {
            let Ok(length) = message.to_text().unwrap_or_default().parse() else { return };
            if socket.send(Message::binary(vec![7; length])).is_err() {
                return;
            }
        }
    });
    let directory = tempfile::tempdir().expect("directory");
    let files = certificate(directory.path(), "gateway");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.certificate).expect("certificate")).expect("root");
    let gateway = Setup::http1(address).with(|s| s.tls = Some(files)).start();
    runtime().block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("socket");
        socket.set_recv_buffer_size(4096).expect("small buffer");
        let stream = socket.connect(gateway.address).await.expect("connects");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        let name = "localhost".try_into().expect("name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("handshake");
        let (mut socket, _) = tokio_tungstenite::client_async("wss://localhost/", stream).await.expect("upgrade");
        for length in [3_000_000, 3_000_001, 3_004_321, 3_012_345] {
            socket.send(Message::text(length.to_string())).await.expect("sent");
            let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the tail arrives");
            assert_eq!(message.expect("message").expect("whole").len(), length);
        }
    });
}

/// A stop does not wait for tunnels on which nobody speaks: they would hold it to its deadline.
#[test]
fn a_quiet_tunnel_does_not_hold_a_stop() {
    let gateway = Setup::http1(echo_upstream()).with(|s| s.timeouts.idle = Span::from_secs(600)).start();
    let url = format!("ws://{}/chat", gateway.address);
    runtime().block_on(async {
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("handshake");
        socket.send(Message::text("x")).await.expect("sent");
        assert_eq!(socket.next().await.expect("echo").expect("message"), Message::text("x"));
        let stopping = std::thread::spawn(move || gateway.gateway.drain(PATIENCE * 2));
        let closed = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the tunnel ends");
        assert!(closed.is_none_or(|message| message.is_err()), "nothing comes but the end");
        assert_eq!(stopping.join().expect("stops").cut_off, 0);
    });
}

#[test]
fn no_tunnel_without_the_upstreams_consent() {
    let (backend, seen) = recording_upstream();
    let gateway = Setup::http1(backend).start();
    let answer = gateway.raw(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(gateway.outcomes(2).class(OutcomeClass::Ok), 2);
    assert_eq!(gateway.handle.stats().tunnels, 0);
    // What followed was read as a request of its own, with our headers on it, not as bytes of a tunnel.
    let second = seen.try_iter().nth(1).expect("second request");
    assert!(second.header("x-forwarded-for").is_some(), "{}", second.head);
}
