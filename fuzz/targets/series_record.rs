//! Records of the metrics store's log on arbitrary bytes: never a panic, and what is read is written and read the same.
#![no_main]

use homeostat_wire::series::record::{RecordBuilder, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = decode(bytes) else { return };
    let mut builder = RecordBuilder::default();
    for (series, labels) in &record.definitions {
        builder.define(*series, labels);
    }
    for (series, t_ms, value) in record.floats.iter() {
        builder.float(series, t_ms, *value);
    }
    for (series, t_ms, value) in record.histograms.iter() {
        builder.histogram(series, t_ms, value);
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
