//! Open-loop load: requests are sent when they are due, whatever the answers do, and latency counts from that instant.
//!
//! A generator that waits for an answer before it sends the next request measures a stalled server once instead of a
//! thousand times ("coordinated omission", Gil Tene). Here the instants are fixed by a rate and a seed (`schedule`), what
//! is sent by a mix and the same seed (`mix`), and every delay, of the server or of the generator, is in the latency.
//!
//! One load runs on one current-thread runtime. [`Load::spawn`] gives it a thread of its own.
//! Limits: requests in flight; beyond that a due request is dropped and counted apart.
//! Not here: what the figures mean (the demonstration, `bench/`).

mod connection;
pub mod histogram;
pub mod mix;
pub mod schedule;
pub mod tally;

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body_util::Full;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::{
    task::{JoinSet, LocalSet},
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{Answer, Connection, Pool},
    mix::{Customers, Wish},
    schedule::Schedule,
};
pub use crate::{
    mix::{Errand, Mix, ShopMix},
    schedule::Pacing,
    tally::{Ending, Failure, LabelReport, Moment, Report, Tally},
};

/// Requests that are sent in a row without letting answers in, when the generator is behind.
const BURST_MAX: u32 = 32;

/// What to load, how much, and how to tell the answers apart.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to, with relative weights; drawn per request from the seed.
    pub targets: Vec<(SocketAddr, u32)>,
    /// Requests a second; greater than 0.
    pub rps: f64,
    /// How they are spread.
    pub pacing: Pacing,
    /// What they ask for.
    pub mix: Mix,
    /// Decides instants, requests and targets.
    pub seed: u64,
    /// Requests in flight at most. At 2,000 requests/s, 1,000 is half a second of silence from the server.
    pub in_flight_max: usize,
    /// A request that is not answered completely within this long after it was due has failed.
    pub give_up_after: Duration,
    /// Answers later than this are counted as slow.
    pub slow_after: Duration,
    /// Response header whose value is the label.
    pub label_header: Option<HeaderName>,
    /// Request header that carries the customer's key.
    pub user_header: Option<HeaderName>,
    /// Cookie that carries the customer's key.
    pub user_cookie: Option<String>,
}

impl Load {
    /// Load on one target with everything else as usual: evenly spread, seed 1, 1,000 in flight, given up after 10 s,
    /// slow after 100 ms, neither labels nor customer keys.
    pub fn new(target: SocketAddr, rps: f64, mix: Mix) -> Self {
        Self {
            targets: vec![(target, 1)],
            rps,
            pacing: Pacing::Fixed,
            mix,
            seed: 1,
            in_flight_max: 1_000,
            give_up_after: Duration::from_secs(10),
            slow_after: Duration::from_millis(100),
            label_header: None,
            user_header: None,
            user_cookie: None,
        }
    }

    /// Runs on a thread of its own.
    pub fn spawn(self, stop: CancellationToken) -> io::Result<RunningLoad> {
        let tally = Tally::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (theirs, until) = (tally.clone(), stop.clone());
        let thread = thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || LocalSet::new().block_on(&runtime, self.run(theirs, until)))?;
        Ok(RunningLoad { tally, stop, thread })
    }

    /// Sends until told to stop, then waits for what is in flight. Needs a current-thread runtime with a [`LocalSet`].
    /// `tally` shows the counts meanwhile.
    pub async fn run(self, tally: Tally, stop: CancellationToken) -> Report {
        let chance = Xoshiro256PlusPlus::seed_from_u64(self.seed.rotate_left(32));
        let customers = Customers::new(self.mix.clone(), self.seed);
        let schedule = Schedule::new(self.pacing, self.rps, self.seed);
        let shared = Rc::new(Shared { load: self, tally, pool: RefCell::default(), customers: customers.into() });
        Generator { shared: shared.clone(), schedule, chance, in_flight: JoinSet::new() }.run(stop).await;
        shared.tally.report()
    }
}

/// A load on its own thread.
#[derive(Debug)]
pub struct RunningLoad {
    tally: Tally,
    stop: CancellationToken,
    thread: thread::JoinHandle<Report>,
}

impl RunningLoad {
    /// The counters while it runs.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Stops it and waits for what is in flight, at most as long as requests are given. Blocks.
    pub fn finish(self) -> Report {
        self.stop.cancel();
        self.thread.join().unwrap_or_else(|_panicked| self.tally.report())
    }
}

/// What the requests of one load share; all on one thread.
struct Shared {
    load: Load,
    tally: Tally,
    pool: RefCell<Pool>,
    customers: RefCell<Customers>,
}

