//! What counting waits and connections of one process costs: time of our programs in the kernel as a share of one CPU and for
//! each event, while every CPU is full of threads that hand a byte to and fro, and of connections that last for one byte.
//!
//! The process has both ends of its connections, so each is counted where it is accepted. Programs also look at what others do,
//! to leave it out: that is in the time, and small on a quiet machine.
//!
//! `./dev bench sense-kernel` runs it and writes `bench/out/kernel.json`. No server switches as often as this one does, so the
//! share is an upper bound; the time of an event is what to multiply with.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]

mod spread;

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use homeostat_sense_kernel::{Activity, KernelWatch, Targets};
use spread::Spread;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUND: Duration = Duration::from_secs(5);

/// One kind of load, measured.
struct Figure {
    name: &'static str,
    /// Share of one CPU, and nanoseconds an event, in each round.
    rounds: Vec<(f64, f64)>,
    events_per_s: f64,
}

fn main() -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let waits = |activity: &Activity| activity.waits.as_ref().map_or(0, |waits| waits.by_length.count());
    let figures = [
        measure("waits for a CPU, pipes", Figure::pipes(&stop)?, &stop, waits)?,
        measure("connections, one byte each", Figure::connections(&stop)?, &stop, |activity| {
            activity.tcp.as_ref().map_or(0, |tcp| tcp.accepted)
        })?,
    ];
    let lines: Vec<_> = figures.iter().flat_map(Figure::lines).collect();
    println!("{}", spread::table("watching, in the kernel", &lines));
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/out");
    fs::create_dir_all(&out)?;
    let list: Vec<String> = figures.iter().map(Figure::json).collect();
    fs::write(out.join("kernel.json"), format!("{{\n  \"figures\": [\n{}\n  ]\n}}\n", list.join(",\n")))?;
    Ok(())
}

fn measure(
    name: &'static str,
    load: Vec<thread::JoinHandle<()>>,
    stop: &AtomicBool,
    events: impl Fn(&Activity) -> u64,
) -> Result<Figure, Failure> {
    let own = std::process::id();
    let watch = KernelWatch::start(&Targets::processes([own])?)?;
    let seen = || -> Result<u64, Failure> { Ok(watch.read()?.get(&own).map(&events).unwrap_or_default()) };
    let (mut rounds, mut all, begun) = (Vec::new(), 0, Instant::now());
    for _ in 0..spread::rounds() {
        let (before, spent, since) = (seen()?, watch.kernel_time(), Instant::now());
        thread::sleep(spread::round(ROUND));
        let (count, spent) = (seen()? - before, watch.kernel_time().saturating_sub(spent).as_secs_f64());
        rounds.push((spent / since.elapsed().as_secs_f64(), 1e9 * spent / count.max(1) as f64));
        all += count;
    }
    let events_per_s = all as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().map_err(|_| "a thread of the load has panicked")?;
    }
    stop.store(false, Ordering::Relaxed);
    Ok(Figure { name, rounds, events_per_s })
}

impl Figure {
    /// Two threads a CPU that wake each other up.
    fn pipes(stop: &Arc<AtomicBool>) -> Result<Vec<thread::JoinHandle<()>>, Failure> {
        let mut threads = Vec::new();
        for _ in 0..thread::available_parallelism()?.get() {
            let ((mut read_there, mut write_here), (mut read_here, mut write_there)) = (io::pipe()?, io::pipe()?);
            let ends = Arc::clone(stop);
            threads.push(thread::spawn(move || {
                let mut byte = [0];
                // Ends with an error when the other side has gone.
                while !ends.load(Ordering::Relaxed)
                    && write_here.write_all(&byte).and_then(|()| read_here.read_exact(&mut byte)).is_ok()
                {
                }
            }));
            threads.push(thread::spawn(move || {
                let mut byte = [0];
                while read_there.read_exact(&mut byte).and_then(|()| write_there.write_all(&byte)).is_ok() {}
            }));
        }
        Ok(threads)
    }

    /// A client that connects as fast as it can, and a server.
    fn connections(stop: &Arc<AtomicBool>) -> Result<Vec<thread::JoinHandle<()>>, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, ends) = (listener.local_addr()?, Arc::clone(stop));
        let server = thread::spawn(move || {
            for stream in listener.incoming() {
                if stream.is_ok_and(|mut stream| stream.read_exact(&mut [0]).is_err()) {
                    return;
                }
            }
        });
        let client = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                // The machine runs out of ports now and then.
                let _sent = TcpStream::connect(address).and_then(|mut stream| stream.write_all(&[1]));
            }
            // One that says nothing ends the server.
            let _silent = TcpStream::connect(address);
        });
        Ok(vec![server, client])
    }

    fn shares(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round.0))
    }

    fn ns_per_event(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round.1))
    }

    fn lines(&self) -> [(String, &'static str, Spread); 3] {
        [
            (self.name.to_owned(), "% of one CPU", self.shares().times(100.0)),
            ("  each".to_owned(), "ns", self.ns_per_event()),
            ("  of them".to_owned(), "a second", Spread::of([self.events_per_s].into_iter())),
        ]
    }

    fn json(&self) -> String {
        format!(
            "    {{ \"name\": \"{}\", \"share_of_cpu\": {}, \"events_per_s\": {:.0}, \"ns_per_event\": {:.0} }}",
            self.name,
            self.shares().json(),
            self.events_per_s,
            self.ns_per_event().median
        )
    }
}
