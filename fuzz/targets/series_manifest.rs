//! The metrics store's manifest, and the footer and ends of its blocks, on arbitrary bytes: never a panic, and what is read
//! is written and read the same. Checksums are made to fit, so that what lies behind them is reached.
#![no_main]

use homeostat_wire::series::{
    footer::{Footer, HEADER_BYTES, check_header, decode_trailer, encode_trailer},
    frame::{open_frame, put_frame},
    manifest::{Gone, Manifest},
    postings,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check_header(bytes).ok();
    open_frame(bytes).ok();
    Manifest::decode(bytes).ok();
    if let Ok((footer_at, version)) = decode_trailer(bytes) {
        assert_eq!(decode_trailer(&encode_trailer(footer_at, version)), Ok((footer_at, version)));
    }
    let empty = Manifest::default().encode();
    let mut file = empty[..HEADER_BYTES].to_vec();
    put_frame(bytes, &mut file);
    if let Ok(manifest) = Manifest::decode(&file) {
        for Gone { series, .. } in &manifest.gone {
            postings::count(series, u32::MAX).ok();
        }
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
    }
    if let Ok(footer) = Footer::decode(bytes) {
        let mut page = Vec::new();
        footer.encode(&mut page);
        assert_eq!(Footer::decode(&page), Ok(footer));
    }
});
