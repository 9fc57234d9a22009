//! The log's frames and segments on arbitrary bytes: nothing panics, what decodes encodes to the same bytes, and a walk
//! over a segment accounts for every byte up to the one that it distrusts.
#![no_main]

use homeostat_wire::wal_record::{
    Decoded, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, decode, encode, search_beyond,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((header, _)) = SegmentHeader::decode(bytes) {
        assert_eq!(header.encode(), bytes[..SEGMENT_HEADER_BYTES]);
    }
    let mut rest = bytes;
    while let Ok(Decoded::Frame { mark, payload, rest: behind }) = decode(rest) {
        let mut again = Vec::new();
        encode(mark, payload, &mut again).expect("a decoded payload has a legal length");
        assert_eq!(again, rest[..FRAME_HEADER_BYTES + payload.len()]);
        rest = behind;
    }
    search_beyond(rest);
});
