//! What the profile store keeps, on arbitrary bytes: the first byte chooses the decoder. Nothing panics, memory is bounded, and
//! what is read comes back after writing and reading.
#![no_main]

use homeostat_wire::profiles::{
    Entries, Footer, Rows, check_header, decode_record, decode_symbols, decode_trailer, encode_record_of,
    encode_symbols, open_part, put_part, window_of_record,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    match which % 6 {
        0 => {
            if let Ok(symbols) = decode_symbols(bytes) {
                let written = encode_symbols(&symbols);
                let again = decode_symbols(&written).expect("what was written is readable");
                assert_eq!(encode_symbols(&again), written);
            }
        }
        1 => {
            let mut rows = Rows::default();
            for entry in Entries::new(bytes).flatten() {
                let _ = entry.rows(2, &mut rows);
            }
        }
        2 => {
            if let Ok(footer) = Footer::decode(bytes) {
                assert_eq!(Footer::decode(&footer.encode()), Ok(footer));
            }
        }
        3 => {
            drop(open_part(bytes));
            let _ = check_header(bytes);
            let _ = decode_trailer(bytes, bytes.len() as u64);
        }
        4 => drop(decode_record(bytes)),
        _ => {
            let mut part = Vec::new();
            put_part(bytes, &mut part).expect("a part of this length is written");
            assert_eq!(open_part(&part).expect("a part is readable"), bytes);
            // The content of a record, as if its checksum fitted.
            if let Ok((window, labels, profile)) = decode_record(&part) {
                assert_eq!(window_of_record(&part), Ok(window));
                let again = encode_record_of(window, &labels, &profile).expect("what was read is written");
                assert_eq!(window_of_record(&again), Ok(window));
                let again = decode_record(&again).expect("what was written is readable");
                assert_eq!((again.0, again.1), (window, labels));
                assert_eq!(again.2.rows().len(), profile.rows().len());
            }
        }
    }
});
