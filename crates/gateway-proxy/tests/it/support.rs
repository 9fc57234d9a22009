//! Gateways, upstreams and raw clients for the tests.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use homeostat_gateway_proxy::{
    Gateway, GatewayHandle,
    spec::{ListenerSpec, ProxyLimits, ProxySpec, TlsFiles},
};
use homeostat_gateway_route::{
    CellRegistry, RouteTable,
    spec::{Endpoint, GatewaySpec, PathMatch, RouteSpec, ServiceSpec, Timeouts, UpstreamProtocol, VersionSpec},
};
use homeostat_model::{OutcomeClass, OutcomeCounts, OutcomeDelta, RouteName, ServiceName, Span, VersionName, Weight};

/// Nothing in these tests takes this long unless it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a test's gateway differs in.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: ProxyLimits,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) workers: usize,
    pub(crate) trust_forwarded: bool,
}

impl Setup {
    pub(crate) fn new(endpoints: Vec<Endpoint>) -> Self {
        let timeouts = Timeouts::default();
        let limits = ProxyLimits::default();
        Self { endpoints, timeouts, limits, tls: None, workers: 1, trust_forwarded: false }
    }

    pub(crate) fn http1(address: SocketAddr) -> Self {
        Self::new(vec![Endpoint { address, protocol: UpstreamProtocol::Http1 }])
    }

    pub(crate) fn h2c(address: SocketAddr) -> Self {
        Self::new(vec![Endpoint { address, protocol: UpstreamProtocol::H2c }])
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn start(self) -> Running {
        let table = table(&self.endpoints, self.timeouts);
        let spec = ProxySpec {
            listeners: vec![ListenerSpec {
                name: "test".to_owned(),
                address: "127.0.0.1:0".parse().expect("address"),
                tls: self.tls,
            }],
            workers: self.workers,
            limits: self.limits,
            trust_forwarded: self.trust_forwarded,
        };
        let gateway = Gateway::start(spec, Arc::new(table)).expect("gateway starts");
        let address = gateway.local_addrs()[0];
        Running { handle: gateway.handle(), gateway, address, seen: Mutex::default() }
    }
}

/// One service `shop` with one version `v1` on these endpoints, reached by every host and path.
pub(crate) fn table(endpoints: &[Endpoint], timeouts: Timeouts) -> RouteTable {
    let version = VersionName::new("v1").expect("name");
    let service = ServiceName::new("shop").expect("name");
    let spec = GatewaySpec {
        services: vec![ServiceSpec {
            name: service.clone(),
            versions: vec![VersionSpec { name: version.clone(), endpoints: endpoints.to_vec() }],
            split: vec![(version, Weight::FULL)],
            sticky: None,
            forced_version_header: None,
            thresholds: vec![Span::from_ms(1), Span::from_secs(30)],
            timeouts,
        }],
        routes: vec![RouteSpec {
            name: RouteName::new("all").expect("name"),
            hosts: Vec::new(),
            path: PathMatch::Prefix("/".to_owned()),
            methods: Vec::new(),
            headers: Vec::new(),
            service,
            version: None,
        }],
    };
    RouteTable::compile(&spec, &mut CellRegistry::new()).expect("table")
}

/// A gateway under test.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) gateway: Gateway,
    pub(crate) handle: GatewayHandle,
    pub(crate) address: SocketAddr,
    seen: Mutex<OutcomeCounts>,
}

impl Running {
    /// Waits until `total` requests were counted since the start and returns the counts.
    pub(crate) fn outcomes(&self, total: u64) -> OutcomeCounts {
        let mut seen = self.seen.lock().expect("seen");
        let mut deltas: Vec<OutcomeDelta> = Vec::new();
        eventually(&format!("{total} outcomes"), || {
            self.handle.collect(&mut deltas);
            for delta in &deltas {
                *seen += delta.counts;
            }
            total <= seen.total()
        });
        *seen
    }

    /// Asserts that exactly one request was counted since the start, in this class.
    #[track_caller]
    pub(crate) fn expect_one(&self, class: OutcomeClass) {
        let counts = self.outcomes(1);
        assert_eq!(counts.by_class, OutcomeCounts::of(class, 1).by_class, "{counts:?}");
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends raw bytes, returns everything that comes back until the end.
    pub(crate) fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).expect("request sent");
        read_to_end(&mut stream)
    }

    pub(crate) fn rejected(&self, label: &str) -> u64 {
        self.handle.stats().rejected.into_iter().find(|(name, _)| *name == label).expect("known label").1
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
    stream.set_nodelay(true).expect("nodelay");
    stream
}

/// Everything until the other side closes; a reset counts as the end.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => {
                panic!("nothing more comes and it does not close: {error}; so far: {}", String::from_utf8_lossy(&bytes))
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` has been seen.
pub(crate) fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end.as_bytes()) {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            other => panic!("waited for {end:?}, got {other:?} after {}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for a condition, with a deadline that only a failure reaches.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let gives_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < gives_up, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An upstream that runs `serve` on each connection, in a thread of its own.
pub(crate) fn upstream(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
            stream.set_nodelay(true).expect("nodelay");
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A request as an upstream saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// An upstream that records every request it can read and answers `ok`.
pub(crate) fn recording_upstream() -> (SocketAddr, mpsc::Receiver<Seen>) {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let address = upstream(move |mut stream| {
        let sender = sender.lock().expect("sender").clone();
        while let Some(seen) = read_request(&mut stream) {
            if sender.send(seen).is_err()
                || stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err()
            {
                return;
            }
        }
    });
    (address, receiver)
}

/// Reads one request; `None` at the end of the connection.
pub(crate) fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let mut seen = Seen { head: String::from_utf8_lossy(&head).into_owned(), body: String::new() };
    if let Some(length) = seen.header("content-length") {
        let mut body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).ok()?;
        seen.body = String::from_utf8_lossy(&body).into_owned();
    } else if seen.header("transfer-encoding").is_some() {
        let mut body = Vec::new();
        loop {
            let line = read_line(stream, &mut body)?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            let begin = body.len();
            body.resize(begin + size + 2, 0);
            stream.read_exact(&mut body[begin..]).ok()?;
        }
        // Trailers, up to an empty line.
        while !read_line(stream, &mut body)?.is_empty() {}
        seen.body = String::from_utf8_lossy(&body).into_owned();
    }
    Some(seen)
}

/// Reads a line to the end of `bytes`; gives it without its end.
fn read_line(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    let (begin, mut byte) = (bytes.len(), [0]);
    while !bytes[begin..].ends_with(b"\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&bytes[begin..bytes.len() - 2]).into_owned())
}

/// The status code of a raw answer; 0 when there is none.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}
