//! Any bytes may come on a connection, in any pieces: nothing fails, and no more calls end than heads were seen to begin.
#![no_main]

use homeostat_calls::{CallReader, Event, Tally, Told, What};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (mut reader, mut calls, mut tally) = (CallReader::default(), Vec::new(), Tally::default());
    let (mut rest, mut at_ns) = (data, 0_u64);
    let (mut offsets, mut sequences) = ([0_u64; 2], [0_u32; 2]);
    // Each piece begins with what was done on which connection, what is missing before and behind it, and its length.
    while let Some((&[how, missing, untold, length], behind)) = rest.split_first_chunk() {
        let (bytes, later) = behind.split_at(usize::from(length).min(behind.len()));
        rest = later;
        at_ns += 1000;
        let what = [What::Received, What::Sent, What::Received, What::Sent, What::WeEnded, What::TheyEnded, What::Gone]
            [usize::from(how >> 4) % 7];
        let way = usize::from(what == What::Sent);
        let (offset, length) = (&mut offsets[way], bytes.len() as u32 + u32::from(untold) * 64);
        *offset += u64::from(missing >> 4) * 100;
        sequences[way] += u32::from(missing & 15 == 15);
        let event = Event {
            connection: u64::from(how & 3),
            at_ns,
            offset: *offset,
            length,
            sequence: sequences[way],
            told: Told { received: sequences[0], sent: sequences[1] },
            process: 1,
            port: 80,
            what,
            bytes,
        };
        sequences[way] += 1;
        *offset += u64::from(length);
        reader.take(&event, &mut calls);
    }
    let heads = data.windows(2).filter(|two| two[0] == b' ').count() + data.len() / 9;
    assert!(calls.len() <= heads, "{} calls of {} bytes", calls.len(), data.len());
    calls.into_iter().for_each(|call| tally.add(call));
    reader.forget();
});
