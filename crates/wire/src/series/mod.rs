//! Bytes of the metrics store: the record that its log holds for each batch, and the pages that its blocks consist of.
//!
//! ```text
//! block file   header │ pages of chunks, times, series, lists, values, names │ footer │ trailer
//! chunk        column of starts, where there are any, and of values ── shares its column of times with the other series of its target
//! ```
//!
//! Not here: files and memory (`store-series`), frames around records of the log (`wal_record`).
//! `docs/format/series-wal.md`, `series-block.md` and `series-chunk.md` have every byte.

pub mod bits;
pub mod chunk_page;
pub mod decimal;
pub mod dictionary;
pub mod footer;
pub mod frame;
pub mod histogram;
pub mod histograms;
pub mod ints;
pub mod manifest;
pub mod postings;
pub(crate) mod reader;
pub mod record;
pub mod series_page;
pub mod starts;
pub mod values;

pub use reader::Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of `docs/format/series-wal.md`, `series-block.md` and `series-chunk.md`.
    #[test]
    fn the_documented_bytes() {
        let number = |value| {
            let mut bytes = Vec::new();
            histogram::put_number(value, &mut bytes);
            bytes
        };
        assert_eq!((number(12.5), number(1.0), number(0.0)), (vec![0x12, 0x40, 0x29], vec![1, 2], vec![0]));
        let mut builder = record::RecordBuilder::default();
        builder.define(7, "\u{1}a\u{1}b");
        builder.float(7, 1000, 12.5);
        let documented = [1, 1, 7, 4, 1, b'a', 1, b'b', 1, 0x0e, 1, 0xd0, 0x0f, 1, 0x12, 0x40, 0x29, 0, 0, 0];
        assert_eq!(builder.finish(), documented);
        let mut list = Vec::new();
        postings::encode(&(100..200).collect::<Vec<_>>(), &mut list);
        assert_eq!(list, [1, 0xc9, 1, 0x62]);
        let (mut whole, mut floats) = (Vec::new(), Vec::new());
        assert_eq!(ints::decode(&mut &[1, 0xd0, 0x0f, 0x1e, 0][..], 4, &mut whole), Some(()));
        assert_eq!(whole, [1000, 1015, 1030, 1045]);
        let mut since = &[0x80, 0xb0, 0xea, 0x01, 64][..];
        let first_ms = 1_700_000_000_000;
        let read = starts::decode(&mut since, 3, first_ms, chunk_page::ChunkKind::Floats);
        assert_eq!((read, since), (Some(starts::Starts::One(first_ms - 15_000)), &[64][..]));
        let column = [0x12, 1, 0x64, 0x32, 0];
        assert_eq!(values::decode(&mut &column[..], 3, &mut values::Scratch::default(), &mut floats), Some(()));
        assert_eq!(floats, [0.5, 0.75, 1.0]);
    }
}
