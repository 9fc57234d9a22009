//! The snappy block format, with its declared length checked before anything is allocated.
//!
//! Not here: the framed stream format, which remote write does not use.
//! Source: google/snappy, `format_description.txt`.

use snap::raw::{Decoder, Encoder, decompress_len};

/// The most that a block grows: a copy of 64 bytes is written in three, and a length needs room in front.
const GROWTH_MAX: usize = 22;

/// Why a block cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnappyError {
    /// It declares more than the caller takes.
    #[error(
        "the body unpacks to {declared} bytes, more than the {limit} that are taken; send fewer samples per request"
    )]
    TooLong {
        /// What it declares.
        declared: usize,
        /// What the caller takes.
        limit: usize,
    },
    /// It declares more than so few bytes can hold.
    #[error("the body is no snappy block: it declares {declared} bytes but has only {packed}")]
    Lying {
        /// What it declares.
        declared: usize,
        /// Its own length.
        packed: usize,
    },
    /// It cannot be unpacked.
    #[error("the body is no snappy block (is it the framed format, or not compressed?)")]
    Corrupt {
        /// What the decoder says.
        #[from]
        source: snap::Error,
    },
}

/// Unpacks a block into `out`, whose content is replaced. Allocates at most `limit` bytes and at most a fixed multiple of
/// the block's own length.
pub fn decompress(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), SnappyError> {
    let declared = decompress_len(block)?;
    if limit < declared {
        return Err(SnappyError::TooLong { declared, limit });
    }
    if block.len().saturating_mul(GROWTH_MAX) < declared {
        return Err(SnappyError::Lying { declared, packed: block.len() });
    }
    out.clear();
    out.resize(declared, 0);
    let written = Decoder::new().decompress(block, out)?;
    out.truncate(written);
    Ok(())
}

/// Packs `bytes` into a block. Fails only above 4 GiB.
pub fn compress(bytes: &[u8]) -> Result<Vec<u8>, SnappyError> {
    Ok(Encoder::new().compress_vec(bytes)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_checked_before_memory_is_taken() {
        let mut out = Vec::new();
        let giant = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        let declared = u32::MAX as usize;
        assert_eq!(decompress(&giant, 1 << 20, &mut out), Err(SnappyError::TooLong { declared, limit: 1 << 20 }));
        assert_eq!(decompress(&giant, usize::MAX, &mut out), Err(SnappyError::Lying { declared, packed: 6 }));
        assert_eq!(out.capacity(), 0);
        assert!(matches!(decompress(b"", 1 << 20, &mut out), Err(SnappyError::Corrupt { .. })) || out.is_empty());
        assert!(matches!(decompress(b"\x05hello", 1 << 20, &mut out), Err(SnappyError::Corrupt { .. })));
    }

    #[test]
    fn the_best_case_of_compression_is_not_called_a_lie() {
        let zeros = vec![0; 1 << 20];
        let mut out = Vec::new();
        assert_eq!(decompress(&compress(&zeros).unwrap(), 1 << 20, &mut out), Ok(()));
        assert_eq!(out, zeros);
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in proptest::collection::vec(0_u8..4, 0..2_000)) {
            let mut out = vec![7; 3];
            prop_assert_eq!(decompress(&compress(&bytes).unwrap(), 2_000, &mut out), Ok(()));
            prop_assert_eq!(out, bytes);
        }
    }
}
