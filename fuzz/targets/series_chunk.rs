//! Chunks on arbitrary bytes: pages, columns of times, floats, native histograms. Never a panic, never more values than asked
//! for, and what is read is written and read bit by bit the same.
#![no_main]

use homeostat_wire::series::{
    chunk_page::{CHUNK_SAMPLES_MAX, ChunkKind, decode_times, encode_times, for_each_chunk, for_each_times},
    histogram::same_bits,
    histograms, ints, starts, values,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for_each_chunk(bytes, |chunk| {
        column(chunk.bytes, 7);
        true
    })
    .ok();
    for_each_times(bytes, |bytes| {
        times(bytes);
        true
    })
    .ok();
    times(bytes);
    let Some(([low, high], rest)) = bytes.split_first_chunk() else { return };
    column(rest, usize::from(u16::from_le_bytes([*low, *high])) % (CHUNK_SAMPLES_MAX + 1));
});

fn times(bytes: &[u8]) {
    let mut t_ms = Vec::new();
    if decode_times(bytes, &mut t_ms).is_ok() {
        let (mut again, mut read) = (Vec::new(), Vec::new());
        encode_times(&t_ms, &mut ints::Scratch::default(), &mut again);
        assert_eq!(decode_times(&again, &mut read), Ok(()));
        assert_eq!(read, t_ms);
    }
}

/// Starts before a chunk's values.
fn starts(bytes: &[u8], count: usize) {
    let t_ms: Vec<i64> = (0..count as i64).map(|at| at * 15_000 - 7).collect();
    let mut scratch = starts::Scratch::default();
    for kind in [ChunkKind::Floats, ChunkKind::Histograms] {
        let Some(column) = starts::decode(&mut &*bytes, count, -7, kind) else { continue };
        let found = column.of(&t_ms, None);
        assert!(found.is_empty() || found.len() == count);
        let mut again = Vec::new();
        starts::encode(&found, &t_ms, kind, &mut scratch, &mut again);
        let read = starts::decode(&mut again.as_slice(), count, -7, kind).expect("what was written is read");
        assert!(read.of(&t_ms, None) == found || found.iter().all(|start_ms| *start_ms == 0));
    }
}

fn column(bytes: &[u8], count: usize) {
    starts(bytes, count);
    let (mut scratch, mut floats) = (values::Scratch::default(), Vec::new());
    let decoded = values::decode(&mut &*bytes, count, &mut scratch, &mut floats);
    assert!(floats.len() <= count);
    if decoded.is_some() {
        let bits = |floats: &[f64]| floats.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let (mut again, mut read) = (Vec::new(), Vec::new());
        values::encode(&floats, &mut scratch, &mut again);
        assert_eq!(values::decode(&mut again.as_slice(), count, &mut scratch, &mut read), Some(()));
        assert_eq!(bits(&read), bits(&floats));
        let places: Vec<u32> = (0..count as u32).step_by(3).collect();
        let mut some = Vec::new();
        assert_eq!(values::decode_some(&mut &*bytes, count, &places, &mut scratch, &mut some), Some(()));
        let expected: Vec<f64> = places.iter().map(|at| floats[*at as usize]).collect();
        assert_eq!(bits(&some), bits(&expected));
    }
    let mut found = Vec::new();
    let decoded = histograms::decode(bytes, count, &mut scratch, &mut found);
    assert!(found.len() <= count);
    if decoded.is_some() {
        let (mut again, mut read) = (Vec::new(), Vec::new());
        histograms::encode(&found, &mut scratch, &mut again);
        assert_eq!(histograms::decode(&again, count, &mut scratch, &mut read), Some(()));
        assert!(read.len() == found.len() && read.iter().zip(&found).all(|(a, b)| same_bits(a, b)));
    }
}
