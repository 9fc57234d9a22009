//! Frames and segment headers of the write-ahead log: how bytes become records, and damage becomes a report.
//!
//! A segment is a header followed by frames. A frame is
//!
//! ```text
//! offset  bytes  meaning
//! 0       4      u32 LE: low 26 bits payload length (1 to PAYLOAD_BYTES_MAX), high 6 bits mark; all zero: never written
//! 4       4      u32 LE: CRC-32C of the four bytes above and of the payload
//! 8       n      payload
//! ```
//!
//! Intuition of the marks: a crash may lose or garble only what was never acknowledged. The first record of every
//! commit carries [`Mark::Leader`], which says "all before me was on disk before I was written". So damage with a
//! leader behind it is damage to acknowledged data, and damage without one is an ordinary torn tail.
//!
//! Not here: files, segments in a row, repair (`store-wal`). `docs/format/wal.md` has every byte.
//! Invariant: decoding never allocates and never reads past the given slice.

use thiserror::Error;

/// Largest payload. The largest record is a snapshot of control: 500 MB of its JSON shrink to about 50 MB in LZ4,
/// and 26 bits of length leave six for the mark.
pub const PAYLOAD_BYTES_MAX: usize = (1 << LEN_BITS) - 1;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 8;
/// Bytes of a segment before its first frame.
pub const SEGMENT_HEADER_BYTES: usize = 24;
/// First bytes of every segment.
pub const MAGIC: [u8; 8] = *b"HSTATWAL";
/// The version of the format described here.
pub const VERSION: u16 = 1;

const LEN_BITS: u32 = 26;
/// The marks leave bytes in the file that never occur in UTF-8 text (0xF8 and above), so that a search for leaders
/// behind a damage meets few false candidates in JSON.
const MARK_LEADER: u32 = 0b11_1110;
const MARK_SEAL: u32 = 0b11_1111;
const SEAL_PAYLOAD_BYTES: usize = 9;
const _: () = assert!(PAYLOAD_BYTES_MAX <= u32::MAX as usize);

/// What a frame is, beyond its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A record that shares the commit of the record before it.
    Follower,
    /// The first record of a commit: every record before it was on disk before this one was written.
    Leader,
    /// Not a record: the end of a segment, see [`Seal`].
    Seal,
}

/// What stands at the beginning of a slice of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole frame.
    Frame {
        /// What it is.
        mark: Mark,
        /// Its payload.
        payload: &'a [u8],
        /// The bytes after it.
        rest: &'a [u8],
    },
    /// The slice ends here, or within a frame, or nothing was ever written here.
    TornTail,
}

/// Bytes that no writer has written like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Corruption {
    /// The six mark bits hold none of the known marks.
    #[error("unknown mark {mark:#04x} in a frame header")]
    Mark {
        /// The six bits.
        mark: u8,
    },
    /// The checksum does not fit the bytes.
    #[error("checksum mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// As read.
        stored: u32,
        /// As it should be for these bytes.
        computed: u32,
    },
    /// A mark other than a follower with no payload.
    #[error("a marked frame without payload")]
    Empty,
}

/// Appends one frame to `out`; the payload has 1 to [`PAYLOAD_BYTES_MAX`] bytes.
pub fn encode(mark: Mark, payload: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadLength> {
    if payload.is_empty() || PAYLOAD_BYTES_MAX < payload.len() {
        return Err(PayloadLength { len: payload.len() });
    }
    let bits = match mark {
        Mark::Follower => 0,
        Mark::Leader => MARK_LEADER,
        Mark::Seal => MARK_SEAL,
    };
    let word = (payload.len() as u32 | bits << LEN_BITS).to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&word), payload);
    out.reserve(FRAME_HEADER_BYTES + payload.len());
    out.extend_from_slice(&word);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// A payload that does not fit a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a record has 1 to {PAYLOAD_BYTES_MAX} bytes, this one has {len}")]
pub struct PayloadLength {
    /// Its length.
    pub len: usize,
}

