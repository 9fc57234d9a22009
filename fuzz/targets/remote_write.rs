//! Remote write on arbitrary bytes: nothing panics, no series has labels that a sink may not see, and what is read
//! comes back after writing and reading it again, in both versions.
#![no_main]

use homeostat_wire::{
    intake::{Collected, ExemplarView, IntakeLimits, Label},
    remote_write::{EncoderV1, EncoderV2, decode_v1, decode_v2, unpack},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = IntakeLimits { decoded_bytes_max: 1 << 16, ..IntakeLimits::default() };
    let mut unpacked = Vec::new();
    if unpack(bytes, &limits, &mut unpacked).is_ok() {
        check(&unpacked, &limits);
    }
    check(bytes, &limits);
});

fn check(body: &[u8], limits: &IntakeLimits) {
    let (mut first, mut second) = (Collected::default(), Collected::default());
    if decode_v1(body, limits, &mut first).is_ok() {
        let mut again = Collected::default();
        decode_v1(&write(&first).0, limits, &mut again).expect("what was written is readable");
        compare(first, again);
    }
    if decode_v2(body, limits, &mut second).is_ok() {
        let mut again = Collected::default();
        decode_v2(&write(&second).1, limits, &mut again).expect("what was written is readable");
        compare(second, again);
    }
}

fn write(read: &Collected) -> (Vec<u8>, Vec<u8>) {
    let (mut v1, mut v2) = (EncoderV1::default(), EncoderV2::default());
    for series in &read.series {
        assert!(!series.labels.is_empty());
        assert!(series.labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
        let labels: Vec<Vec<Label<'_>>> = series.exemplars.iter().map(|e| e.labels.iter().collect()).collect();
        let exemplars: Vec<_> = std::iter::zip(&series.exemplars, &labels)
            .map(|(e, labels)| ExemplarView { labels, value: e.value, t_ms: e.t_ms })
            .collect();
        v1.series(&series.labels, &series.samples, &series.histograms, &exemplars);
        v2.series(&series.labels, &series.samples, &series.histograms, &exemplars, None);
    }
    (v1.as_bytes().to_vec(), v2.finish())
}

/// As text: a `NaN` differs from itself.
fn compare(read: Collected, again: Collected) {
    assert_eq!(format!("{:?}", read.series), format!("{:?}", again.series));
    assert!(again.refused.is_empty(), "{:?}", again.refused);
}
