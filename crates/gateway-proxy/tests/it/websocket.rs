//! WebSocket through the gateway, with a client and a server that others wrote.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use homeostat_model::{OutcomeClass, Span};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::support::{Setup, eventually, recording_upstream, status, upstream};

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
