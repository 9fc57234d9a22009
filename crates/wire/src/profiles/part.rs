//! A part of a block: compressed, then framed with its length and checksum.
//!
//! ```text
//! frame payload   codec u8 (0: as it is, 1: LZ4 block) │ length of the content, varint │ content
//! ```
//!
//! Source of the compression: "LZ4 Block Format Description".

use thiserror::Error;

use crate::{
    series::frame::{FrameError, PageRef, open_frame, put_frame},
    varint,
};

/// Largest content of a part: the symbols of a service with millions of stacks.
pub const PART_BYTES_MAX: usize = 256 << 20;
/// LZ4 cannot say more in a byte than so many bytes.
const LZ4_RATIO_MAX: usize = 255;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// Bytes that are not the part that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PartError {
    /// The frame around it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is compressed in a way that is not known here.
    #[error("compression {found} is not known here; a newer program has written it")]
    Codec {
        /// As read.
        found: u8,
    },
    /// It is more than a part can hold.
    #[error("{len} bytes are more than the {PART_BYTES_MAX} of a part")]
    TooLarge {
        /// How many.
        len: usize,
    },
    /// It does not unpack to what it says it does.
    #[error("it does not unpack to the {len} bytes that it announces")]
    Content {
        /// What it says.
        len: u64,
    },
}

/// Appends a part; gives its place in `out`. What could not be read again is not written.
pub fn put_part(content: &[u8], out: &mut Vec<u8>) -> Result<PageRef, PartError> {
    if PART_BYTES_MAX < content.len() {
        return Err(PartError::TooLarge { len: content.len() });
    }
    let packed = lz4_flex::block::compress(content);
    let (codec, bytes) = if packed.len() < content.len() { (LZ4, packed.as_slice()) } else { (PLAIN, content) };
    let mut payload = Vec::with_capacity(bytes.len() + 8);
    payload.push(codec);
    varint::put(content.len() as u64, &mut payload);
    payload.extend_from_slice(bytes);
    let offset = out.len() as u64;
    Ok(PageRef { offset, len: put_frame(&payload, out) })
}

/// The content of a part that fills `bytes`.
pub fn open_part(bytes: &[u8]) -> Result<Vec<u8>, PartError> {
    let payload = open_frame(bytes)?;
    let (codec, mut rest) = payload.split_first().ok_or(PartError::Content { len: 0 })?;
    let len = varint::take(&mut rest).ok_or(PartError::Content { len: 0 })?;
    let wrong = PartError::Content { len };
    let most = PART_BYTES_MAX.min(rest.len().saturating_mul(LZ4_RATIO_MAX).saturating_add(LZ4_RATIO_MAX));
    let len = usize::try_from(len).ok().filter(|len| *len <= most).ok_or(wrong)?;
    let content = match *codec {
        PLAIN => rest.to_vec(),
        LZ4 => lz4_flex::block::decompress(rest, len).map_err(|_| wrong)?,
        found => return Err(PartError::Codec { found }),
    };
    if content.len() == len { Ok(content) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_lies_are_refused() {
        for content in [&b""[..], b"x", &[7; 5000], b"abcdefgh"] {
            let mut out = vec![1, 2, 3];
            let at = put_part(content, &mut out).unwrap();
            assert_eq!((at.offset, at.end()), (3, out.len() as u64));
            assert_eq!(open_part(&out[3..]).unwrap(), content);
            for byte in 3..out.len() {
                let mut flipped = out[3..].to_vec();
                flipped[byte - 3] ^= 4;
                assert!(open_part(&flipped).is_err(), "{byte}");
            }
        }
        let framed = |payload: &[u8]| {
            let mut out = Vec::new();
            put_frame(payload, &mut out);
            open_part(&out)
        };
        assert_eq!(framed(&[9, 0]), Err(PartError::Codec { found: 9 }));
        assert_eq!(framed(&[PLAIN, 2, 0]), Err(PartError::Content { len: 2 }));
        // A bomb that announces more than it can hold.
        assert_eq!(framed(&[LZ4, 0xff, 0xff, 0xff, 0x7f, 0]), Err(PartError::Content { len: 0x0fff_ffff }));
        assert_eq!(framed(&[]), Err(PartError::Content { len: 0 }));
    }
}
