//! The journal's entries on arbitrary bytes: nothing panics, memory stays in proportion to the input, and what decodes
//! encodes to the same bytes.
#![no_main]

use homeostat_wire::journal::{decode, peek_now};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = decode(bytes) {
        assert_eq!(peek_now(bytes), Ok(entry.now()));
        assert_eq!(entry.encode().expect("decoded cells are in order"), bytes);
    }
});
