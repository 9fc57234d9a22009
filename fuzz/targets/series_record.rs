//! Records of the metrics store's log on arbitrary bytes: never a panic, and what is read is written and read the same.
#![no_main]

use homeostat_wire::series::record::{RecordBuilder, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut record) = decode(bytes) else { return };
    // Starts of which none is known are not written.
    if record.floats.starts.iter().chain(&record.histograms.starts).all(|start_ms| *start_ms == 0) {
        record.floats.starts.clear();
        record.histograms.starts.clear();
    }
    let mut builder = RecordBuilder::default();
    for (series, labels) in &record.definitions {
        builder.define(*series, labels);
    }
    for ((series, t_ms, value), start_ms) in record.floats.with_starts() {
        builder.float(series, t_ms, *value);
        builder.float_start(start_ms);
    }
    for ((series, t_ms, value), start_ms) in record.histograms.with_starts() {
        builder.histogram(series, t_ms, value);
        builder.histogram_start(start_ms);
    }
    for exemplar in &record.exemplars {
        builder.exemplar(*exemplar);
    }
    for said in &record.metadata {
        builder.metadata(*said);
    }
    let again = builder.finish().to_vec();
    let read = decode(&again).expect("what was written is read");
    // Text compares NaNs as well.
    assert_eq!(format!("{read:?}"), format!("{record:?}"));
});
