//! Pages of a block's index on arbitrary bytes: names, values, lists, series. Never a panic, never more memory than a small
//! multiple of the bytes, and what is read is written and read the same.
#![no_main]

use homeostat_wire::series::{
    dictionary::{List, decode_names, encode_names, for_each_value},
    postings,
    series_page::{SeriesPageBuilder, SeriesReader},
};
use libfuzzer_sys::fuzz_target;

/// Numbers of a list beyond which it is only counted: a run of four billion takes six bytes.
const LIST_LIMIT: u32 = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(names) = decode_names(bytes) {
        let mut page = Vec::new();
        encode_names(names.iter().map(|name| (name.text.as_str(), name.values)), &mut page);
        assert_eq!(decode_names(&page), Ok(names));
    }
    for_each_value(bytes, |_, list| {
        if let List::Inline(list) = list {
            postings::count(list, u32::MAX).ok();
        }
        true
    })
    .ok();
    let mut numbers = Vec::new();
    if postings::decode(bytes, LIST_LIMIT, &mut numbers).is_ok() {
        let mut again = Vec::new();
        postings::encode(&numbers, &mut again);
        assert_eq!(again, bytes);
    }
    series(bytes);
});

fn series(bytes: &[u8]) {
    let Ok(mut reader) = SeriesReader::new(bytes, u32::MAX) else { return };
    let mut entries = Vec::new();
    while let Ok(Some(entry)) = reader.read() {
        entries.push(entry.clone());
    }
    // A builder begins where the block does; the page may begin anywhere in it.
    let mut builder = SeriesPageBuilder::default();
    for entry in &entries {
        builder.add(&entry.pairs, entry.slots, entry.chunks);
    }
    let mut page = Vec::new();
    builder.finish(&mut page);
    let Ok(mut reader) = SeriesReader::new(&page, u32::MAX) else { panic!("what was written is read") };
    for entry in &entries {
        let again = reader.read().expect("what was written is read").expect("as many as before");
        assert_eq!((&again.pairs, again.slots, again.chunks), (&entry.pairs, entry.slots, entry.chunks));
    }
}
