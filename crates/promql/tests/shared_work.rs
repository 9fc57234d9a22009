//! Who works on a query changes nothing about its answer.

#![expect(clippy::panic, reason = "a test may stop")]

#[path = "acceptance/memory.rs"]
mod memory;

use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use homeostat_model::{Labels, SampleValue};
use homeostat_promql::{
    ParseOptions, Select, SelectedSeries, SeriesSource, SourceError, Workers,
    eval::{Answer, EvalError, Limits, Options, evaluate_range},
    parse,
};
use memory::Memory;

/// More than three workers may be ahead.
const SERIES: i64 = 4000;

/// Two threads beside the caller's.
#[derive(Default)]
struct Threads {
    /// The caller begins once both have done all that they may do.
    behind: bool,
    helped: AtomicUsize,
}

impl Workers for Threads {
    fn width(&self) -> usize {
        3
    }

    fn together(&self, help: &(dyn Fn() + Sync), work: &mut dyn FnMut()) {
        let begun = Barrier::new(if self.behind { 3 } else { 1 });
        let helper = || {
            if self.behind {
                begun.wait();
            }
            help();
            self.helped.fetch_add(1, Ordering::Relaxed);
        };
        thread::scope(|scope| {
            scope.spawn(helper);
            scope.spawn(helper);
            if self.behind {
                begun.wait();
                thread::yield_now();
            }
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

    fn together(&self, _: &(dyn Fn() + Sync), work: &mut dyn FnMut()) {
        work();
    }
}

/// Works on nothing at all.
struct Gone;

impl Workers for Gone {
    fn width(&self) -> usize {
        2
    }

    fn together(&self, _: &(dyn Fn() + Sync), _: &mut dyn FnMut()) {}
}

struct Helped<'h> {
    memory: &'h Memory,
    workers: &'h dyn Workers,
}

impl SeriesSource for Helped<'_> {
    fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        self.memory.select(select)
    }

    fn workers(&self) -> &dyn Workers {
        self.workers
    }
}

/// Counters with resets and gaps, of values whose sums depend on the order of addition.
fn fleet() -> Memory {
    let mut memory = Memory::default();
    for index in 0..SERIES {
        let name = if index % 5 == 0 { "odd" } else { "requests_total" };
        let labels = [("__name__", name.to_owned()), ("i", index.to_string()), ("job", (index % 7).to_string())];
        let labels = Labels::new(labels);
        for step in (0..20).filter(|step| (index + step) % 6 != 0) {
            let value = (index + 1) as f64 * 0.1 + ((step * 7 + index) % 11) as f64 / 3.0;
            memory.add(&labels, step * 15_000, SampleValue::Float(value));
        }
    }
    memory
}

fn ask(source: &dyn SeriesSource, query: &str, limits: Limits) -> Result<Answer, EvalError> {
    let expr = parse(query, &ParseOptions::all()).unwrap_or_else(|errors| panic!("{query}: {errors:?}"));
    evaluate_range(source, &expr, (60_000, 285_000, 15_000), &Options { limits, ..Options::default() }, &|| false)
}

#[test]
fn answers_are_the_same_to_the_last_bit_whoever_helps() {
    let memory = fleet();
    let (beside, ahead) = (Threads::default(), Threads { behind: true, ..Threads::default() });
    let queries = [
        "sum by (job) (rate(requests_total[1m]))",
        "sum(increase(odd[1m]))",
        "rate({__name__=~\".+\"}[45s])",
        "stddev by (job) (max_over_time(odd[1m])) > 1",
        "topk by (job) (2, quantile_over_time(time() % 1, requests_total[1m]))",
        "quantile_over_time(2, requests_total[1m])",
        "double_exponential_smoothing(requests_total[1m], 2, 0.5)",
        "sum(rate(nothing_total[1m]))",
    ];
    for query in queries {
        let shown = |answer: Result<Answer, EvalError>| format!("{answer:?}");
        let alone = shown(ask(&memory, query, Limits::default()));
        for workers in [&beside as &dyn Workers, &ahead, &Nobody] {
            let helped = shown(ask(&Helped { memory: &memory, workers }, query, Limits::default()));
            assert_eq!(alone, helped, "{query}");
        }
    }
    // Each of the queries that find series has two helpers.
    assert_eq!([&beside, &ahead].map(|threads| threads.helped.load(Ordering::Relaxed)), [14, 14]);
}

#[test]
fn what_waits_to_be_handed_on_counts_and_is_given_back() {
    let memory = fleet();
    let limited = |workers: &dyn Workers, samples_max| {
        let limits = Limits { samples_max, ..Limits::default() };
        ask(&Helped { memory: &memory, workers }, "sum(rate(requests_total[1m]))", limits)
    };
    // The sum itself holds 16 cells; a part holds as many for each of its 32 series. At most 24 parts are in the line and
    // one is handed on; less than another one are the samples that the three look at.
    assert!(matches!(limited(&Nobody, 300), Err(EvalError::TooManySamples { limit: 300 })));
    assert!(limited(&Nobody, 1000).is_ok());
    assert!(limited(&Threads { behind: true, ..Threads::default() }, 16 * 32 * 26).is_ok());
}

#[test]
fn work_that_nobody_did_is_an_error_and_no_gap() {
    let memory = fleet();
    let source = Helped { memory: &memory, workers: &Gone };
    assert!(matches!(ask(&source, "sum(rate(requests_total[1m]))", Limits::default()), Err(EvalError::Execution(_))));
}

/// A source whose series number 700 cannot be read.
struct Faulty<'f> {
    memory: &'f Memory,
    workers: &'f dyn Workers,
    panics: bool,
}

impl SeriesSource for Faulty<'_> {
    fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        let mut selected = self.memory.select(select)?;
        let panics = self.panics;
        let fault = move || {
            assert!(!panics, "a fault of the source");
            Err(SourceError::Cancelled)
        };
        if let Some(series) = selected.get_mut(700) {
            series.runs = Box::new(std::iter::once_with(fault));
        }
        Ok(selected)
    }

    fn workers(&self) -> &dyn Workers {
        self.workers
    }
}

#[test]
fn an_error_ends_the_work_of_all() {
    let memory = fleet();
    for behind in [false, true] {
        let workers = Threads { behind, ..Threads::default() };
        let source = Faulty { memory: &memory, workers: &workers, panics: false };
        let answer = ask(&source, "sum(rate(requests_total[1m]))", Limits::default());
        assert!(matches!(answer, Err(EvalError::Source(SourceError::Cancelled) | EvalError::Cancelled)), "{answer:?}");
    }
}

#[test]
fn a_panic_of_one_ends_the_query_and_nobody_waits_for_ever() {
    let memory = fleet();
    for behind in [false, true] {
        let workers = Threads { behind, ..Threads::default() };
        let source = Faulty { memory: &memory, workers: &workers, panics: true };
        let asked = || ask(&source, "sum(rate(requests_total[1m]))", Limits::default());
        // Whoever spawned the helper hears of it.
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(asked)).is_err());
    }
}
