//! As much of HTTP/1.1 as the ledger's callers speak: a request line, headers, a body of stated length.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Bytes of a body at most: a transfer has some hundred.
const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub struct Request {
    pub path: String,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(value: &impl serde::Serialize) -> Self {
        Self { status: 200, body: serde_json::to_vec(value).unwrap_or_default() }
    }
}

#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    line: String,
}

impl Connection {
    pub fn new(reader: TcpStream, writer: TcpStream) -> Self {
        Self { reader: BufReader::new(reader), writer, line: String::new() }
    }

    /// The next request; `None` when the peer has closed.
    pub fn read(&mut self) -> io::Result<Option<Request>> {
        self.line.clear();
        if self.reader.read_line(&mut self.line)? == 0 {
            return Ok(None);
        }
        let path = self.line.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut length = 0;
        loop {
            self.line.clear();
            self.reader.read_line(&mut self.line)?;
            let header = self.line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length.min(BODY_BYTES_MAX)];
        self.reader.read_exact(&mut body)?;
        Ok(Some(Request { path, body }))
    }

    pub fn write(&mut self, response: &Response) -> io::Result<()> {
        let mut out = format!(
            "HTTP/1.1 {} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            response.status,
            response.body.len()
        )
        .into_bytes();
        out.extend_from_slice(&response.body);
        self.writer.write_all(&out)
    }
}
