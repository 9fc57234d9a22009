//! Counts what the process allocates: for the test and the benchmark that state allocations per request.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use homeostat_gateway_proxy::{
    Gateway,
    spec::{ListenerSpec, ProxyLimits, ProxySpec},
};
use homeostat_gateway_route::{
    CellRegistry, RouteTable,
    spec::{Endpoint, GatewaySpec, PathMatch, RouteSpec, ServiceSpec, Timeouts, UpstreamProtocol, VersionSpec},
};
use homeostat_model::{RouteName, ServiceName, Span, VersionName, Weight};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, with two counters.
#[derive(Debug)]
pub(crate) struct Counting;

// SAFETY: every call goes unchanged to the system's allocator; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(size as i64 - layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Allocations since the start of the process.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Bytes that are allocated now.
pub(crate) fn live_bytes() -> i64 {
    LIVE_BYTES.load(Ordering::Relaxed)
}

const REQUEST: &[u8] = b"GET /orders/list?page=2 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench/1.0\r\n\
    Accept: */*\r\nAccept-Encoding: gzip\r\nCookie: session=0123456789abcdef\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\
    Server: shop\r\nCache-Control: no-cache\r\n\r\n\
    0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

/// A gateway of one worker before an upstream that answers 100 bytes and allocates nothing.
pub(crate) fn gateway() -> Gateway {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let upstream = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepted");
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while matches!(stream.read(&mut buffer), Ok(1..)) && stream.write_all(ANSWER).is_ok() {}
            });
        }
    });
    let spec = ProxySpec {
        listeners: vec![ListenerSpec { name: "bench".to_owned(), address: ([127, 0, 0, 1], 0).into(), tls: None }],
        workers: 1,
        // Opening many connections takes longer than the default allows them to be idle.
        limits: ProxyLimits { keep_alive: Span::from_hours(1), ..ProxyLimits::default() },
        trust_forwarded: false,
    };
    Gateway::start(spec, Arc::new(table(upstream))).expect("starts")
}

fn table(address: SocketAddr) -> RouteTable {
    let version = VersionName::new("v1").expect("name");
    let service = ServiceName::new("shop").expect("name");
    let spec = GatewaySpec {
        services: vec![ServiceSpec {
            name: service.clone(),
            versions: vec![VersionSpec {
                name: version.clone(),
                endpoints: vec![Endpoint { address, protocol: UpstreamProtocol::Http1 }],
            }],
            split: vec![(version, Weight::FULL)],
            sticky: None,
            forced_version_header: None,
            thresholds: vec![Span::from_ms(100)],
            timeouts: Timeouts::default(),
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
    RouteTable::compile(&spec, &mut CellRegistry::new()).expect("compiles")
}

/// A connection to the gateway.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_nodelay(true).expect("nodelay");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    stream
}

/// Sends one request and reads its answer; allocates nothing.
pub(crate) fn exchange(stream: &mut TcpStream) {
    stream.write_all(REQUEST).expect("sent");
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let count = stream.read(buffer.get_mut(filled..).expect("answers fit")).expect("answer");
        filled += count;
        assert!(0 < count && buffer.starts_with(b"HTTP/1.1 200"), "no good answer");
        if buffer.get(..filled).is_some_and(|bytes| bytes.ends_with(b"0123456789")) {
            return;
        }
    }
}
