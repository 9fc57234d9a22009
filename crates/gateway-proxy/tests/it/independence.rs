//! The data plane needs nobody: it serves while whoever reads its counters or swaps its tables is absent or stuck.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use homeostat_gateway_route::spec::{Endpoint, Timeouts, UpstreamProtocol};
use homeostat_model::OutcomeClass;

use crate::support::{Running, Setup, read_until, recording_upstream, status, table};

fn get(gateway: &Running, count: usize) {
    let mut client = gateway.connect();
    for _ in 0..count {
        client.write_all(b"GET /9/nine HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(status(&read_until(&mut client, "\r\n\r\nok")), 200);
    }
}

#[test]
fn nobody_collects_and_nothing_is_lost() {
    let (backend, _seen) = recording_upstream();
    let gateway = Setup::http1(backend).with(|s| s.workers = 2).start();
    for _ in 0..10 {
        get(&gateway, 100);
    }
    assert_eq!(gateway.outcomes(1_000).class(OutcomeClass::Ok), 1_000);
    let mut exemplars = Vec::new();
    gateway.handle.take_exemplars(&mut exemplars);
    assert!((1..=512).contains(&exemplars.len()), "bounded: {}", exemplars.len());
    assert!(exemplars.iter().all(|exemplar| exemplar.path == "/*/nine"));
}

/// Every lock of the handle is held by a thread that does not let go, as when its owner was suspended in the middle.
#[test]
fn stuck_callers_hold_nobody_up() {
    let (backend, _seen) = recording_upstream();
    let gateway = Setup::http1(backend).with(|s| s.workers = 2).start();
    let held = gateway.handle.hold_everything();
    get(&gateway, 100);
    drop(held);
    assert_eq!(gateway.outcomes(100).class(OutcomeClass::Ok), 100);
}

#[test]
fn swapping_tables_under_load_costs_no_request() {
    let (backend, _seen) = recording_upstream();
    let gateway = Setup::http1(backend).with(|s| s.workers = 2).start();
    let done = Arc::new(AtomicBool::new(false));
    let swapping = {
        let (handle, done) = (gateway.handle.clone(), done.clone());
        std::thread::spawn(move || {
            let endpoint = Endpoint { address: backend, protocol: UpstreamProtocol::Http1 };
            let mut swaps = 0_u32;
            while !done.load(Ordering::Relaxed) || swaps < 100 {
                handle.swap_table(Arc::new(table(&[endpoint], Timeouts::default())));
                swaps += 1;
            }
            swaps
        })
    };
    for _ in 0..10 {
        get(&gateway, 100);
    }
    done.store(true, Ordering::Relaxed);
    assert!(swapping.join().expect("swapper") >= 100);
    assert_eq!(gateway.outcomes(1_000).class(OutcomeClass::Ok), 1_000);
}
