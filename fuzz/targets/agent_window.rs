//! Records of an agent's queue, lines about windows and the message that carries them, on arbitrary bytes: nothing panics, and
//! what is read comes back.
#![no_main]

use homeostat_relay_profiles::Entry;
use homeostat_wire::{
    profiles::WindowId,
    pyroscope::{decode_push, encode_push},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::decode(bytes) {
        assert_eq!(entry.encode(), bytes);
        for sample in decode_push(&entry.body).unwrap_or_default() {
            let labels = sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let again = decode_push(&encode_push(labels, &sample.profile)).expect("what was written is readable");
            assert_eq!(again, [sample]);
        }
    }
    if let Ok(window) = String::from_utf8_lossy(bytes).parse::<WindowId>() {
        assert_eq!(window.to_string().parse(), Ok(window));
    }
});
