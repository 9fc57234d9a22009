//! Who works on a query changes nothing about its answer.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may stop")]

#[path = "acceptance/memory.rs"]
mod memory;

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
};

use homeostat_model::{
    Histogram, Labels, SampleValue,
    histogram::{BucketSpan, Buckets},
};
use homeostat_promql::{
    ParseOptions, Select, SelectedSeries, SeriesSource, SourceError, Workers,
    eval::{Answer, EvalError, Limits, Options, evaluate_range},
    parse,
};
use memory::Memory;

/// More than three workers may be ahead.
const SERIES: i64 = 4000;

/// Two threads beside the caller's, which begins when enough series were read by them.
#[derive(Default)]
struct Threads {
    /// How many the caller waits for.
    ahead: usize,
    read: Arc<Read>,
    called: AtomicUsize,
}

/// Counts series that were read, by the thread that read them.
#[derive(Default)]
struct Read {
    by: Mutex<HashMap<ThreadId, usize>>,
    more: Condvar,
}

impl Read {
    fn count(&self) {
        *self.by.lock().unwrap().entry(thread::current().id()).or_default() += 1;
        self.more.notify_all();
    }

    fn by_others(by: &HashMap<ThreadId, usize>) -> usize {
        by.iter().filter(|(id, _)| **id != thread::current().id()).map(|(_, read)| read).sum()
    }
}

impl Threads {
    fn ahead(ahead: usize) -> Self {
        Self { ahead, ..Self::default() }
    }
}

impl Workers for Threads {
    fn width(&self) -> usize {
        3
    }

    fn together(&self, wanted: usize, help: &(dyn Fn() + Sync), work: &mut dyn FnMut()) {
        assert!(wanted > 2, "there is work for more than three");
        self.called.fetch_add(1, Ordering::Relaxed);
        thread::scope(|scope| {
            scope.spawn(help);
            scope.spawn(help);
            let waited = self.read.more.wait_while(self.read.by.lock().unwrap(), |by| Read::by_others(by) < self.ahead);
            drop(waited);
            // Whoever may not go on does not, however long it may.
            (0..1000).for_each(|_| thread::yield_now());
            let read = Read::by_others(&self.read.by.lock().unwrap());
            assert!(read <= LINE, "{read} are more than may wait");
            work();
        });
    }
}

/// Says that it is many, and is not.
struct Nobody;

impl Workers for Nobody {
    fn width(&self) -> usize {
        2
    }

    fn together(&self, _: usize, _: &(dyn Fn() + Sync), work: &mut dyn FnMut()) {
        work();
    }
}

/// Works on nothing at all.
struct Gone;

impl Workers for Gone {
    fn width(&self) -> usize {
        2
    }

    fn together(&self, _: usize, _: &(dyn Fn() + Sync), _: &mut dyn FnMut()) {}
}

struct Helped<'h> {
    memory: &'h Memory,
    workers: &'h dyn Workers,
    read: Option<&'h Read>,
    /// What becomes of series number 700.
    fault: Option<Fault>,
}

#[derive(Clone, Copy)]
enum Fault {
    Error,
    Panic,
}

impl<'h> Helped<'h> {
    fn by(memory: &'h Memory, workers: &'h dyn Workers) -> Self {
        Self { memory, workers, read: None, fault: None }
    }

    fn by_threads(memory: &'h Memory, threads: &'h Threads) -> Self {
        Self { read: Some(&threads.read), ..Self::by(memory, threads) }
    }
}

impl SeriesSource for Helped<'_> {
    fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        let mut selected = self.memory.select(select)?;
        for series in &mut selected {
            let runs = std::mem::replace(&mut series.runs, Box::new(std::iter::empty()));
            let read = self.read;
            let counted = std::iter::once_with(move || {
                if let Some(read) = read {
                    read.count();
                }
                runs
            });
            series.runs = Box::new(counted.flatten());
        }
        if let (Some(fault), Some(series)) = (self.fault, selected.get_mut(700)) {
            series.runs = Box::new(std::iter::once_with(move || match fault {
                Fault::Error => Err(SourceError::Storage("a damaged page".into())),
                Fault::Panic => panic!("a fault of the source"),
            }));
        }
        Ok(selected)
    }

    fn workers(&self) -> &dyn Workers {
        self.workers
    }
}

/// Counters with resets and gaps, of values whose sums depend on the order of addition.
fn fleet() -> Memory {
    let mut memory = Memory::default();
    for index in 0..SERIES {
        let name = match index {
            _ if index % 50 == 3 => "native",
            _ if index % 5 == 0 => "odd",
            _ => "requests_total",
        };
        let labels = [("__name__", name.to_owned()), ("i", index.to_string()), ("job", (index % 7).to_string())];
        let labels = Labels::new(labels);
        // Some are native histograms, so large that answers about a handful do not wait in the line.
        if name == "native" {
            for step in 0..20 {
                memory.add(&labels, step * 15_000, SampleValue::Histogram(Arc::new(histogram(index + step * step))));
            }
            continue;
        }
        for step in (0..20).filter(|step| (index + step) % 6 != 0) {
            let value = (index + 1) as f64 * 0.1 + ((step * 7 + index) % 11) as f64 / 3.0;
            memory.add(&labels, step * 15_000, SampleValue::Float(value));
        }
    }
    memory
}

