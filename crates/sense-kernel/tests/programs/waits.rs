// For each line with a number waits so many rounds: 30 ms in `slow`, then 10 ms in `quick`, both called by `work`. Then says how
// many microseconds it has measured in either.
use std::{
    hint::black_box,
    io::stdin,
    thread::sleep,
    time::{Duration, Instant},
};

#[inline(never)]
fn slow() -> Duration {
    let began = Instant::now();
    sleep(Duration::from_millis(30));
    black_box(began.elapsed())
}

#[inline(never)]
fn quick() -> Duration {
    let began = Instant::now();
    sleep(Duration::from_millis(10));
    black_box(began.elapsed())
}

#[inline(never)]
fn work(sums: &mut [Duration; 2]) {
    sums[0] += slow();
    sums[1] += quick();
    black_box(sums);
}

fn main() {
    for line in stdin().lines() {
        let mut sums = [Duration::ZERO; 2];
        for _ in 0..line.unwrap().parse::<u32>().unwrap() {
            work(&mut sums);
        }
        println!("{} {}", sums[0].as_micros(), sums[1].as_micros());
    }
}