struct Generator {
    shared: Rc<Shared>,
    schedule: Schedule,
    chance: Xoshiro256PlusPlus,
    in_flight: JoinSet<()>,
}

impl Generator {
    async fn run(mut self, stop: CancellationToken) {
        let start = tokio::time::Instant::now();
        let mut in_a_row = 0;
        loop {
            let due = start + self.schedule.next_due();
            let now = tokio::time::Instant::now();
            in_a_row = if now < due { 0 } else { in_a_row + 1 };
            if now < due {
                if stop.run_until_cancelled(sleep_until(due)).await.is_none() {
                    break;
                }
            } else if BURST_MAX <= in_a_row {
                tokio::task::yield_now().await;
                in_a_row = 0;
            }
            if stop.is_cancelled() {
                break;
            }
            while self.in_flight.try_join_next().is_some() {}
            self.send(due);
        }
        while self.in_flight.join_next().await.is_some() {}
    }

    fn send(&mut self, due: tokio::time::Instant) {
        // The customer decides before anybody knows whether there is room: the same seed gives the same requests.
        let wish = self.shared.customers.borrow_mut().next_wish();
        let Some(target) = self.target() else { return };
        if self.shared.load.in_flight_max <= self.in_flight.len() {
            self.shared.tally.dropped();
            return;
        }
        self.shared.tally.due(due.elapsed());
        self.in_flight.spawn_local(one_request(self.shared.clone(), wish, target, due.into_std()));
    }

    fn target(&mut self) -> Option<SocketAddr> {
        let targets = &self.shared.load.targets;
        if let [(only, _)] = targets.as_slice() {
            return Some(*only);
        }
        let all: u32 = targets.iter().map(|(_, weight)| weight).sum();
        let mut toss = self.chance.random_range(0..all.max(1));
        for (target, weight) in targets {
            match toss.checked_sub(*weight) {
                Some(rest) => toss = rest,
                None => return Some(*target),
            }
        }
        None
    }
}

async fn one_request(shared: Rc<Shared>, wish: Wish, target: SocketAddr, due: Instant) {
    let load = &shared.load;
    let left = load.give_up_after.saturating_sub(due.elapsed());
    let asked = timeout(left, ask(&shared, &wish, target)).await.unwrap_or(Err(Failure::Timeout));
    let latency = due.elapsed();
    let (label, ending, at) = match &asked {
        Ok(answer) => (label_of(load, answer), Ending::Status(answer.status), answer.head_at),
        Err(failure) => ("", Ending::Failure(*failure), Moment::now()),
    };
    shared.tally.ended(label, ending, latency, load.slow_after, at);
    if let (true, Ok(answer)) = (wish.orders, &asked)
        && let Some(order) = order_of(answer)
    {
        shared.customers.borrow_mut().ordered(wish.user, order);
    }
}

async fn ask(shared: &Shared, wish: &Wish, target: SocketAddr) -> Result<Answer, Failure> {
    let mut connection = connected(shared, target).await?;
    let request = request_of(&shared.load, wish, target).map_err(|_| Failure::Connect)?;
    let answer = connection.ask(request).await?;
    shared.pool.borrow_mut().put(target, connection);
    Ok(answer)
}

/// A pooled connection that still works, or a new one.
async fn connected(shared: &Shared, target: SocketAddr) -> Result<Connection, Failure> {
    loop {
        let pooled = shared.pool.borrow_mut().take(target);
        let Some(mut connection) = pooled else { return Connection::open(target).await };
        if connection.is_usable().await {
            return Ok(connection);
        }
    }
}

fn request_of(load: &Load, wish: &Wish, target: SocketAddr) -> Result<http::Request<Full<Bytes>>, http::Error> {
    let mut request = http::Request::builder()
        .method(wish.method.clone())
        .uri(&wish.path)
        .header(http::header::HOST, target.to_string());
    if !wish.body.is_empty() {
        request = request.header(http::header::CONTENT_TYPE, "application/json");
    }
    if let Some(header) = &load.user_header {
        request = request.header(header, HeaderValue::from_str(&format!("u{}", wish.user))?);
    }
    if let Some(cookie) = &load.user_cookie {
        request = request.header(http::header::COOKIE, format!("{cookie}=u{}", wish.user));
    }
    request.body(Full::new(wish.body.clone()))
}

fn label_of<'a>(load: &Load, answer: &'a Answer) -> &'a str {
    let header = load.label_header.as_ref().and_then(|name| answer.headers.get(name));
    header.and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// The id of the order that an answer acknowledges.
fn order_of(answer: &Answer) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Placed {
        id: String,
    }
    if answer.status != 201 {
        return None;
    }
    serde_json::from_slice::<Placed>(&answer.body).ok().map(|placed| placed.id)
}