/// A counter of two thousand buckets.
fn histogram(count: i64) -> Histogram {
    let counts = vec![count as f64; 2000];
    let spans = vec![BucketSpan { offset: 0, len: 2000 }];
    Histogram {
        schema: 8,
        count: 2000.0 * count as f64,
        sum: count as f64 / 7.0,
        positive: Buckets { spans, counts },
        ..Histogram::default()
    }
}

fn ask_with(source: &dyn SeriesSource, query: &str, options: &Options) -> Result<Answer, EvalError> {
    let expr = parse(query, &ParseOptions::all()).unwrap_or_else(|errors| panic!("{query}: {errors:?}"));
    evaluate_range(source, &expr, (60_000, 285_000, 15_000), options, &|| false)
}

fn ask(source: &dyn SeriesSource, query: &str, limits: Limits) -> Result<Answer, EvalError> {
    ask_with(source, query, &Options { limits, ..Options::default() })
}

#[test]
fn answers_are_the_same_to_the_last_bit_whoever_helps() {
    let memory = fleet();
    let queries = [
        "sum by (job) (rate(requests_total[1m]))",
        "histogram_quantile(0.5, rate({__name__=~\"native|odd\"}[1m]))",
        "sum(increase(odd[1m]))",
        "rate({__name__=~\".+\"}[45s])",
        "stddev by (job) (max_over_time(odd[1m])) > 1",
        "topk by (job) (2, quantile_over_time(time() % 100 / 100, requests_total[1m]))",
        "quantile_over_time(2, requests_total[1m])",
        "double_exponential_smoothing(requests_total[1m], 2, 0.5)",
        "sum(rate(nothing_total[1m]))",
    ];
    let plain = Options::default();
    let other = Options { delayed_name_removal: false, type_and_unit_labels: true, ..plain };
    for (query, options) in queries.iter().flat_map(|query| [(query, &plain), (query, &other)]) {
        let shown = |answer: Result<Answer, EvalError>| format!("{answer:?}");
        let alone = shown(ask_with(&memory, query, options));
        for workers in [&Threads::default() as &dyn Workers, &Nobody] {
            assert_eq!(alone, shown(ask_with(&Helped::by(&memory, workers), query, options)), "{query}");
        }
    }
}

/// As many as may be in the line: eight parts of 32 for each of three.
const LINE: usize = 3 * 8 * 32;

#[test]
fn helpers_work_ahead_until_the_line_is_full_and_take_nothing_from_the_budget() {
    let memory = fleet();
    // The sum holds 16 cells, a result as many, and a window looks at one series of at most 20 samples; so many are a large
    // window here, and wait for each other.
    let tight = Limits { samples_max: 60, ..Limits::default() };
    let threads = Threads::ahead(LINE);
    let query = "sum(rate(odd[1m]))";
    let answer = ask(&Helped::by_threads(&memory, &threads), query, tight);
    assert!(answer.is_ok(), "{answer:?}");
    let all = threads.read.by.lock().unwrap().values().sum::<usize>();
    assert_eq!((threads.called.load(Ordering::Relaxed), all), (1, 800));
    for workers in [&Threads::ahead(0) as &dyn Workers, &Nobody] {
        let too_tight = Limits { samples_max: 15, ..Limits::default() };
        let answer = ask(&Helped::by(&memory, workers), query, too_tight);
        assert!(matches!(answer, Err(EvalError::TooManySamples { limit: 15 })), "{answer:?}");
    }
}

#[test]
fn work_that_nobody_did_is_an_error_and_no_gap() {
    let memory = fleet();
    let source = Helped::by(&memory, &Gone);
    assert!(matches!(ask(&source, "sum(rate(requests_total[1m]))", Limits::default()), Err(EvalError::Execution(_))));
}

#[test]
fn an_error_ends_the_work_of_all_and_is_the_one_that_is_told() {
    let memory = fleet();
    for ahead in [0, 700] {
        let threads = Threads::ahead(ahead);
        let source = Helped { fault: Some(Fault::Error), ..Helped::by_threads(&memory, &threads) };
        let answer = ask(&source, "sum(rate(requests_total[1m]))", Limits::default());
        assert!(matches!(answer, Err(EvalError::Source(SourceError::Storage(_)))), "{answer:?}");
    }
}

#[test]
fn a_panic_of_one_ends_the_query_and_nobody_waits_for_ever() {
    let memory = fleet();
    for ahead in [0, 700] {
        let threads = Threads::ahead(ahead);
        let source = Helped { fault: Some(Fault::Panic), ..Helped::by_threads(&memory, &threads) };
        let asked = || ask(&source, "sum(rate(requests_total[1m]))", Limits::default());
        // Whoever spawned the helper hears of it.
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(asked)).is_err());
    }
}
