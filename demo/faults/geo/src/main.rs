//! Geo answers where things are, over lines of text: an asynchronous server with four workers.
//!
//! `NEAR x y count`, `ADD id x y tag`, `ROUTE from to`, `BOX x y side`; coordinates run from 0 to 1000.

mod atlas;
mod reply;
mod route;
mod upstream;

use atlas::Atlas;
use stage::Stage;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use upstream::Upstream;

/// What all connections share.
struct Server {
    stage: Stage,
    atlas: RwLock<Atlas>,
    arrivals: Mutex<std::fs::File>,
    gate: Mutex<u64>,
    upstream: Upstream,
    turn: AtomicUsize,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .max_blocking_threads(20_000)
        .thread_stack_size(512 << 10)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve());
}

async fn serve() {
    let stage = Stage::open();
    let arrivals = std::fs::File::create(Path::new(stage.value("dir")).join("arrivals")).expect("the file of arrivals");
    let server = Arc::new(Server {
        atlas: RwLock::new(Atlas::scattered(40_000)),
        arrivals: Mutex::new(arrivals),
        gate: Mutex::new(0),
        upstream: Upstream::new(&stage),
        turn: AtomicUsize::new(0),
        stage,
    });
    let rest = server.stage.pick("busy_loop", [900, 400, 120, 1]);
    if rest > 0 {
        tokio::spawn(watch(Arc::clone(&server), rest as u64));
    }
    let listener = TcpListener::bind(server.stage.value("listen")).await.expect("the address to listen on");
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&server).session(stream));
        }
    }
}

/// Looks whether the map has changed, over and over.
async fn watch(server: Arc<Server>, rest: u64) {
    let mut seen = 0;
    loop {
        for _ in 0..600 {
            if let Ok(gate) = server.gate.try_lock() {
                seen = seen.max(*gate);
            }
            tokio::task::yield_now().await;
        }
        if rest > 1 {
            tokio::time::sleep(Duration::from_micros(rest)).await;
        }
    }
}

impl Server {
    async fn session(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        loop {
            line.clear();
            match stream.read_line(&mut line).await {
                Ok(read) if 0 < read => {}
                _ => return,
            }
            let mut answer = self.command(line.trim_end()).await.unwrap_or_else(|problem| format!("-ERR {problem}"));
            answer.push('\n');
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn command(&self, line: &str) -> std::io::Result<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        self.mumble(line);
        match words.first().copied() {
            Some("NEAR") => self.near(number(1), number(2), number(3) as usize).await,
            Some("ADD") => {
                self.add(number(1) as u32, (number(2), number(3)), words.get(4).copied().unwrap_or("")).await
            }
            Some("ROUTE") => Ok(route::shortest(number(1) as usize, number(2) as usize).to_string()),
            Some("BOX") => {
                Ok(self.atlas.read().expect("the atlas").inside(number(1), number(2), number(3)).to_string())
            }
            _ => Err(std::io::Error::other("command")),
        }
    }

    async fn near(&self, x: f64, y: f64, count: usize) -> std::io::Result<String> {
        let extra = self.stage.pick("unknown_cache_off", [400, 1200, 3000, 7000]);
        let cells = self.stage.pick("map_growth", [400, 1000, 2200, 4500]);
        let found = {
            let atlas = self.atlas.read().expect("the atlas");
            let found = atlas.nearest(x, y, count.min(64));
            if cells > 0 {
                std::hint::black_box(atlas.gathered(cells));
            }
            if extra > 0 {
                std::hint::black_box(atlas.on_the_globe(x, y, extra));
            }
            found
        };
        let filters = self.stage.pick("regex", [2, 4, 6, 9]);
        let found = if filters > 0 { reply::filtered(found, filters) } else { found };
        let pairs = self.stage.pick("quadratic", [80, 140, 230, 360]);
        let spread = if pairs > 0 { atlas::spread(&found, pairs) } else { 0.0 };
        let sorted = self.stage.pick("unknown_big_sort", [800, 2000, 5000, 10_000]);
        if sorted > 0 {
            std::hint::black_box(atlas::ranked(x, sorted));
        }
        self.upstream.licence(&self.stage, &found, self.turn.fetch_add(41, Ordering::Relaxed) % 100).await?;
        let untyped = self.stage.pick("reflection_serialisation", [1, 3, 6, 10]);
        let text = if untyped > 0 { reply::by_any_shape(&found, untyped) } else { reply::plain(&found) };
        if 0.0 < spread { Ok(format!("{text} {spread:.1}")) } else { Ok(text) }
    }

    async fn add(&self, id: u32, at: (f64, f64), tag: &str) -> std::io::Result<String> {
        let version = self.atlas.write().expect("the atlas").add(id, at, tag);
        let wait = self.stage.pick("lock_contention", [200, 400, 700, 1000]);
        {
            let mut gate = self.gate.lock().expect("the gate");
            if 0 < wait {
                std::thread::sleep(Duration::from_micros(wait as u64)); // Others are kept out while the map settles.
            }
            *gate = version;
        }
        if (version as usize).wrapping_mul(61) % 100 < self.stage.pick("fsync", [10, 20, 35, 50]) {
            let mut file = self.arrivals.lock().expect("the file of arrivals");
            writeln!(file, "{id} {at:?} {tag}")?;
            file.sync_all()?;
        }
        for _ in 0..self.stage.pick("goroutine_leak", [1, 2, 3, 4]) {
            if version % 8 == 0 {
                tokio::task::spawn_blocking(std::thread::park);
            }
        }
        Ok(version.to_string())
    }

    /// Tells the terminal what is asked for, a line for each of the layers.
    fn mumble(&self, line: &str) {
        for layer in 0..self.stage.pick("sync_logging", [2, 5, 11, 22]) {
            eprintln!("layer {layer:>2} of {line:?} by {:?}", std::thread::current().id());
        }
    }
}