/// Reads the frame at the beginning of `log`. [`Decoded::TornTail`] is normal at the end of the newest segment after
/// a crash; elsewhere the caller reports damage.
pub fn decode(log: &[u8]) -> Result<Decoded<'_>, Corruption> {
    let Some((&[l0, l1, l2, l3, c0, c1, c2, c3], body)) = log.split_first_chunk() else {
        return Ok(Decoded::TornTail);
    };
    let word = [l0, l1, l2, l3];
    let value = u32::from_le_bytes(word);
    if value == 0 {
        return Ok(Decoded::TornTail);
    }
    let mark = match value >> LEN_BITS {
        0 => Mark::Follower,
        MARK_LEADER => Mark::Leader,
        MARK_SEAL => Mark::Seal,
        other => return Err(Corruption::Mark { mark: other as u8 }),
    };
    let len = value as usize & PAYLOAD_BYTES_MAX;
    if len == 0 {
        return Err(Corruption::Empty);
    }
    let Some((payload, rest)) = body.split_at_checked(len) else { return Ok(Decoded::TornTail) };
    let stored = u32::from_le_bytes([c0, c1, c2, c3]);
    let computed = crc32c::crc32c_append(crc32c::crc32c(&word), payload);
    if stored != computed {
        return Err(Corruption::Checksum { stored, computed });
    }
    Ok(Decoded::Frame { mark, payload, rest })
}

/// What a search for acknowledged data behind a damage found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Nothing that a later commit has written: the damage is a torn tail.
    Nothing,
    /// An intact leader or seal begins this many bytes into the slice: what lies before it had been acknowledged.
    Acknowledged(usize),
    /// The search was given up; the caller treats it as acknowledged data, which is the safe side.
    Unknown,
}

/// Checksummed bytes after which a search gives up: 4 GiB take about half a second at the 8 GB/s of one core.
/// Random bytes of a 64 MiB segment would need more; JSON, ticks and torn batches need next to nothing.
pub const SEARCH_BYTES_MAX: u64 = 4 << 30;

/// Looks behind a damage at the beginning of `log` for a frame that proves that the damaged bytes had been on disk.
pub fn search_beyond(log: &[u8]) -> Beyond {
    let mut budget = SEARCH_BYTES_MAX;
    for at in 1..log.len() {
        let Some(tail) = log.get(at..) else { break };
        // The fourth byte holds the mark; a leader and a seal differ in its lowest mark bit only.
        if !matches!(tail.get(3), Some(byte) if 0xf8 <= *byte) {
            continue;
        }
        match decode(tail) {
            Ok(Decoded::Frame { mark: Mark::Leader | Mark::Seal, .. }) => return Beyond::Acknowledged(at),
            Err(Corruption::Checksum { .. }) => {
                let [l0, l1, l2, l3] = tail.first_chunk().copied().unwrap_or_default();
                let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize & PAYLOAD_BYTES_MAX;
                budget = match budget.checked_sub(len as u64) {
                    Some(left) => left,
                    None => return Beyond::Unknown,
                };
            }
            _ => {}
        }
    }
    Beyond::Nothing
}

/// The last frame of a segment that was ended on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Why it ended.
    pub kind: SealKind,
    /// Sequence number of the first record of the next segment.
    pub next_seq: u64,
}

/// Why a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealKind {
    /// The log was closed or went on in the next segment; nothing is missing.
    Complete,
    /// `homeostat wal repair` cut a damage off here; records up to `next_seq` are missing.
    Repaired,
}

impl Seal {
    /// The seal frame's payload.
    pub fn payload(self) -> [u8; SEAL_PAYLOAD_BYTES] {
        let kind = match self.kind {
            SealKind::Complete => 0,
            SealKind::Repaired => 1,
        };
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.next_seq.to_le_bytes();
        [kind, s0, s1, s2, s3, s4, s5, s6, s7]
    }

    /// Reads a seal frame's payload; `None` when it is not one.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let &[kind, s0, s1, s2, s3, s4, s5, s6, s7] = payload.first_chunk::<SEAL_PAYLOAD_BYTES>()?;
        let kind = match kind {
            0 => SealKind::Complete,
            1 => SealKind::Repaired,
            _ => return None,
        };
        let next_seq = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        (payload.len() == SEAL_PAYLOAD_BYTES).then_some(Self { kind, next_seq })
    }
}

/// The beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Sequence number of its first record; counts from 1.
    pub first_seq: u64,
}

/// Why bytes are not a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Fewer than [`SEGMENT_HEADER_BYTES`].
    #[error("the segment header is cut short at {len} of {SEGMENT_HEADER_BYTES} bytes")]
    Short {
        /// What there is.
        len: usize,
    },
    /// Other first bytes.
    #[error("this is not a segment: its first bytes are not `HSTATWAL`")]
    Magic,
    /// A version that this program does not know.
    #[error("format version {found} is not known here (only {VERSION} is); a newer program has written it")]
    Version {
        /// As read.
        found: u16,
    },
    /// The checksum does not fit.
    #[error("the segment header is damaged: stored checksum {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// As read.
        stored: u32,
        /// As it should be.
        computed: u32,
    },
    /// Reserved bytes are not zero, or the first sequence number is.
    #[error("the segment header holds impossible values")]
    Values,
}

