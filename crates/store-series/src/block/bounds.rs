//! What a footer may claim: no more entries than the bytes of their pages can hold.
//!
//! Readers make room by these numbers. A checksum does not bound them: whoever can write a file can make one that fits.

use homeostat_wire::series::{
    chunk_page::CHUNK_SAMPLES_MAX,
    footer::Footer,
    frame::{FRAME_HEADER_BYTES, PageRef},
};

/// A value: bytes shared, bytes of its own, the head of its list, a varint each.
const PAIR_BYTES_MIN: u64 = 3;
/// A series: its head, and which of its pairs differ from those of the series before.
const SERIES_BYTES_MIN: u64 = 2;
/// A chunk: number of its times, and its length.
const CHUNK_BYTES_MIN: u64 = 2;
/// A column of times: its length, and its count.
const COLUMN_BYTES_MIN: u64 = 2;

/// Says what a footer of a file of `bytes` bytes claims that cannot be; `None` when all of it can.
pub(super) fn impossible(footer: &Footer, bytes: u64) -> Option<&'static str> {
    let numbered = |pages: &[(PageRef, u64)]| payload_bytes(pages.iter().map(|(page, _)| *page), bytes);
    let fits = |count: u64, each: u64, room: Option<u64>| room.is_some_and(|room| count <= room / each);
    let samples = footer.floats.checked_add(footer.histograms);
    let samples_max = footer.chunks.saturating_mul(CHUNK_SAMPLES_MAX as u64);
    if !fits(footer.pairs.into(), PAIR_BYTES_MIN, numbered(&footer.values)) {
        Some("its end counts more pairs than its pages can hold")
    } else if !fits(footer.series.into(), SERIES_BYTES_MIN, payload_bytes(footer.series_pages.iter().copied(), bytes)) {
        Some("its end counts more series than its pages can hold")
    } else if !fits(footer.chunks, CHUNK_BYTES_MIN, numbered(&footer.chunk_pages)) {
        Some("its end counts more chunks than its pages can hold")
    } else if !fits(footer.times.into(), COLUMN_BYTES_MIN, numbered(&footer.time_pages)) {
        Some("its end counts more columns of times than its pages can hold")
    } else if samples.is_none_or(|samples| samples_max < samples) {
        Some("its end counts more samples than its chunks can hold")
    } else {
        None
    }
}

/// Bytes within pages, which lie one behind the other; `None` when they reach beyond the file.
fn payload_bytes(pages: impl Iterator<Item = PageRef>, bytes: u64) -> Option<u64> {
    let mut sum = 0;
    for page in pages {
        if bytes < page.end() {
            return None;
        }
        sum += u64::from(page.len).saturating_sub(FRAME_HEADER_BYTES as u64);
    }
    Some(sum)
}
