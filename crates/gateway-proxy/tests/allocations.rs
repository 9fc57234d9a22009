//! What a request and an idle connection cost in memory, by count: repeatable, unlike time.
#![expect(unsafe_code, reason = "a counting global allocator is the only way to see every allocation")]

#[expect(clippy::expect_used, reason = "a test that cannot go on stops")]
mod counting;

use counting::{allocations, connect, exchange, gateway, live_bytes};
use homeostat_gateway_proxy::cells::{CellShard, Outcome};
use homeostat_model::{CellId, OutcomeClass};

#[global_allocator]
static COUNTING: counting::Counting = counting::Counting;

/// Allocations per proxied HTTP/1.1 request. Of these, hyper's server and client make most: head, header maps, the body's
/// channel, the answer's one-shot channel. Ours are the exchange and the copy of the head that a retry needs.
const PER_REQUEST_MAX: u64 = 14;

/// Heap of one idle connection: its task, its state, its socket's registration.
const IDLE_BYTES_MAX: i64 = 3 * 1024;

/// One test, because the counters see the whole process.
#[test]
fn requests_and_idle_connections_stay_within_their_budget() {
    counting_an_outcome_allocates_nothing();
    let gateway = gateway();
    let address = gateway.local_addrs()[0];
    let mut client = connect(address);
    for _ in 0..500 {
        exchange(&mut client);
    }
    let (before, requests) = (allocations(), 2_000);
    for _ in 0..requests {
        exchange(&mut client);
    }
    let per_request = (allocations() - before) as f64 / f64::from(requests);
    println!("{per_request:.2} allocations per proxied request");
    assert!(per_request <= PER_REQUEST_MAX as f64, "{per_request} allocations per request");

    let mut clients = Vec::with_capacity(500);
    let before = live_bytes();
    for _ in 0..500 {
        let mut client = connect(address);
        exchange(&mut client);
        clients.push(client);
    }
    let gives_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while gateway.handle().stats().parked < 501 {
        assert!(std::time::Instant::now() < gives_up, "connections do not park: {:?}", gateway.handle().stats());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let per_connection = (live_bytes() - before) / 500;
    println!("{per_connection} bytes of heap per idle connection");
    assert!(per_connection <= IDLE_BYTES_MAX, "{per_connection} bytes per idle connection");
}

fn counting_an_outcome_allocates_nothing() {
    let shard = CellShard::new();
    shard.prepare(CellId(0));
    let outcome = Outcome {
        cell: CellId(0),
        class: OutcomeClass::Ok,
        latency_us: 1_234,
        thresholds_us: [1_000, 2_000, u64::MAX, u64::MAX],
    };
    let before = allocations();
    for _ in 0..1_000 {
        shard.record(&outcome);
    }
    assert_eq!(allocations() - before, 0);
}
