//! OpenTelemetry's profiles on arbitrary bytes: nothing panics, memory is bounded, and what is read can be written as pprof
//! and read again.
#![no_main]

use homeostat_wire::{
    otlp::profiles::{ProfilesVersion, decode_profiles, profiles_protobuf_of_json},
    pprof::{PprofLimits, decode, encode},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = PprofLimits {
        bytes_max: 1 << 20,
        stack_frames_max: 1 << 10,
        stacks_max: 1 << 16,
        frames_walked_max: 1 << 18,
        entries_max: 1 << 16,
        ..PprofLimits::default()
    };
    let version = ProfilesVersion::V1Development;
    if let Ok(read) = decode_profiles(version, bytes, &limits) {
        for (labels, profile) in read.profiles {
            drop(labels.finish());
            let written = encode(&profile);
            let again = decode(&written, &PprofLimits::default()).expect("what was written is readable");
            assert_eq!(encode(&again), written);
        }
    }
    if let Ok(message) = profiles_protobuf_of_json(version, bytes) {
        drop(decode_profiles(version, &message, &limits));
    }
});
