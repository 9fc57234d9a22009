//! After a 101: bytes in both directions until one side ends, or nothing moves for too long.
//!
//! A tunnel begins only when the upstream has really switched protocols. Its request is counted at that moment; the
//! endpoint stays busy until the tunnel ends, and its connection counts against the limit of connections. A stop ends a tunnel
//! at its first quiet moment: its ends cannot be told to hang up in the protocol that they speak, and both know how to reconnect.

use std::{
    cell::Cell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{
    client::ClientConn,
    client_io::ClientIo,
    pool::{InFlight, Open},
};

/// Buffer of one direction. A chat message fits many times, a bulk transfer needs no more than a socket buffer's worth.
const BUFFER_BYTES: usize = 16 * 1024;

/// After a stop, a tunnel on which nothing has moved for this long is closed; longer than any pause within a message.
const QUIET: Duration = Duration::from_secs(1);

/// The upstream's side of a tunnel that is about to open.
#[derive(Debug)]
pub(crate) struct UpstreamTunnel {
    pub(crate) upgrade: hyper::upgrade::OnUpgrade,
    pub(crate) in_flight: Option<InFlight>,
    /// Its place among the endpoint's open connections; never read, only dropped.
    pub(crate) open: Option<Open>,
    pub(crate) idle: Duration,
}

pub(crate) async fn run(conn: &Rc<ClientConn>, client: ClientIo, tunnel: UpstreamTunnel) {
    let Ok(upgraded) = tunnel.upgrade.await else { return };
    conn.worker.counts.tunnels.up();
    let moved = Cell::new(Instant::now());
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(TokioIo::new(upgraded));
    let both = async {
        let up = copy(client_read, upstream_write, &moved);
        let down = copy(upstream_read, client_write, &moved);
        tokio::join!(up, down)
    };
    tokio::select! {
        _ended = both => {}
        () = silence(&moved, tunnel.idle) => {}
        () = async {
            conn.worker.stop.cancelled().await;
            silence(&moved, QUIET).await;
        } => {}
    }
    drop((tunnel.in_flight, tunnel.open));
}

/// Copies until the end, then passes the end on. A break in one direction ends the other through its own socket.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Cell<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return to.shutdown().await;
        }
        moved.set(Instant::now());
        to.write_all(buffer.get(..count).unwrap_or_default()).await?;
        // TLS keeps what the socket has no room for until it is asked again, and nobody else would ask.
        to.flush().await?;
        moved.set(Instant::now());
    }
}

/// Ends when nothing has moved for `longest`.
async fn silence(moved: &Cell<Instant>, longest: Duration) {
    loop {
        let ends = moved.get() + longest;
        if ends <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(ends.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{BufWriter, duplex};

    use super::*;

    /// A writer may keep what it was given, as TLS does when its socket is full. What came must go on even if nothing else comes.
    #[tokio::test]
    async fn nothing_is_kept_back_for_more_to_come() {
        let (mut sender, from) = duplex(64);
        let (to, mut receiver) = duplex(64);
        let moved = Cell::new(Instant::now());
        let passed = async {
            sender.write_all(b"tail").await.expect("sent");
            let mut received = [0; 4];
            receiver.read_exact(&mut received).await.expect("passed on");
            received
        };
        tokio::select! {
            received = passed => assert_eq!(&received, b"tail"),
            ended = copy(from, BufWriter::new(to), &moved) => panic!("ended early: {ended:?}"),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it is kept back"),
        }
    }
}
