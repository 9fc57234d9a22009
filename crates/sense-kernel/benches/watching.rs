//! What counting waits and connections costs: time of our programs in the kernel as a share of one CPU and for each event,
//! while every CPU is full of threads that hand a byte to and fro, and of connections that last for one byte.
//!
//! `./dev bench sense-kernel` runs it and writes `bench/out/kernel.json`. No server switches as often as this one does, so the
//! share is an upper bound; the time of an event is what to multiply with.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use homeostat_sense_kernel::{Activity, KernelWatch, Targets};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 5;
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
    let figures = vec![
        measure("waits for a CPU, pipes", Figure::pipes(&stop)?, &stop, waits)?,
        measure("connections, one byte each", Figure::connections(&stop)?, &stop, |activity| {
            activity.tcp.as_ref().map_or(0, |tcp| tcp.ended)
        })?,
    ];
    for figure in &figures {
        println!("{}", figure.line());
    }
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
    let watch = KernelWatch::start(&Targets::Machine)?;
    let own = std::process::id();
    let seen = || -> Result<u64, Failure> { Ok(watch.read()?.get(&own).map(&events).unwrap_or_default()) };
    let (mut rounds, mut all, begun) = (Vec::new(), 0, Instant::now());
    for _ in 0..ROUNDS {
        let (before, spent, since) = (seen()?, watch.kernel_time(), Instant::now());
        thread::sleep(ROUND);
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
        let (address, ends, served) = (listener.local_addr()?, Arc::clone(stop), Arc::new(AtomicU64::new(0)));
        let server = thread::spawn(move || {
            for stream in listener.incoming() {
                let mut byte = [0];
                let is_last = stream.is_ok_and(|mut stream| {
                    served.fetch_add(1, Ordering::Relaxed);
                    stream.read_exact(&mut byte).is_err()
                });
                if is_last {
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

    /// Least, middle and most.
    fn of(&self, value: impl Fn(&(f64, f64)) -> f64) -> [f64; 3] {
        let mut values: Vec<f64> = self.rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        [0, values.len() / 2, values.len().saturating_sub(1)].map(|at| values.get(at).copied().unwrap_or(f64::NAN))
    }

    fn line(&self) -> String {
        let ([min, share, max], [_, ns, _]) = (self.of(|round| 100.0 * round.0), self.of(|round| round.1));
        format!(
            "{}: {share:.2} % of one CPU in the kernel ({min:.2} to {max:.2}), {:.0} a second, {ns:.0} ns for each",
            self.name, self.events_per_s
        )
    }

    fn json(&self) -> String {
        let ([min, share, max], [_, ns, _]) = (self.of(|round| round.0), self.of(|round| round.1));
        format!(
            "    {{ \"name\": \"{}\", \"share_of_cpu\": {{ \"min\": {min:.6}, \"median\": {share:.6}, \"max\": {max:.6} }}, \
             \"events_per_s\": {:.0}, \"ns_per_event\": {ns:.0} }}",
            self.name, self.events_per_s
        )
    }
}
