//! Calls of gRPC between a server and a client of somebody else: both sides, counted exactly; and who joins late says nothing false.

#![cfg(feature = "bpf")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

mod grpc_peers;
mod probe;

use std::collections::BTreeMap;

use grpc_peers::{Asking, Serving};
use homeostat_calls::{Call, Protocol, Side};
use homeostat_model::OutcomeClass;
use homeostat_sense_kernel::KernelCalls;

/// Method, path, status and status of gRPC, and how often.
type Kinds = BTreeMap<(&'static str, String, Option<u16>, Option<u32>), usize>;

fn kinds<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Kinds {
    let mut kinds = Kinds::new();
    for call in calls {
        let kind = (call.method, call.path.as_str().to_owned(), call.status, call.grpc_status);
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Takes calls until there are so many; only the test runner gives up.
fn until(calls: &mut KernelCalls, count: usize) -> Vec<Call> {
    let mut all = Vec::new();
    while all.len() < count {
        calls.take(&mut all);
        std::thread::yield_now();
    }
    all
}

#[test]
fn calls_of_a_foreign_client_to_a_foreign_server_are_counted_exactly_at_both_sides() {
    let Some(serving) = probe::works("calls").then(Serving::start).flatten() else { return };
    let mut asking = Asking::idle();
    let mut calls = KernelCalls::start(&[serving.pid(), asking.pid()].into()).unwrap();
    asking.connect(&serving);
    for (line, codes) in [
        ("/shop.Cart/Get small 200", "{0: 200}"),
        ("/shop.Cart/Put large 20", "{0: 20}"),
        ("/shop.Cart/Refuse small 30", "{7: 30}"),
        ("/shop.Cart/Lose small 40", "{15: 40}"),
        ("/shop.Cart/Watch watch 10", "{0: 10}"),
        ("/shop.Cart/Watch watch! 5", "{8: 5}"),
        ("/shop.Cart/Send send 10", "{0: 10}"),
    ] {
        assert_eq!(asking.tell(line), codes, "{line}");
    }
    let seen = until(&mut calls, 2 * 315);
    let of = |path: &str, grpc, count| (("POST", format!("/shop.Cart/{path}"), Some(200), Some(grpc)), count);
    let expected = Kinds::from([
        of("Get", 0, 200),
        of("Put", 0, 20),
        of("Refuse", 7, 30),
        of("Lose", 15, 40),
        of("Watch", 0, 10),
        of("Watch", 8, 5),
        of("Send", 0, 10),
    ]);
    for (side, process) in [(Side::Server, serving.pid()), (Side::Client, asking.pid())] {
        let own: Vec<&Call> = seen.iter().filter(|call| call.side == side).collect();
        assert_eq!(kinds(own.iter().copied()), expected, "{side:?}");
        assert!(own.iter().all(|call| call.process == process && call.protocol == Protocol::Grpc));
        let failed = own.iter().filter(|call| call.outcome == Some(OutcomeClass::ServerError)).count();
        assert_eq!(failed, 40, "data loss is the server's, {side:?}");
    }
    let counts = calls.counts();
    assert_eq!((counts.lost, counts.unanswered, counts.unasked), (0, 0, 0));
}

#[test]
fn who_joins_late_tells_what_it_can_and_nothing_false() {
    let Some(serving) = probe::works("calls").then(Serving::start).flatten() else { return };
    let mut asking = Asking::idle();
    asking.connect(&serving);
    for line in ["/shop.Cart/Get small 20", "/shop.Cart/Refuse small 5"] {
        asking.tell(line);
    }
    let mut calls = KernelCalls::start(&[serving.pid(), asking.pid()].into()).unwrap();
    asking.tell("/shop.Cart/Get small 50");
    asking.tell("/shop.Cart/Refuse small 10");
    asking.tell("/shop.Cart/New small 50");
    let seen = until(&mut calls, 2 * 110);
    assert_eq!(seen.len(), 2 * 110);
    for (number, call) in seen.iter().enumerate() {
        let path = call.path.as_str();
        let expected = ["/shop.Cart/Get", "/shop.Cart/Refuse", "/shop.Cart/New", "<pre-attach>"];
        assert!(expected.contains(&path), "{number}: {call:?}");
        let right = if path.ends_with("Refuse") { [None, Some(7)] } else { [None, Some(0)] };
        assert!(path.starts_with('<') || right.contains(&call.grpc_status), "{number}: {call:?}");
        assert!([None, Some(0), Some(7)].contains(&call.grpc_status), "{number}: {call:?}");
        // Who cannot know how it ended does not say that it went well, nor that it failed.
        assert_eq!(call.outcome.is_none(), call.grpc_status.is_none(), "{number}: {call:?}");
        assert_ne!(call.outcome, Some(OutcomeClass::ServerError), "{number}: {call:?}");
    }
    // What was said for the first time after somebody looked is known from then on.
    let new = seen.iter().filter(|call| call.path.as_str() == "/shop.Cart/New").count();
    assert_eq!(new, 2 * 50);
    assert_eq!(calls.counts().lost, 0);
}
