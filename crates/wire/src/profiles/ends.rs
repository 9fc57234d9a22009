//! The two ends of a block file: how it is recognised, and where its footer lies.
//!
//! ```text
//! header   magic `HSTATPRF`, version u16 LE, reserved u16 = 0
//! trailer  offset of the footer u64 LE, its length u32 LE, version u16 LE, reserved u16 = 0,
//!          CRC-32C of these 16 bytes u32 LE, magic
//! ```
//!
//! A file without a whole trailer was never finished.

use thiserror::Error;

use crate::series::frame::PageRef;

/// First and last bytes of a block.
pub const MAGIC: [u8; 8] = *b"HSTATPRF";
/// The version of the format described here.
pub const VERSION: u16 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 12;
/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 28;

/// Why bytes are not the beginning or the end of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndsError {
    /// Other first or last bytes, or too few of them.
    #[error("this is no block of profiles, or it is cut short: `HSTATPRF` is missing")]
    Magic,
    /// A version that this program does not know.
    #[error("format version {found} is not known here (only {VERSION} is); a newer program has written it")]
    Version {
        /// As read.
        found: u16,
    },
    /// The checksum does not fit.
    #[error("the last bytes are damaged: stored checksum {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// As read.
        stored: u32,
        /// As it should be.
        computed: u32,
    },
    /// The footer would lie outside of the file.
    #[error("the footer would lie outside of the file")]
    Place,
}

/// The header's bytes.
pub fn encode_header() -> [u8; HEADER_BYTES] {
    let [m0, m1, m2, m3, m4, m5, m6, m7] = MAGIC;
    let [v0, v1] = VERSION.to_le_bytes();
    [m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, 0, 0]
}

/// Checks a header.
pub fn check_header(bytes: &[u8]) -> Result<(), EndsError> {
    let Some((magic, &[v0, v1, ..])) = bytes.split_first_chunk::<8>() else { return Err(EndsError::Magic) };
    match (*magic == MAGIC, u16::from_le_bytes([v0, v1])) {
        (false, _) => Err(EndsError::Magic),
        (true, VERSION) => Ok(()),
        (true, found) => Err(EndsError::Version { found }),
    }
}

/// The trailer's bytes.
pub fn encode_trailer(footer: PageRef) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TRAILER_BYTES);
    bytes.extend_from_slice(&footer.offset.to_le_bytes());
    bytes.extend_from_slice(&footer.len.to_le_bytes());
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&MAGIC);
    bytes
}

/// Where the footer of a file of `file_bytes` lies; `bytes` end where the file ends.
pub fn decode_trailer(bytes: &[u8], file_bytes: u64) -> Result<PageRef, EndsError> {
    let (_, trailer) = bytes.split_last_chunk::<TRAILER_BYTES>().ok_or(EndsError::Magic)?;
    let (fields, rest) = trailer.split_first_chunk::<16>().ok_or(EndsError::Magic)?;
    let (&stored, magic) = rest.split_first_chunk::<4>().ok_or(EndsError::Magic)?;
    if *magic != MAGIC {
        return Err(EndsError::Magic);
    }
    let (stored, computed) = (u32::from_le_bytes(stored), crc32c::crc32c(fields));
    if stored != computed {
        return Err(EndsError::Checksum { stored, computed });
    }
    let &[o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, v0, v1, _, _] = fields;
    match u16::from_le_bytes([v0, v1]) {
        VERSION => {}
        found => return Err(EndsError::Version { found }),
    }
    let (offset, len) = ([o0, o1, o2, o3, o4, o5, o6, o7], [l0, l1, l2, l3]);
    let footer = PageRef { offset: u64::from_le_bytes(offset), len: u32::from_le_bytes(len) };
    let fits = HEADER_BYTES as u64 <= footer.offset && footer.end() == file_bytes.saturating_sub(TRAILER_BYTES as u64);
    if fits { Ok(footer) } else { Err(EndsError::Place) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_recognised() {
        assert_eq!(check_header(&encode_header()), Ok(()));
        assert_eq!(check_header(b"HSTATPRF\x02\0\0\0"), Err(EndsError::Version { found: 2 }));
        assert_eq!(check_header(b"<html>"), Err(EndsError::Magic));
        let footer = PageRef { offset: 100, len: 50 };
        let trailer = encode_trailer(footer);
        assert_eq!(trailer.len(), TRAILER_BYTES);
        assert_eq!(decode_trailer(&trailer, 178), Ok(footer));
        assert_eq!(decode_trailer(&trailer, 179), Err(EndsError::Place));
        for bit in 0..trailer.len() * 8 {
            let mut flipped = trailer.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_trailer(&flipped, 178).is_err(), "{bit}");
        }
        let mut newer = trailer.clone();
        newer[12] = 2;
        let sum = crc32c::crc32c(&newer[..16]).to_le_bytes();
        newer[16..20].copy_from_slice(&sum);
        assert_eq!(decode_trailer(&newer, 178), Err(EndsError::Version { found: 2 }));
        assert_eq!(decode_trailer(&trailer[1..], 178), Err(EndsError::Magic));
    }
}
