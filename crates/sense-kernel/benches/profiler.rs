//! What a CPU profile costs the machine: time of our program in the kernel and of the thread that takes samples over and
//! unwinds copied stacks, as a share of one CPU, at 99 Hz.
//!
//! `./dev bench profiler` runs it and writes `bench/out/profiler.json`. Servers: the distribution's Prometheus while two
//! clients ask as fast as they can (Go, frame pointers), and a Rust program that is always busy (copied stacks). Looking up
//! names afterwards is not in the figures: it happens once, when the profile has ended.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]

#[path = "../tests/prometheus/mod.rs"]
mod prometheus;
mod spread;

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use homeostat_sense_kernel::{CaptureStats, SampleRate, StackCapture, Targets, Unwind};
use prometheus::Prometheus;
use spread::Spread;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUND: Duration = Duration::from_secs(10);
/// Shares of one CPU, as the project promises them.
const FRAME_POINTERS_TARGET: f64 = 0.005;
const COPIES_TARGET: f64 = 0.01;

/// A server that ends with the measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// One way to take profiles, measured.
struct Figure {
    name: &'static str,
    target: f64,
    rounds: Vec<CaptureStats>,
}

fn main() -> Result<(), Failure> {
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-profiler");
    let _nothing_there = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    let rust = rust_server(&work)?;
    let mut figures = vec![Figure::take("rust, copied stacks", COPIES_TARGET, rust.0.id(), Unwind::Copies)?];
    drop(rust);
    let server = Prometheus::start(&work)?;
    figures.push(server.while_asked(|| {
        Figure::take("go, frame pointers", FRAME_POINTERS_TARGET, server.pid(), Unwind::FramePointers)
    })?);
    let lines: Vec<_> = figures.iter().flat_map(Figure::lines).collect();
    println!("{}", spread::table("CPU profiles at 99 Hz", &lines));
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/out");
    fs::create_dir_all(&out)?;
    let list: Vec<String> = figures.iter().map(Figure::json).collect();
    fs::write(
        out.join("profiler.json"),
        format!("{{\n  \"hz\": 99,\n  \"figures\": [\n{}\n  ]\n}}\n", list.join(",\n")),
    )?;
    Ok(())
}

impl Figure {
    fn take(name: &'static str, target: f64, pid: u32, unwind: Unwind) -> Result<Self, Failure> {
        let targets = Targets::processes([pid])?;
        let mut rounds = Vec::new();
        for _ in 0..spread::rounds() {
            let mut capture = StackCapture::of_cpus(&targets, SampleRate::DEFAULT, unwind)?;
            capture.gather(spread::round(ROUND))?;
            rounds.push(capture.finish()?.1);
        }
        rounds.sort_by(|a, b| a.cost().total_cmp(&b.cost()));
        Ok(Self { name, target, rounds })
    }

    fn of(&self, value: impl Fn(&CaptureStats) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(value))
    }

    fn lines(&self) -> [(String, &'static str, Spread); 5] {
        let us_a_sample = |time: Duration, stats: &CaptureStats| time.as_secs_f64() * 1e6 / stats.samples.max(1) as f64;
        let target = 100.0 * self.target;
        [
            (self.name.to_owned(), "% of one CPU", self.of(CaptureStats::cost).times(100.0)),
            ("  target".to_owned(), "% of one CPU", Spread::of([target].into_iter())),
            ("  samples of a round".to_owned(), "", self.of(|stats| stats.samples as f64)),
            ("  a sample, in the kernel".to_owned(), "us", self.of(|stats| us_a_sample(stats.kernel_time, stats))),
            ("  a sample, here".to_owned(), "us", self.of(|stats| us_a_sample(stats.own_time, stats))),
        ]
    }

    fn json(&self) -> String {
        let (cost, samples) = (self.of(CaptureStats::cost), self.of(|stats| stats.samples as f64).median);
        format!(
            "    {{ \"name\": \"{}\", \"share_of_cpu\": {}, \"samples_a_round\": {samples:.0}, \"target\": {}, \
             \"meets\": {} }}",
            self.name,
            cost.json(),
            self.target,
            cost.median <= self.target
        )
    }
}

fn rust_server(dir: &Path) -> Result<Running, Failure> {
    let program = dir.join("busy");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/busy.rs");
    let built = Command::new("rustc").args(["--edition=2024", "-O", "-o"]).arg(&program).arg(source).status()?;
    if !built.success() {
        return Err("the busy program does not compile".into());
    }
    Ok(Running(Command::new(program).spawn()?))
}
