//! Gzip, unpacked to so many bytes and no further.

use std::io::{Read as _, Write as _};

/// Why it cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum GzipError {
    /// It is damaged or something else.
    #[error("this is no whole gzip")]
    Damaged(#[from] std::io::Error),
    /// It holds more than is taken.
    #[error("it unpacks to more than the {limit} bytes that are taken")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

/// Returns true for what begins like a gzip member.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Unpacks all members.
pub fn unpack(packed: &[u8], limit: usize) -> Result<Vec<u8>, GzipError> {
    let mut body = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(packed).take((limit as u64).saturating_add(1));
    reader.read_to_end(&mut body)?;
    if limit < body.len() { Err(GzipError::TooLarge { limit }) } else { Ok(body) }
}

/// Packs into one member.
pub fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing into memory cannot fail; nothing would be lost that `finish` does not tell.
    drop(encoder.write_all(bytes));
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bombs_and_damage_are_refused() {
        let bomb = pack(&vec![0; 1 << 20]);
        assert!(is_gzip(&bomb) && bomb.len() < 2_000);
        assert!(matches!(unpack(&bomb, (1 << 20) - 1), Err(GzipError::TooLarge { limit: 1_048_575 })));
        assert_eq!(unpack(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        let whole = pack(b"hello");
        for cut in 0..whole.len() {
            assert!(matches!(unpack(&whole[..cut], 99), Err(GzipError::Damaged(_))), "{cut}");
        }
        let twice = [whole.clone(), whole].concat();
        assert_eq!(unpack(&twice, 99).unwrap(), b"hellohello");
    }
}