impl SegmentHeader {
    /// The header's bytes: magic, version u16 LE, reserved u16, first sequence number u64 LE, CRC-32C of these 20.
    pub fn encode(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let fields = MAGIC.into_iter().chain(VERSION.to_le_bytes()).chain([0, 0]).chain(self.first_seq.to_le_bytes());
        for (slot, byte) in bytes.iter_mut().zip(fields) {
            *slot = byte;
        }
        let checksum = crc32c::crc32c(bytes.first_chunk::<20>().map_or(&[], |b| b.as_slice()));
        for (slot, byte) in bytes.iter_mut().skip(20).zip(checksum.to_le_bytes()) {
            *slot = byte;
        }
        bytes
    }

    /// Reads the header and gives the frames behind it.
    pub fn decode(segment: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        let Some((fields, rest)) = segment.split_first_chunk::<20>() else {
            return Err(HeaderError::Short { len: segment.len() });
        };
        let Some((checksum, rest)) = rest.split_first_chunk::<4>() else {
            return Err(HeaderError::Short { len: segment.len() });
        };
        let (stored, computed) = (u32::from_le_bytes(*checksum), crc32c::crc32c(fields));
        let &[m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, r0, r1, s0, s1, s2, s3, s4, s5, s6, s7] = fields;
        if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC {
            return Err(HeaderError::Magic);
        }
        if stored != computed {
            return Err(HeaderError::Checksum { stored, computed });
        }
        let version = u16::from_le_bytes([v0, v1]);
        if version != VERSION {
            return Err(HeaderError::Version { found: version });
        }
        let first_seq = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        if first_seq == 0 || [r0, r1] != [0, 0] {
            return Err(HeaderError::Values);
        }
        Ok((Self { first_seq }, rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(mark: Mark, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(mark, payload, &mut out).unwrap();
        out
    }

    #[test]
    fn a_frame_comes_back_with_its_mark_and_the_rest() {
        for mark in [Mark::Follower, Mark::Leader, Mark::Seal] {
            let mut log = frame(mark, b"payload");
            log.extend_from_slice(b"rest");
            assert_eq!(decode(&log), Ok(Decoded::Frame { mark, payload: b"payload", rest: b"rest" }));
        }
    }

    #[test]
    fn every_cut_is_a_torn_tail() {
        let log = frame(Mark::Leader, b"payload");
        for len in 0..log.len() {
            assert_eq!(decode(&log[..len]), Ok(Decoded::TornTail), "cut at {len}");
        }
        assert_eq!(decode(&[0; 64]), Ok(Decoded::TornTail), "never written");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let log = frame(Mark::Follower, b"payload");
        for bit in 0..log.len() * 8 {
            let mut flipped = log.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&flipped), Ok(Decoded::Frame { .. })), "bit {bit}");
        }
    }

    #[test]
    fn a_later_commit_tells_damage_from_a_torn_tail() {
        let mut log = frame(Mark::Leader, b"one");
        log.extend(frame(Mark::Follower, b"two"));
        assert_eq!(search_beyond(&log), Beyond::Nothing);
        let at = log.len();
        log.extend(frame(Mark::Leader, b"three"));
        assert_eq!(search_beyond(&log), Beyond::Acknowledged(at));
    }

    #[test]
    fn empty_and_oversized_payloads_are_refused() {
        assert_eq!(encode(Mark::Leader, &[], &mut Vec::new()), Err(PayloadLength { len: 0 }));
        let large = vec![0; PAYLOAD_BYTES_MAX + 1];
        assert_eq!(encode(Mark::Leader, &large, &mut Vec::new()), Err(PayloadLength { len: large.len() }));
    }

    #[test]
    fn headers_round_trip_and_every_flip_is_noticed() {
        let header = SegmentHeader { first_seq: 0x0102_0304_0506_0708 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header, &[][..])));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn seals_round_trip() {
        for kind in [SealKind::Complete, SealKind::Repaired] {
            let seal = Seal { kind, next_seq: 77 };
            assert_eq!(Seal::parse(&seal.payload()), Some(seal));
        }
        assert_eq!(Seal::parse(&[2; 9]), None);
        assert_eq!(Seal::parse(&[0; 10]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_decode_to_what_encodes_to_them(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Decoded::Frame { mark, payload, rest }) = decode(&bytes) {
                prop_assert_eq!([frame(mark, payload).as_slice(), rest].concat(), bytes);
            }
        }
    }
}
