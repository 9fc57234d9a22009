// Works for ever: four fifths of the time in `hard`, one fifth in `easy`, both called by `work`.
use std::hint::black_box;

#[inline(never)]
fn hard(mut n: u64) -> u64 {
    for step in 0..4_000_000_u64 {
        n = black_box(n ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    n
}

#[inline(never)]
fn easy(mut n: u64) -> u64 {
    for step in 0..1_000_000_u64 {
        n = black_box(n ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    n
}

#[inline(never)]
fn work(n: u64) -> u64 {
    let n = hard(n);
    black_box(easy(n)) + 1
}

fn main() {
    let mut n = 1;
    loop {
        n = black_box(work(n));
    }
}
