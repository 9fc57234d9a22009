//! Unpacking gzip, to so many bytes and no further.

use std::io::Read as _;

use bytes::Bytes;

use crate::problem::{Kind, Problem};

/// Unpacks all members.
pub(crate) fn unpack(packed: &[u8], limit: usize) -> Result<Bytes, Problem> {
    let mut body = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(packed).take((limit as u64).saturating_add(1));
    if let Err(error) = reader.read_to_end(&mut body) {
        return Err(Problem::new(Kind::Unreadable, format!("the body is no gzip: {error}")));
    }
    if limit < body.len() {
        let text = format!("the body unpacks to more than the {limit} bytes that are taken; send fewer points at once");
        return Err(Problem::new(Kind::TooLarge, text));
    }
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn bombs_and_damage_are_refused() {
        let bomb = packed(&vec![0; 1 << 20]);
        assert!(bomb.len() < 2_000);
        assert_eq!(unpack(&bomb, (1 << 20) - 1).unwrap_err().kind, Kind::TooLarge);
        assert_eq!(unpack(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        let whole = packed(b"hello");
        for cut in 0..whole.len() {
            assert_eq!(unpack(&whole[..cut], 99).unwrap_err().kind, Kind::Unreadable, "{cut}");
        }
        let twice = [whole.clone(), whole].concat();
        assert_eq!(unpack(&twice, 99).unwrap(), "hellohello");
    }
}
