//! A record of a destination's log.
//!
//! ```text
//! lane u8 │ samples u32 │ histograms u32 │ reserved u32 = 0 │ newest i64 ms │ arrived i64 ms │ packed WriteRequest
//! ```
//! Numbers are little endian; the request is remote write 1.0's message as a snappy block. `docs/format/relay.md`.

use homeostat_model::TimeMs;

/// Bytes in front of the request.
const HEAD_BYTES: usize = 1 + 3 * 4 + 2 * 8;

/// What a record says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) lane: u8,
    pub(crate) samples: u32,
    pub(crate) histograms: u32,
    /// Time of its newest sample.
    pub(crate) newest_ms: TimeMs,
    /// When it came in, by our clock.
    pub(crate) arrived_ms: TimeMs,
}

impl Head {
    /// Samples of all kinds.
    pub(crate) fn all(&self) -> u64 {
        u64::from(self.samples) + u64::from(self.histograms)
    }

    pub(crate) fn encode(&self, packed: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + packed.len());
        out.push(self.lane);
        for count in [self.samples, self.histograms, 0] {
            out.extend(count.to_le_bytes());
        }
        out.extend(self.newest_ms.to_le_bytes());
        out.extend(self.arrived_ms.to_le_bytes());
        out.extend(packed);
        out
    }

    /// The head and the packed request; `None` when it is no such record.
    pub(crate) fn decode(record: &[u8]) -> Option<(Self, &[u8])> {
        let (lane, rest) = record.split_first()?;
        let (samples, rest) = rest.split_first_chunk()?;
        let (histograms, rest) = rest.split_first_chunk()?;
        let (_reserved, rest) = rest.split_first_chunk::<4>()?;
        let (newest, rest) = rest.split_first_chunk()?;
        let (arrived, packed) = rest.split_first_chunk()?;
        let head = Self {
            lane: *lane,
            samples: u32::from_le_bytes(*samples),
            histograms: u32::from_le_bytes(*histograms),
            newest_ms: TimeMs::from_le_bytes(*newest),
            arrived_ms: TimeMs::from_le_bytes(*arrived),
        };
        Some((head, packed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_torn_ones_do_not() {
        let head = Head { lane: 7, samples: 1, histograms: 2, newest_ms: -4, arrived_ms: i64::MAX };
        let record = head.encode(b"abc");
        assert_eq!(Head::decode(&record), Some((head, &b"abc"[..])));
        assert_eq!(head.all(), 3);
        for cut in 0..HEAD_BYTES {
            assert_eq!(Head::decode(&record[..cut]), None);
        }
    }
}
