//! What probes on Go's runtime cost the program, and what sampling waits costs the machine.
//!
//! A Go program collects as often as it can, watched and not watched by turns: the time of a collection with and without the
//! probes, which are hit six times in it. Threads that hand a byte to and fro wait as often as they can, and each wait is
//! sampled, by frame pointers and with copied stacks: time in the kernel and here for each. No server does either as often.
//!
//! `./dev bench sense-kernel` runs it and writes `bench/out/probing.json`.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]

mod spread;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use homeostat_sense_kernel::{CaptureStats, GoWatch, StackCapture, Targets, Unwind, WaitShare};
use spread::Spread;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUND: Duration = Duration::from_secs(5);
/// Collections of a round: some hundred milliseconds.
const COLLECTIONS: u32 = 2000;

fn main() -> Result<(), Failure> {
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-probing");
    fs::create_dir_all(&work)?;
    let (alone, watched) = Collecting::start(&work)?.by_turns()?;
    let mut lines = vec![
        ("a collection of a Go program, not watched".to_owned(), "us", alone),
        ("a collection of a Go program, watched".to_owned(), "us", watched),
    ];
    let mut figures = vec![format!(
        "    {{ \"name\": \"a collection, us\", \"alone\": {}, \"watched\": {} }}",
        alone.json(),
        watched.json()
    )];
    for (name, unwind) in [("waits, frame pointers", Unwind::FramePointers), ("waits, copied stacks", Unwind::Copies)] {
        let rounds = (0..spread::rounds()).map(|_| waits(unwind)).collect::<Result<Vec<_>, _>>()?;
        let of = |value: &dyn Fn(&CaptureStats) -> f64| Spread::of(rounds.iter().map(value));
        let us = |time: Duration, stats: &CaptureStats| time.as_secs_f64() * 1e6 / stats.samples.max(1) as f64;
        let (kernel, own) = (of(&|stats| us(stats.kernel_time, stats)), of(&|stats| us(stats.own_time, stats)));
        let (cost, samples) = (of(&CaptureStats::cost), of(&|stats| stats.samples as f64));
        lines.extend([
            (format!("{name}: each, in the kernel"), "us", kernel),
            (format!("{name}: each, here"), "us", own),
            (format!("{name}: all of a round"), "", samples),
            (format!("{name}: cost"), "% of one CPU", cost.times(100.0)),
        ]);
        figures.push(format!(
            "    {{ \"name\": \"{name}\", \"kernel_us\": {}, \"own_us\": {}, \"share_of_cpu\": {} }}",
            kernel.json(),
            own.json(),
            cost.json()
        ));
    }
    println!("{}", spread::table("probes on Go's runtime, and waits", &lines));
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/out");
    fs::create_dir_all(&out)?;
    fs::write(out.join("probing.json"), format!("{{\n  \"figures\": [\n{}\n  ]\n}}\n", figures.join(",\n")))?;
    Ok(())
}

/// A Go program that collects when it is told to.
struct Collecting {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Drop for Collecting {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Collecting {
    fn start(work: &Path) -> Result<Self, Failure> {
        let program = work.join("collecting");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/collecting");
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).current_dir(source).env("GOCACHE", work.join("go-cache"));
        if !go.status()?.success() {
            return Err("the collecting program does not compile".into());
        }
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = BufReader::new(child.stdout.take().ok_or("it has no output")?);
        let mut started = Self { child, said };
        started.said.read_line(&mut String::new())?;
        Ok(started)
    }

    /// Microseconds a collection takes.
    fn collect(&mut self) -> Result<f64, Failure> {
        let began = Instant::now();
        self.child.stdin.as_mut().ok_or("it has no input")?.write_all(format!("collect {COLLECTIONS}\n").as_bytes())?;
        self.said.read_line(&mut String::new())?;
        Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(COLLECTIONS))
    }

    /// Not watched and watched.
    fn by_turns(mut self) -> Result<(Spread, Spread), Failure> {
        let (mut alone, mut watched) = (Vec::new(), Vec::new());
        for _ in 0..spread::rounds() {
            alone.push(self.collect()?);
            let watch = GoWatch::start(&BTreeSet::from([self.child.id()]))?;
            watched.push(self.collect()?);
            drop(watch);
        }
        Ok((Spread::of(alone.into_iter()), Spread::of(watched.into_iter())))
    }
}

/// Waits of this very process, while two threads hand a byte to and fro.
fn waits(unwind: Unwind) -> Result<CaptureStats, Failure> {
    let ends = AtomicBool::new(false);
    let ((mut read_there, mut write_here), (mut read_here, mut write_there)) = (io::pipe()?, io::pipe()?);
    thread::scope(|scope| {
        let ends = &ends;
        scope.spawn(move || {
            let mut byte = [0];
            // Ends with an error when the other side has gone.
            while !ends.load(Ordering::Relaxed)
                && write_here.write_all(&byte).and_then(|()| read_here.read_exact(&mut byte)).is_ok()
            {}
        });
        scope.spawn(move || {
            let mut byte = [0];
            while read_there.read_exact(&mut byte).and_then(|()| write_there.write_all(&byte)).is_ok() {}
        });
        let measured = measure(unwind);
        ends.store(true, Ordering::Relaxed);
        measured
    })
}

fn measure(unwind: Unwind) -> Result<CaptureStats, Failure> {
    let own = Targets::processes([std::process::id()])?;
    let mut capture = StackCapture::of_waits(&own, WaitShare::ALL, unwind)?;
    capture.gather(spread::round(ROUND))?;
    Ok(capture.finish()?.1)
}
