//! Pages of a block: a length, a checksum, and the bytes.
//!
//! ```text
//! offset  bytes  meaning
//! 0       4      u32 LE: length of the payload
//! 4       4      u32 LE: CRC-32C of the four bytes above and of the payload
//! 8       n      payload
//! ```

use thiserror::Error;

/// Bytes before the payload.
pub const FRAME_HEADER_BYTES: usize = 8;
/// Largest payload: the names of a block, or its footer, with millions of entries.
pub const FRAME_PAYLOAD_MAX: usize = 256 << 20;

/// Where a page lies in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageRef {
    /// Offset of its frame.
    pub offset: u64,
    /// Length of its frame with the header.
    pub len: u32,
}

impl PageRef {
    /// Where the bytes behind it begin.
    pub const fn end(self) -> u64 {
        self.offset.saturating_add(self.len as u64)
    }
}

/// Bytes that are not the frame that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Its length says otherwise than the place it was read from.
    #[error("a page of {expected} bytes says that it has {stored}")]
    Length {
        /// As read.
        stored: usize,
        /// As it should be.
        expected: usize,
    },
    /// The checksum does not fit.
    #[error("checksum mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// As read.
        stored: u32,
        /// As it should be for these bytes.
        computed: u32,
    },
}

/// Appends a frame; gives its length.
pub fn put_frame(payload: &[u8], out: &mut Vec<u8>) -> u32 {
    let len = (payload.len() as u32).to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&len), payload);
    out.extend_from_slice(&len);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(payload);
    (FRAME_HEADER_BYTES + payload.len()) as u32
}

/// The payload of a frame that fills `frame`.
pub fn open_frame(frame: &[u8]) -> Result<&[u8], FrameError> {
    let expected = frame.len().saturating_sub(FRAME_HEADER_BYTES);
    let Some((&[l0, l1, l2, l3, c0, c1, c2, c3], payload)) = frame.split_first_chunk() else {
        return Err(FrameError::Length { stored: 0, expected });
    };
    let len = [l0, l1, l2, l3];
    let stored_len = u32::from_le_bytes(len) as usize;
    if stored_len != payload.len() {
        return Err(FrameError::Length { stored: stored_len, expected });
    }
    let stored = u32::from_le_bytes([c0, c1, c2, c3]);
    let computed = crc32c::crc32c_append(crc32c::crc32c(&len), payload);
    if stored == computed { Ok(payload) } else { Err(FrameError::Checksum { stored, computed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut frame = Vec::new();
        assert_eq!(put_frame(b"payload", &mut frame), 15);
        assert_eq!(open_frame(&frame), Ok(&b"payload"[..]));
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open_frame(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..frame.len() {
            assert!(open_frame(&frame[..len]).is_err(), "cut at {len}");
        }
    }
}
