//! A small HTTP/1.1 customer for the tests: one request a connection.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Status and body.
pub(crate) type Reply = (u16, String);

/// Sends one request; `Err` when the connection broke before a complete answer.
pub(crate) async fn send(shop: SocketAddr, request: &str, headers: &str, body: &str) -> std::io::Result<Reply> {
    let mut socket = TcpStream::connect(shop).await?;
    let length = body.len();
    let head =
        format!("{request} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n");
    socket.write_all((head + body).as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let broken = || std::io::Error::other(format!("broken answer: {answer}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    if length.and_then(|l| l.parse().ok()).unwrap_or(0_usize) != body.len() {
        return Err(broken());
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    Ok((status, body.to_owned()))
}

pub(crate) fn order_of(item: u32, quantity: u32) -> String {
    format!(r#"{{"item":{item},"quantity":{quantity},"buyer":"anna"}}"#)
}
