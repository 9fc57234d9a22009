//! What decoding costs in allocations, by count: repeatable, unlike time.
#![expect(unsafe_code, reason = "a counting global allocator is the only way to see every allocation")]
#![expect(clippy::panic, reason = "a test that cannot go on stops")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering},
};

use homeostat_wire::{
    intake::{FloatSample, IntakeLimits, Refusal, SeriesKey, SeriesSink, SeriesView},
    remote_write::{EncoderV1, EncoderV2, decode_v1, decode_v2},
};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, with a counter.
struct Counting;

// SAFETY: every call goes unchanged to the system's allocator; the counter does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of a whole request, whatever its size: the buffers of a decoder, each grown a few times.
const PER_REQUEST_MAX: u64 = 20;

/// Looks at everything and keeps nothing.
#[derive(Default)]
struct Summing {
    label_bytes: usize,
    samples: usize,
    exemplars: usize,
}

impl SeriesSink for Summing {
    type Known = Infallible;
    fn series(&mut self, key: SeriesKey<'_, Infallible>, series: SeriesView<'_>) {
        let SeriesKey::Labels { labels, .. } = key;
        self.label_bytes += labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.samples += series.samples.len();
        self.exemplars += series.exemplars().count();
    }
    fn refused(&mut self, refusal: Refusal<'_>) {
        panic!("{refusal}");
    }
}

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// One test, because the counter sees the whole process.
#[test]
fn decoding_allocates_per_request_not_per_series_or_sample() {
    let limits = IntakeLimits::default();
    let samples: Vec<_> = (0..10).map(|t_ms| FloatSample { t_ms, value: 1.5, start_ms: None }).collect();
    let (mut v1, mut v2) = (EncoderV1::default(), EncoderV2::default());
    for number in 0..5_000 {
        let instance = format!("host-{number}:9100");
        let labels = [("__name__", "requests_total"), ("instance", &instance), ("job", "shop"), ("z", "ü")];
        let exemplar_labels = [("trace_id", instance.as_str())];
        let exemplar =
            homeostat_wire::intake::ExemplarView { labels: &exemplar_labels, value: 1.0, t_ms: Some(number.into()) };
        // Not in order: sorting costs no memory either.
        let labels = labels.iter().rev().copied();
        v1.series(labels.clone(), &samples, &[], &[exemplar]);
        v2.series(labels, &samples, &[], &[exemplar], None);
    }
    let (v1, v2) = (v1.as_bytes(), v2.finish());
    let mut sums = [Summing::default(), Summing::default()];
    let [first, second] = &mut sums;
    let for_v1 = allocations_of(|| decode_v1(v1, &limits, first).unwrap());
    // Version 2 has a table of 5,000 symbols to grow besides.
    let for_v2 = allocations_of(|| decode_v2(&v2, &limits, second).unwrap());
    for sum in sums {
        assert_eq!((sum.samples, sum.exemplars), (50_000, 5_000));
        assert_eq!(sum.label_bytes, 5_000 * 40 + (0..5_000).map(|n: usize| n.to_string().len() + 10).sum::<usize>());
    }
    println!("{for_v1} allocations for version 1, {for_v2} for version 2, of 5,000 series and 50,000 samples");
    assert!(for_v1 <= PER_REQUEST_MAX && for_v2 <= PER_REQUEST_MAX + 14);
}
