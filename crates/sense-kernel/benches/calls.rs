//! What following calls costs for each request: time of the distribution's nginx with and without, in turns, and time of our
//! program in the kernel and of who empties its ring.
//!
//! `./dev bench sense-kernel` runs it and writes `bench/out/calls.json`. The server answers ten bytes from memory, so that
//! nearly all of its time is the system calls that are looked at: an upper bound for the share.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]

mod spread;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use homeostat_sense_kernel::{KernelCalls, process_time};
use rustix::time::{ClockId, clock_gettime};
use spread::Spread;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const CLIENTS: usize = 4;

/// Microseconds for each request, in each round.
#[derive(Default)]
struct Figures {
    server_without: Vec<f64>,
    server_with: Vec<f64>,
    kernel: Vec<f64>,
    reader: Vec<f64>,
    requests_per_s: f64,
    seen_share: f64,
}

fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut server = nginx(dir.path(), address)?;
    let measured = load(address, |asked| measure(server.id(), asked));
    server.kill()?;
    server.wait()?;
    let figures = measured?;
    println!("{}", figures.lines());
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/out");
    fs::create_dir_all(&out)?;
    fs::write(out.join("calls.json"), figures.json())?;
    Ok(())
}

fn nginx(dir: &Path, address: SocketAddr) -> Result<Child, Failure> {
    let place = dir.display();
    let config = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/log;\nevents {{}}\nhttp {{ access_log off; \
         client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place}; uwsgi_temp_path {place}; \
         scgi_temp_path {place}; keepalive_requests 100000000;\n\
         server {{ listen {address}; location / {{ return 200 '0123456789'; }} }} }}\n"
    );
    fs::write(dir.join("nginx.conf"), config)?;
    let server = Command::new("nginx").arg("-c").arg(dir.join("nginx.conf")).spawn()?;
    while TcpStream::connect(address).is_err() {
        thread::yield_now();
    }
    Ok(server)
}

/// Clients that ask as fast as they are answered while something is done; it is given how often they have asked.
fn load<T>(address: SocketAddr, work: impl FnOnce(&AtomicU64) -> T) -> T {
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            thread::spawn(move || ask(address, &stop, &asked))
        })
        .collect();
    let result = work(&asked);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        if !matches!(client.join(), Ok(Ok(()))) {
            println!("a client has failed: the figures are of the others");
        }
    }
    result
}

fn ask(address: SocketAddr, stop: &AtomicBool, asked: &AtomicU64) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let mut room = [0; 1024];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(b"GET /orders/4711 HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")?;
        let mut length = 0;
        while !room.get(..length).is_some_and(|answer| answer.ends_with(b"0123456789")) {
            length += stream.read(room.get_mut(length..).unwrap_or_default())?;
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn measure(pid: u32, asked: &AtomicU64) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    let mut calls = KernelCalls::start(&[pid].into())?;
    let (mut seen, mut counted, mut all, mut whole) = (0, 0, 0, Duration::ZERO);
    for _ in 0..ROUNDS {
        for with in [false, true] {
            if with {
                calls.resume()?;
            } else {
                calls.pause();
            }
            let (time, kernel, own) = (process_time(pid).unwrap_or_default(), calls.kernel_time(), own_time());
            let (before, begun, mut ended) = (asked.load(Ordering::Relaxed), Instant::now(), Vec::new());
            while begun.elapsed() < ROUND {
                thread::sleep(KernelCalls::EVERY);
                if with {
                    calls.take(&mut ended);
                    seen += ended.len() as u64;
                    ended.clear();
                }
            }
            let requests = asked.load(Ordering::Relaxed) - before;
            let each = |time: Duration| 1e6 * time.as_secs_f64() / requests.max(1) as f64;
            let server = each(process_time(pid).unwrap_or_default().saturating_sub(time));
            (all, whole) = (all + requests, whole + begun.elapsed());
            if with {
                counted += requests;
                figures.server_with.push(server);
                figures.kernel.push(each(calls.kernel_time().saturating_sub(kernel)));
                figures.reader.push(each(own_time().saturating_sub(own)));
            } else {
                figures.server_without.push(server);
            }
        }
    }
    figures.requests_per_s = all as f64 / whole.as_secs_f64();
    figures.seen_share = seen as f64 / counted.max(1) as f64;
    Ok(figures)
}

fn own_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

impl Figures {
    fn named(&self) -> [(&'static str, Spread); 4] {
        let all = [
            ("server_us_without", &self.server_without),
            ("server_us_with", &self.server_with),
            ("kernel_us", &self.kernel),
            ("reader_us", &self.reader),
        ];
        all.map(|(name, values)| (name, Spread::of(values.iter().copied())))
    }

    fn lines(&self) -> String {
        let line = |(name, Spread { min, median, max }): (&str, Spread)| {
            format!("calls, {}: {median:.2} us a request ({min:.2} to {max:.2})\n", name.replace("_us", ""))
        };
        let lines: String = self.named().into_iter().map(line).collect();
        let seen = 100.0 * self.seen_share;
        format!("{lines}calls: {:.0} requests a second, {seen:.2} % of them seen", self.requests_per_s)
    }

    fn json(&self) -> String {
        let parts: Vec<String> =
            self.named().into_iter().map(|(name, spread)| format!("  \"{name}\": {}", spread.json())).collect();
        format!(
            "{{\n{},\n  \"requests_per_s\": {:.0},\n  \"seen_share\": {:.6}\n}}\n",
            parts.join(",\n"),
            self.requests_per_s,
            self.seen_share
        )
    }
}
