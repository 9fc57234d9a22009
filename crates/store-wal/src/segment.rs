//! One segment: its name, and a walk over its frames that says how far its bytes can be trusted.
//!
//! Not here: segments in a row (`survey`).
//! Invariant: the walk visits a record only if its frame is intact and its number is below the next segment's first.

use homeostat_wire::wal_record::{
    Beyond, Corruption, Decoded, FRAME_HEADER_BYTES, Mark, PAYLOAD_BYTES_MAX, SEGMENT_HEADER_BYTES, Seal, SealKind,
    decode, search_beyond,
};

use crate::error::DamageKind;

/// Extension of segment files.
pub const EXTENSION: &str = "wal";

/// Default size at which a segment is ended: recovery reads one segment into memory at a time.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// Longest segment that is read: one of default size to which the largest record was just added, twice over for
/// options that ask for more.
pub const SEGMENT_BYTES_MAX: u64 = 2 * (SEGMENT_BYTES_DEFAULT + (FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX) as u64);
const _: () = assert!(SEGMENT_BYTES_DEFAULT < SEGMENT_BYTES_MAX);

/// The file of a segment: eight digits, so that a listing is in order, and `.wal`.
pub fn file_name(number: u32) -> String {
    format!("{number:08}.{EXTENSION}")
}

/// The number in a file name; `None` when it is not a segment's.
pub fn parse_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let plain = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// At the end of a frame, without a seal: the process was killed, or is running.
    Open,
    /// With a seal: closed, or continued in the next segment.
    Sealed,
    /// With a seal that `homeostat wal repair` put where it cut a damage off.
    Repaired {
        /// Records that are missing.
        missing: u64,
    },
    /// The next segment continues before the end; the bytes behind were never acknowledged.
    Continued {
        /// How many.
        abandoned_bytes: u64,
    },
    /// In a commit that was never acknowledged: normal after a crash.
    Torn {
        /// Bytes from there to the end of the file.
        bytes: u64,
    },
    /// In damage to acknowledged records.
    Damaged(DamageKind),
}

/// Result of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Number of the record that comes after the last intact one, or after those that a repair gave up.
    pub next_seq: u64,
    /// Intact records.
    pub records: u64,
    /// Offset at which the trusted bytes end, counted from the beginning of the file.
    pub offset: u64,
    /// What stands there.
    pub end: End,
}

/// Walks over the frames behind a segment's header. `until` is the first number of the next segment, if there is one.
/// `visit` gets number, offset and payload of each intact record.
pub fn walk(frames: &[u8], first_seq: u64, until: Option<u64>, visit: &mut dyn FnMut(u64, u64, &[u8])) -> Walk {
    let mut at = Walk { next_seq: first_seq, records: 0, offset: SEGMENT_HEADER_BYTES as u64, end: End::Open };
    let mut rest = frames;
    at.end = loop {
        let decoded = decode(rest);
        if let Ok(Decoded::Frame { mark: Mark::Seal, payload, rest }) = decoded {
            break sealed(&mut at, payload, rest, until);
        }
        if until.is_some_and(|until| until <= at.next_seq) {
            let abandoned_bytes = rest.len() as u64;
            break if rest.is_empty() { End::Open } else { End::Continued { abandoned_bytes } };
        }
        match decoded {
            Ok(Decoded::Frame { payload, rest: after, .. }) => {
                visit(at.next_seq, at.offset, payload);
                at.next_seq += 1;
                at.records += 1;
                at.offset += (rest.len() - after.len()) as u64;
                rest = after;
            }
            Ok(Decoded::TornTail) => break broken(rest, at.next_seq, until, None),
            Err(corruption) => break broken(rest, at.next_seq, until, Some(corruption)),
        }
    };
    at
}

fn sealed(at: &mut Walk, payload: &[u8], behind: &[u8], until: Option<u64>) -> End {
    let Some(seal) = Seal::parse(payload) else { return End::Damaged(DamageKind::Seal) };
    let reached = at.next_seq;
    let fits = match seal.kind {
        SealKind::Complete => seal.next_seq == reached,
        SealKind::Repaired => reached <= seal.next_seq,
    };
    if !fits {
        return End::Damaged(DamageKind::Seal);
    }
    if until.is_some_and(|until| seal.next_seq < until) {
        let to = until.map_or(0, |until| until - 1);
        return End::Damaged(DamageKind::Missing { from: seal.next_seq, to });
    }
    at.offset += (FRAME_HEADER_BYTES + payload.len()) as u64;
    at.next_seq = seal.next_seq;
    if !behind.is_empty() {
        return End::Damaged(DamageKind::BehindSeal { bytes: behind.len() as u64 });
    }
    match seal.kind {
        SealKind::Complete => End::Sealed,
        SealKind::Repaired => End::Repaired { missing: seal.next_seq - reached },
    }
}

/// Tells a torn tail from damage. With a next segment all records up to its first one had been acknowledged; without
/// one, a later commit behind the spot says so.
fn broken(rest: &[u8], next_seq: u64, until: Option<u64>, corruption: Option<Corruption>) -> End {
    let kind = match (corruption, until) {
        (Some(corruption), _) => DamageKind::Frame(corruption),
        (None, Some(until)) => DamageKind::Missing { from: next_seq, to: until - 1 },
        (None, None) => DamageKind::CutShort,
    };
    if until.is_some() || search_beyond(rest) != Beyond::Nothing {
        return End::Damaged(kind);
    }
    if rest.is_empty() { End::Open } else { End::Torn { bytes: rest.len() as u64 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_in_order() {
        assert_eq!(file_name(7), "00000007.wal");
        assert_eq!(parse_name("00000007.wal"), Some(7));
        assert_eq!(parse_name(&file_name(u32::MAX)), Some(u32::MAX));
        for other in ["7.wal", "00000007.wal.new", "00000007.damaged", "LOCK", "+0000007.wal", ""] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
