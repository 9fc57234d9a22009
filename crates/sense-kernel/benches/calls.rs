//! What following calls costs for each request: time of the distribution's nginx with and without, in turns, and time of our
//! program in the kernel and of who empties its ring. And what it costs others: a message and a system call of a process that is
//! not followed, with the programs attached and without.
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

const ROUND: Duration = Duration::from_secs(4);
const CLIENTS: usize = 4;
/// Messages, and system calls, of a process that is not followed: some tens of milliseconds.
const PASSED: u32 = 20_000;

/// Microseconds for each request, in each round.
#[derive(Default)]
struct Figures {
    server_without: Vec<f64>,
    server_with: Vec<f64>,
    kernel: Vec<f64>,
    reader: Vec<f64>,
    /// Nanoseconds, for who is not followed.
    message_without: Vec<f64>,
    message_with: Vec<f64>,
    call_without: Vec<f64>,
    call_with: Vec<f64>,
    requests_per_s: f64,
    seen_share: f64,
}

fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut server = nginx(dir.path(), address)?;
    let measured = load(address, |asked| measure(server.id(), asked));
    // Without the load of the clients.
    let measured = measured.and_then(|mut figures| others(server.id(), &mut figures).map(|()| figures));
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
    for _ in 0..spread::rounds() {
        for with in [false, true] {
            if with {
                calls.resume()?;
            } else {
                calls.pause();
            }
            let (time, kernel, own) = (process_time(pid).unwrap_or_default(), calls.kernel_time(), own_time());
            let (before, begun, mut ended) = (asked.load(Ordering::Relaxed), Instant::now(), Vec::new());
            while begun.elapsed() < spread::round(ROUND) {
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

/// What those pay who are not followed.
fn others(pid: u32, figures: &mut Figures) -> Result<(), Failure> {
    let mut calls = KernelCalls::start(&[pid].into())?;
    let mut pair = pair()?;
    for _ in 0..spread::rounds() {
        calls.pause();
        figures.message_without.push(message_ns(&mut pair)?);
        figures.call_without.push(call_ns());
        calls.resume()?;
        figures.message_with.push(message_ns(&mut pair)?);
        figures.call_with.push(call_ns());
    }
    Ok(())
}

fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    client.set_nodelay(true)?;
    Ok((client, listener.accept()?.0))
}

/// Time of this thread for a byte that is sent or received over TCP.
fn message_ns((from, to): &mut (TcpStream, TcpStream)) -> io::Result<f64> {
    let before = own_time();
    for _ in 0..PASSED {
        from.write_all(&[1])?;
        to.read_exact(&mut [0])?;
    }
    Ok(1e9 * own_time().saturating_sub(before).as_secs_f64() / f64::from(2 * PASSED))
}

/// Time of this thread for a system call that does hardly anything.
fn call_ns() -> f64 {
    let before = own_time();
    for _ in 0..PASSED {
        std::hint::black_box(std::os::unix::process::parent_id());
    }
    1e9 * own_time().saturating_sub(before).as_secs_f64() / f64::from(PASSED)
}

fn own_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

impl Figures {
    fn named(&self) -> [(&'static str, Spread); 8] {
        let all = [
            ("server_us_without", &self.server_without),
            ("server_us_with", &self.server_with),
            ("kernel_us", &self.kernel),
            ("reader_us", &self.reader),
            ("message_of_others_ns_without", &self.message_without),
            ("message_of_others_ns_with", &self.message_with),
            ("system_call_of_others_ns_without", &self.call_without),
            ("system_call_of_others_ns_with", &self.call_with),
        ];
        all.map(|(name, values)| (name, Spread::of(values.iter().copied())))
    }

    /// What program and reader take of what a request takes of the server without them, in each round.
    fn share(&self) -> Spread {
        let ours = self.kernel.iter().zip(&self.reader).map(|(kernel, reader)| kernel + reader);
        Spread::of(ours.zip(&self.server_without).map(|(ours, server)| ours / server))
    }

    fn lines(&self) -> String {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        let line = |name: &str, unit: &'static str, values| (name.to_owned(), unit, values);
        let lines = [
            line("server, without", "us", of(&self.server_without)),
            line("server, with", "us", of(&self.server_with)),
            line("  of it the program in the kernel", "us", of(&self.kernel)),
            line("reader", "us", of(&self.reader)),
            line("program and reader", "% of the server without", self.share().times(100.0)),
            line("requests", "a second", Spread::of([self.requests_per_s].into_iter())),
            line("requests seen", "%", Spread::of([100.0 * self.seen_share].into_iter())),
            line("a message of others, without", "ns", of(&self.message_without)),
            line("a message of others, with", "ns", of(&self.message_with)),
            line("a system call of others, without", "ns", of(&self.call_without)),
            line("a system call of others, with", "ns", of(&self.call_with)),
        ];
        spread::table("calls, for each request", &lines)
    }

    fn json(&self) -> String {
        let parts: Vec<String> =
            self.named().into_iter().map(|(name, spread)| format!("  \"{name}\": {}", spread.json())).collect();
        format!(
            "{{\n{},\n  \"share_of_request\": {},\n  \"requests_per_s\": {:.0},\n  \"seen_share\": {:.6}\n}}\n",
            parts.join(",\n"),
            self.share().json(),
            self.requests_per_s,
            self.seen_share
        )
    }
}
