//! Listening sockets: one per worker and address, shared out by the kernel.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel holds until a worker accepts them; it lowers this to `net.core.somaxconn` (4,096 by default).
const BACKLOG: i32 = 4_096;

/// Binds `count` sockets to one address; with port 0 all of them to the same free port. Returns them with that address.
///
/// `SO_REUSEPORT` would also let a second process of the same user take a share of the connections unnoticed, so the
/// address is first bound alone: that fails while anybody else listens on it.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let alone = socket(address)?;
    alone.bind(&address.into())?;
    alone.listen(1)?;
    let bound = alone.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    drop(alone);
    let sockets = (0..count).map(|_| listener(bound)).collect::<io::Result<Vec<_>>>()?;
    Ok((bound, sockets))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // An IPv6 wildcard must not take IPv4 away from a listener of its own.
        socket.set_only_v6(true)?;
    }
    // Connections of a predecessor that are still closing must not keep us from starting.
    socket.set_reuse_address(true)?;
    Ok(socket)
}
