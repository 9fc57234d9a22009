//! What an agent works with in tests: targets that number their profiles, a way to the server that can be cut, and what the server
//! has in the end.

#![cfg(test)]

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use homeostat_model::profile::{Frame, LabelSet, Profile, Stack, Text, ValueType};
use homeostat_wire::pprof;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::metrics_server::{Client, MetricsServer};

/// Long enough for a loaded machine; reached only when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A program with goroutines: each profile holds one function, named after how many profiles there were before.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    given: Arc<AtomicU64>,
    closed: Arc<AtomicBool>,
}

/// The name of the function of a profile.
pub(crate) fn name_of(number: u64) -> String {
    format!("w{number:06}")
}

pub(crate) fn goroutines(function: &str) -> Vec<u8> {
    let counted = ValueType::new("goroutine", "count");
    let mut profile = Profile::new(vec![counted.clone()]);
    (profile.period_type, profile.period) = (counted, 1);
    let function = profile.intern(function);
    let (file, module) = (Text::EMPTY, Text::EMPTY);
    let stack = profile.push_frame(Stack::EMPTY, Frame { function, file, line: 1, module, address: 0, inlined: false });
    profile.add(stack, LabelSet::NONE, &[1]);
    pprof::write(&profile)
}

pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

impl Target {
    pub(crate) async fn start() -> Self {
        let (given, closed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, shut) = (Arc::clone(&given), Arc::clone(&closed));
        let answer = move || {
            let (count, shut) = (Arc::clone(&count), Arc::clone(&shut));
            async move {
                if shut.load(Ordering::SeqCst) {
                    return (StatusCode::SERVICE_UNAVAILABLE, "closed").into_response();
                }
                goroutines(&name_of(count.fetch_add(1, Ordering::SeqCst))).into_response()
            }
        };
        let address = serve(Router::new().route("/debug/pprof/goroutine", get(answer))).await;
        Self { address, given, closed }
    }

    /// Profiles that were given so far.
    pub(crate) fn given(&self) -> u64 {
        self.given.load(Ordering::SeqCst)
    }

    /// From now on it gives none; what was given is the number.
    pub(crate) fn close(&self) -> u64 {
        self.closed.store(true, Ordering::SeqCst);
        self.given()
    }

    pub(crate) fn service(&self) -> String {
        format!("shop=url:http://{}", self.address)
    }
}

/// A program that begins an answer and never ends it.
pub(crate) async fn hanging() -> SocketAddr {
    let begun = || async { Response::new(Body::new(Endless { begun: false })) };
    serve(Router::new().route("/debug/pprof/goroutine", get(begun))).await
}

/// A body whose first bytes come and whose end never does.
struct Endless {
    begun: bool,
}

impl hyper::body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, Self::Error>>> {
        if std::mem::replace(&mut self.begun, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes::Bytes::from_static(b"\x1f\x8b")))))
    }
}

/// The way to the server, at one address all along: to whoever is there, or to nobody.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    to: Arc<Mutex<Option<SocketAddr>>>,
}

impl Way {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, to) = (listener.local_addr().expect("bound"), Arc::new(Mutex::new(None)));
        let server: Arc<Mutex<Option<SocketAddr>>> = Arc::clone(&to);
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let Some(to) = *server.lock().expect("nobody panics with it") else { continue };
                tokio::spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        let _either_left = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        Self { address, to }
    }

    pub(crate) fn leads_to(&self, server: Option<SocketAddr>) {
        *self.to.lock().expect("nobody panics with it") = server;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    pub(crate) own: SocketAddr,
    log: PathBuf,
}

/// The command, without what says where to listen.
pub(crate) fn command(data: &Path, server: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homeostat"));
    command.args(["agent", "--server", server, "--data"]).arg(data).args(args);
    command.stdin(Stdio::null());
    command
}

/// What all tests ask for: windows as short as they may be, of goroutines.
pub(crate) const QUICK: [&str; 4] = ["--window", "10ms", "--kinds", "goroutine"];
/// Whatever it costs: a program that is not optimised, on a machine that does other things.
pub(crate) const WHATEVER: [&str; 2] = ["--cpu-budget", "10000"];

impl Agent {
    pub(crate) fn start(data: &Path, server: &str, args: &[&str]) -> Self {
        Self::of(command(data, server, args), data)
    }

    /// Starts it and waits until it says where it tells of itself. Its log goes beside its data.
    pub(crate) fn of(mut command: Command, data: &Path) -> Self {
        let log = data.with_extension("log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).expect("a writable folder");
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let mut agent = Self { child, own: SocketAddr::from(([0, 0, 0, 0], 0)), log };
        let lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
        for line in lines.map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("homeostat agent tells of itself at http://") {
                agent.own = address.trim_end_matches('/').parse().expect("an address");
                return agent;
            }
        }
        panic!("it ends: {}", agent.log());
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }

    /// Asks it to stop and gives its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }

    async fn client(&self) -> Client {
        Client::connect(self.own).await.expect("it listens")
    }

    pub(crate) async fn status(&self) -> Value {
        self.client().await.get("/status").await.1
    }

    pub(crate) async fn metrics(&self) -> String {
        let (status, text) = self.client().await.text("GET", "/metrics").await;
        assert_eq!(status, 200);
        text
    }

    /// A metric by its name with labels, as in the text.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.metrics().await;
        value_of(&text, &format!("homeostat_agent_{name}")).unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// A metric that counts.
    pub(crate) async fn count(&self, name: &str) -> u64 {
        let value = self.metric(name).await;
        assert!(value.fract().abs() < f64::EPSILON, "{name} is {value}, which is no count");
        value as u64
    }

    /// Waits until a metric has at least this value.
    pub(crate) async fn at_least(&self, name: &str, value: f64) {
        until(&format!("{name} is {value}"), async || (value <= self.metric(name).await).then_some(())).await;
    }

    /// Waits until nothing waits to be shipped.
    pub(crate) async fn until_shipped(&self) {
        until("everything is shipped", async || (self.count("queue_windows").await == 0).then_some(())).await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

pub(crate) fn value_of(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Goroutines by function, as the server has them.
pub(crate) async fn found(server: &MetricsServer) -> BTreeMap<String, i64> {
    let query = "goroutine:goroutine:count:goroutine:count%7Bservice_name%3D%22shop%22%7D";
    let path = format!("/pyroscope/render?from=now-1h&until=now&maxNodes=262144&query={query}");
    let (status, page) = server.client().await.get(&path).await;
    assert_eq!(status, 200, "{page}");
    let flame = &page["flamebearer"];
    let names = flame["names"].as_array().expect("names");
    let level = flame["levels"][1].as_array().map_or(&[][..], Vec::as_slice);
    let number = |value: &Value| value.as_i64().expect("a number");
    level
        .chunks_exact(4)
        .map(|node| (names[number(&node[3]) as usize].as_str().expect("a name").to_owned(), number(&node[1])))
        .collect()
}

/// Checks that each of so many windows is there, once.
pub(crate) async fn all_once(server: &MetricsServer, windows: u64) {
    let found = found(server).await;
    let wrong: Vec<_> = (0..windows).map(name_of).filter(|name| found.get(name) != Some(&1)).collect();
    assert!(wrong.is_empty(), "{} of {windows} are not there once: {wrong:?}", wrong.len());
    assert_eq!(found.len() as u64, windows);
}
