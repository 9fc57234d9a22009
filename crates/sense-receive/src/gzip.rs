//! Gzip of a body, and what its sender is told when it cannot be unpacked.

use bytes::Bytes;
use homeostat_wire::gzip::{self, GzipError};

use crate::problem::{Kind, Problem};

/// Unpacks all members.
pub(crate) fn unpack(packed: &[u8], limit: usize) -> Result<Bytes, Problem> {
    gzip::unpack(packed, limit).map(Bytes::from).map_err(|error| match error {
        GzipError::Damaged(error) => Problem::new(Kind::Unreadable, format!("the body is no gzip: {error}")),
        GzipError::TooLarge { .. } => {
            let text =
                format!("the body unpacks to more than the {limit} bytes that are taken; send fewer points at once");
            Problem::new(Kind::TooLarge, text)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bombs_and_damage_are_told_apart() {
        let bomb = gzip::pack(&vec![0; 1 << 20]);
        assert_eq!(unpack(&bomb, (1 << 20) - 1).unwrap_err().kind, Kind::TooLarge);
        assert_eq!(unpack(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        assert_eq!(unpack(&bomb[..9], 1 << 20).unwrap_err().kind, Kind::Unreadable);
    }
}
