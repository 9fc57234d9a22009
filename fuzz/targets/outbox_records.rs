//! The outbox's records on arbitrary bytes, divided at newlines: never a panic, and what is read can be said in one
//! record, which reads the same.
#![no_main]

use homeostat_act_notify::outbox_log::replay;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((state, snapshot)) = replay(bytes.split(|byte| *byte == b'\n')) else { return };
    assert_eq!(replay([snapshot.as_slice()]), Ok((state, snapshot.clone())));
});
