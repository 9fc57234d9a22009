//! The hostile requests, each with a name that says what is strange about it. `{HOST}` stands for a good `Host` line.

const HOST: &str = "Host: a.example\r\n";

/// One connection's worth of bytes.
pub(crate) struct Hostile {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// All of them.
pub(crate) fn requests() -> Vec<Hostile> {
    let long = "a".repeat(70 * 1024);
    let many = "X-Many: 1\r\n".repeat(150);
    let written = WRITTEN.iter().map(|(name, text)| (*name, text.replace("{HOST}", HOST)));
    let made = [
        ("field of 70 KiB", format!("GET / HTTP/1.1\r\n{HOST}X-Long: {long}\r\n\r\n")),
        ("target of 70 KiB", format!("GET /{long} HTTP/1.1\r\n{HOST}\r\n")),
        ("150 fields", format!("GET / HTTP/1.1\r\n{HOST}{many}\r\n")),
    ];
    written.chain(made).map(|(name, text)| Hostile { name, bytes: text.into_bytes() }).collect()
}

/// A head for a body of chunks.
macro_rules! chunked {
    ($body:literal) => {
        concat!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n", $body)
    };
}

/// A GET of `/` with these lines.
macro_rules! get {
    ($lines:literal) => {
        concat!("GET / HTTP/1.1\r\n{HOST}", $lines, "\r\n\r\n")
    };
}

/// A GET of this target.
macro_rules! target {
    ($target:literal) => {
        concat!("GET ", $target, " HTTP/1.1\r\n{HOST}\r\n")
    };
}

/// A POST with these lines, then this body.
macro_rules! post {
    ($lines:literal, $body:literal) => {
        concat!("POST / HTTP/1.1\r\n{HOST}", $lines, "\r\n\r\n", $body)
    };
}

#[rustfmt::skip]
const WRITTEN: &[(&str, &str)] = &[
    ("plain request", target!("/x?y=1")),
    // Two ends of one body.
    ("length, then chunked", post!("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nGET /hidden HTTP/1.1\r\n{HOST}\r\n")),
    ("chunked, then length", post!("Transfer-Encoding: chunked\r\nContent-Length: 6", "0\r\n\r\nGET /hidden HTTP/1.1\r\n{HOST}\r\n")),
    ("length and an unknown coding", post!("Content-Length: 2\r\nTransfer-Encoding: xchunked", "ab")),
    ("length and identity", post!("Content-Length: 2\r\nTransfer-Encoding: identity", "ab")),
    // Bodies of unusual methods.
    ("GET with chunks", concat!("GET / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n", "2\r\nab\r\n0\r\n\r\n")),
    ("DELETE with a length", "DELETE / HTTP/1.1\r\n{HOST}Content-Length: 2\r\n\r\nab"),
    ("HEAD with a length", "HEAD / HTTP/1.1\r\n{HOST}Content-Length: 2\r\n\r\nab"),
    // Lengths.
    ("two different lengths", post!("Content-Length: 3\r\nContent-Length: 4", "abcd")),
    ("two equal lengths", post!("Content-Length: 3\r\nContent-Length: 3", "abc")),
    ("a list of equal lengths", post!("Content-Length: 3, 3", "abc")),
    ("length with a sign", post!("Content-Length: +2", "ab")),
    ("length in hexadecimal", post!("Content-Length: 0x2", "ab")),
    ("negative length", post!("Content-Length: -1", "ab")),
    ("length without digits", post!("Content-Length:", "ab")),
    ("length with leading zeros", post!("Content-Length: 0002", "ab")),
    ("length beyond 64 bits", post!("Content-Length: 18446744073709551618", "ab")),
    ("length with a space in it", post!("Content-Length: 1 2", "ab")),
    ("length with a vertical tab", post!("Content-Length: \x0b2", "ab")),
    ("space before the length's colon", post!("Content-Length : 2", "ab")),
    ("tab before the length's colon", post!("Content-Length\t: 2", "ab")),
    // Codings.
    ("unknown coding", post!("Transfer-Encoding: xchunked", "0\r\n\r\n")),
    ("chunked, identity", post!("Transfer-Encoding: chunked, identity", "0\r\n\r\n")),
    ("gzip, chunked", post!("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
    ("chunked twice", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
    ("identity, then chunked on another line", post!("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
    ("coding in capitals", post!("Transfer-Encoding: CHUNKED", "0\r\n\r\n")),
    ("coding with a vertical tab", post!("Transfer-Encoding: \x0bchunked", "0\r\n\r\n")),
    ("coding in quotes", post!("Transfer-Encoding: \"chunked\"", "0\r\n\r\n")),
    ("coding with a parameter", post!("Transfer-Encoding: chunked;q=1", "0\r\n\r\n")),
    ("coding with an underscore in its name", post!("Transfer_Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")),
    ("coding after a space at the line's begin", post!("X-A: 1\r\n Transfer-Encoding: chunked", "0\r\n\r\n")),
    ("HTTP/1.0 with chunks", "POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    // Chunks.
    ("chunk extension", chunked!("2;ext=1\r\nab\r\n0\r\n\r\n")),
    ("chunk size that is none", chunked!("zz\r\nab\r\n0\r\n\r\n")),
    ("chunk size beyond 64 bits", chunked!("fffffffffffffffff\r\nab\r\n0\r\n\r\n")),
    ("chunk size with 0x", chunked!("0x2\r\nab\r\n0\r\n\r\n")),
    ("chunk size with a sign", chunked!("+2\r\nab\r\n0\r\n\r\n")),
    ("chunk size without digits", chunked!("\r\nab\r\n0\r\n\r\n")),
    ("chunk size with a space behind", chunked!("2 \r\nab\r\n0\r\n\r\n")),
    ("chunk size with a space before", chunked!(" 2\r\nab\r\n0\r\n\r\n")),
    ("chunk size ended by a bare LF", chunked!("2\nab\r\n0\r\n\r\n")),
    ("chunk extension with a bare LF", chunked!("2;a\nb\r\nab\r\n0\r\n\r\n")),
    ("chunk that is longer than it says", chunked!("2\r\nabc\r\n0\r\n\r\n")),
    ("last chunk ended by bare LFs", chunked!("0\n\nGET /second HTTP/1.1\r\n{HOST}\r\n")),
    ("trailer field", chunked!("0\r\nX-T: 1\r\n\r\n")),
    ("announced trailer field", post!("Trailer: X-T\r\nTransfer-Encoding: chunked", "0\r\nX-T: 1\r\n\r\n")),
    ("trailer with a length", chunked!("0\r\nContent-Length: 5\r\n\r\n")),
    ("a second request behind chunks", chunked!("0\r\n\r\nGET /second HTTP/1.1\r\n{HOST}\r\n")),
    // Lines.
    ("obsolete line folding", get!("X-Folded: a\r\n b")),
    ("folding of the first line", "GET / HTTP/1.1\r\n X-A: 1\r\n{HOST}\r\n"),
    ("bare line feeds", "GET / HTTP/1.1\nHost: a.example\n\n"),
    ("bare carriage return as a line's end", "GET / HTTP/1.1\rHost: a.example\r\r"),
    ("empty lines before the request", "\r\n\r\nGET / HTTP/1.1\r\n{HOST}\r\n"),
    ("two spaces in the request line", "GET  / HTTP/1.1\r\n{HOST}\r\n"),
    ("tab in the request line", "GET\t/ HTTP/1.1\r\n{HOST}\r\n"),
    ("space at the request line's end", "GET / HTTP/1.1 \r\n{HOST}\r\n"),
    ("space in the target", target!("/a b")),
    ("method in small letters", "get / HTTP/1.1\r\n{HOST}\r\n"),
    ("HTTP/1.2", "GET / HTTP/1.2\r\n{HOST}\r\n"),
    ("HTTP/2.0 in words", "GET / HTTP/2.0\r\n{HOST}\r\n"),
    ("HTTP/9.9", "GET / HTTP/9.9\r\n{HOST}\r\n"),
    ("HTTP/0.9", "GET /\r\n"),
    ("NUL in a value", get!("X-Null: a\0b")),
    ("space in a name", get!("X Y: 1")),
    ("no name", get!(": 1")),
    ("no colon", get!("X-A 1")),
    ("bare carriage return in a value", get!("X-Cr: a\rb")),
    ("control character in the method", "GE\x01T / HTTP/1.1\r\n{HOST}\r\n"),
    // Hosts.
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("no host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\n{HOST}{HOST}\r\n"),
    ("a list of hosts", "GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n"),
    ("host with a user", "GET / HTTP/1.1\r\nHost: user:pw@a.example\r\n\r\n"),
    ("host with a path", "GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n"),
    ("host with a bad port", "GET / HTTP/1.1\r\nHost: a.example:x\r\n\r\n"),
    ("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    // Targets.
    ("absolute target", target!("http://a.example/x")),
    ("absolute target of another host", target!("http://b.example/x")),
    ("absolute target with a user", target!("http://user@a.example/x")),
    ("absolute target of another scheme", target!("ftp://a.example/x")),
    ("asterisk", "OPTIONS * HTTP/1.1\r\n{HOST}\r\n"),
    ("relative target", target!("x")),
    ("fragment", target!("/x#y")),
    ("dot segments", target!("/public/../admin")),
    ("encoded dot segments", target!("/public/%2e%2e/admin")),
    ("dots before an encoded slash", target!("/public/..%2fadmin")),
    ("encoded dots before an encoded slash", target!("/a/%2e%2e%2fadmin")),
    ("encoded dots with a parameter", target!("/a/%2e%2e;x/admin")),
    ("dots with an encoded parameter", target!("/a/..%3bx/b")),
    ("one encoded dot", target!("/a/%2E./b")),
    ("backslash", target!("/a\\..\\b")),
    ("broken escape", target!("/a%zz")),
    ("encoded NUL", target!("/a%00b")),
    ("bytes beyond ASCII", target!("/caf\u{e9}")),
    // Switching.
    ("CONNECT", "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n"),
    ("upgrade to h2c and a second request", "GET /a HTTP/1.1\r\n{HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\nGET /b HTTP/1.1\r\n{HOST}\r\n"),
    ("upgrade to websocket and a second request", "GET /a HTTP/1.1\r\n{HOST}Connection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /b HTTP/1.1\r\n{HOST}\r\n"),
    ("connection names framing fields", get!("Connection: close, content-length, x-a\r\nX-A: 1")),
    ("connection names host", get!("Connection: close, host")),
    ("unknown expectation", post!("Expect: 200-maybe\r\nContent-Length: 2", "ab")),
];
