//! OTLP metrics in JSON on arbitrary bytes: nothing panics, and what is read as JSON is a sound message in protobuf.
#![no_main]

use homeostat_wire::{
    intake::{Collected, IntakeLimits},
    otlp::{OtlpError, OtlpOptions, decode_metrics, decode_metrics_json, protobuf_of_json},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = IntakeLimits { decoded_bytes_max: 1 << 16, ..IntakeLimits::default() };
    let options = OtlpOptions { limits, ..OtlpOptions::default() };
    let Ok(protobuf) = protobuf_of_json(bytes) else { return };
    let (mut direct, mut twice) = (Collected::default(), Collected::default());
    let outcome = decode_metrics(&protobuf, &options, None, &mut direct);
    assert!(!matches!(outcome, Err(OtlpError::Malformed { .. })), "{outcome:?}");
    if let (Ok(outcome), Ok(other)) = (outcome, decode_metrics_json(bytes, &options, None, &mut twice)) {
        assert_eq!(outcome, other);
        assert_eq!(format!("{:?}", direct.series), format!("{:?}", twice.series));
    }
});
