//! The price of sensing: nanoseconds per counted outcome (target: at most 100), and allocations per proxied request.
#![expect(unsafe_code, reason = "a counting global allocator is the only way to see every allocation")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]

#[path = "../tests/counting/mod.rs"]
mod counting;

use std::{hint::black_box, time::Instant};

use homeostat_gateway_proxy::cells::{CellShard, Outcome};
use homeostat_model::{CellId, OutcomeClass};

#[global_allocator]
static COUNTING: counting::Counting = counting::Counting;

const ROUNDS: usize = 7;
const OUTCOMES: u32 = 2_000_000;
const REQUESTS: u32 = 20_000;

fn main() {
    let shard = CellShard::new();
    for cell in 0..64 {
        shard.prepare(CellId(cell));
    }
    let mut ns: Vec<f64> = (0..ROUNDS).map(|_| ns_per_outcome(&shard)).collect();
    ns.sort_by(f64::total_cmp);
    let of = |index: usize| ns.get(index).copied().unwrap_or(f64::NAN);
    println!(
        "outcome record: {:.1} ns (min {:.1}, max {:.1}, {ROUNDS} rounds, 64 cells)",
        of(ROUNDS / 2),
        of(0),
        of(ROUNDS - 1)
    );

    let gateway = counting::gateway();
    let address = gateway.local_addrs().first().copied().expect("bound");
    let mut client = counting::connect(address);
    for _ in 0..1_000 {
        counting::exchange(&mut client);
    }
    let (allocations, began) = (counting::allocations(), Instant::now());
    for _ in 0..REQUESTS {
        counting::exchange(&mut client);
    }
    let per_request = (counting::allocations() - allocations) as f64 / f64::from(REQUESTS);
    let us = began.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS);
    println!("proxied request: {per_request:.2} allocations, {us:.0} us one after the other on one connection");
    println!("live heap now: {} KiB", counting::live_bytes() / 1024);
}

fn ns_per_outcome(shard: &CellShard) -> f64 {
    let thresholds_us = [1_000, 10_000, u64::MAX, u64::MAX];
    let began = Instant::now();
    for index in 0..OUTCOMES {
        let class = if index % 50 == 0 { OutcomeClass::ServerError } else { OutcomeClass::Ok };
        let cell = CellId((index % 64) as u16);
        shard.record(black_box(&Outcome { cell, class, latency_us: u64::from(index % 16_000), thresholds_us }));
    }
    began.elapsed().as_nanos() as f64 / f64::from(OUTCOMES)
}
