//! pprof on arbitrary bytes: nothing panics, memory is bounded, and what is read comes back after writing and reading.
#![no_main]

use homeostat_wire::pprof::{PprofLimits, decode, encode, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = PprofLimits {
        bytes_max: 1 << 20,
        stack_frames_max: 1 << 10,
        stacks_max: 1 << 16,
        frames_walked_max: 1 << 18,
        ..PprofLimits::default()
    };
    drop(read(bytes, &limits));
    if let Ok(profile) = decode(bytes, &limits) {
        let written = encode(&profile);
        let again = decode(&written, &PprofLimits::default()).expect("what was written is readable");
        assert_eq!(encode(&again), written);
    }
});
