//! Ledger keeps accounts and moves money between them, over HTTP with JSON: a thread for each connection.

mod book;
mod http;
mod remote;
mod statement;

use book::{Book, Transfer};
use http::{Request, Response};
use remote::Remote;
use stage::Stage;
use std::fs::File;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Everything that a connection's thread needs.
struct Service {
    stage: Stage,
    book: Mutex<Book>,
    journal: Mutex<File>,
    trace: File,
    remote: Remote,
}

fn main() {
    let stage = Stage::open();
    let dir = Path::new(stage.value("dir")).to_owned();
    let service = Arc::new(Service {
        book: Mutex::new(Book::with_accounts(3000)),
        journal: Mutex::new(File::create(dir.join("journal")).expect("the journal's file")),
        trace: File::create(dir.join("trace")).expect("the trace's file"),
        remote: Remote::new(&stage),
        stage,
    });
    let duty = service.stage.pick("busy_loop", [20, 40, 70, 100]);
    if duty > 0 {
        thread::Builder::new().name("settle".into()).spawn(move || settle(duty)).expect("a thread");
    }
    let listener = TcpListener::bind(service.stage.value("listen")).expect("the address to listen on");
    for stream in listener.incoming().flatten() {
        let service = Arc::clone(&service);
        thread::Builder::new().stack_size(256 << 10).spawn(move || service.converse(stream)).expect("a thread");
    }
}

/// Waits for settlements to come in.
fn settle(duty: usize) {
    let (_keep, settlements) = mpsc::channel::<u64>();
    let stopped = AtomicBool::new(false);
    while !stopped.load(Ordering::Relaxed) {
        let until = Instant::now() + Duration::from_micros(100 * duty as u64);
        while Instant::now() < until {
            match settlements.try_recv() {
                Ok(_) => stopped.store(true, Ordering::Relaxed),
                Err(_) => std::hint::spin_loop(),
            }
        }
        if duty < 100 {
            thread::sleep(Duration::from_micros(100 * (100 - duty) as u64));
        }
    }
}

impl Service {
    fn converse(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(writer) = stream.try_clone() else { return };
        let mut connection = http::Connection::new(stream, writer);
        while let Ok(Some(request)) = connection.read() {
            let response = self
                .answer(&request)
                .unwrap_or_else(|problem| Response { status: 502, body: problem.to_string().into_bytes() });
            if connection.write(&response).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> std::io::Result<Response> {
        self.journey(request);
        let id = |prefix: &str| request.path.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok());
        if request.path == "/transfer" {
            return self.transfer(request);
        }
        if let Some(id) = id("/statement/") {
            return self.statement(id);
        }
        if let Some(count) = id("/richest/") {
            return Ok(Response::json(&self.book.lock().expect("the book").richest(count.min(100))));
        }
        Ok(Response { status: 404, body: Vec::new() })
    }

    fn transfer(&self, request: &Request) -> std::io::Result<Response> {
        let transfer: Transfer = match serde_json::from_slice(&request.body) {
            Ok(transfer) => transfer,
            Err(problem) => return Ok(Response { status: 400, body: problem.to_string().into_bytes() }),
        };
        if !book::reference_valid(&transfer.reference, self.stage.pick("regex", [1, 2, 4, 6])) {
            return Ok(Response { status: 400, body: b"reference".to_vec() });
        }
        self.remote.clear(&self.stage, &transfer)?;
        let moved = {
            let mut book = self.book.lock().expect("the book");
            let wait = self.stage.pick("lock_contention", [150, 250, 400, 600]);
            if wait > 0 {
                // The auditor is asked while the book is open.
                self.remote.get(&format!("/get?key=audit&wait={wait}"))?;
            }
            book.remember(&transfer, self.stage.pick("map_growth", [200, 400, 700, 1100]));
            book.post(&transfer)
        };
        let odds = self.stage.pick("fsync", [5, 10, 20, 35]) as u64;
        if moved % 100 < odds {
            let mut journal = self.journal.lock().expect("the journal");
            writeln!(journal, "{moved} {} {} {}", transfer.from, transfer.to, transfer.cents)?;
            journal.sync_data()?;
        }
        for _ in 0..self.stage.pick("goroutine_leak", [1, 2, 4, 6]) {
            if moved.is_multiple_of(20) {
                await_confirmation();
            }
        }
        Ok(Response::json(&serde_json::json!({ "posted": moved })))
    }

    fn statement(&self, id: usize) -> std::io::Result<Response> {
        let rows = self.book.lock().expect("the book").rows(id);
        let untyped = self.stage.pick("reflection_serialisation", [1, 2, 3, 4]);
        let pairs = self.stage.pick("quadratic", [200, 320, 480, 700]);
        let digest = self.stage.pick("unknown_hashing", [2, 6, 14, 30]);
        let statement = statement::Statement::new(id, rows);
        let mut response = if untyped > 0 {
            Response { status: 200, body: statement.by_way_of_values(untyped) }
        } else {
            Response::json(&statement)
        };
        if pairs > 0 {
            response.body.extend(format!(" {}", statement.repeated(pairs)).into_bytes());
        }
        if digest > 0 {
            response.body.extend(format!(" {}", statement::seal(&response.body, digest)).into_bytes());
        }
        Ok(response)
    }

    /// Writes the way of a request to the trace, step by step.
    fn journey(&self, request: &Request) {
        for step in 0..self.stage.pick("sync_logging", [3, 7, 14, 28]) {
            let line = format!(
                "{:?} step={step} path={} body={:?}\n",
                Instant::now(),
                request.path,
                String::from_utf8_lossy(&request.body)
            );
            let _ = (&self.trace).write_all(line.as_bytes());
        }
    }
}

/// Waits on a thread for a confirmation that nobody sends.
fn await_confirmation() {
    let spawned = thread::Builder::new().stack_size(64 << 10).name("confirm".into()).spawn(|| {
        let (sender, receiver) = mpsc::channel::<()>();
        let _ = receiver.recv();
        drop(sender);
    });
    drop(spawned);
}
