//! pprof profiles of a real program, read, written and read again; and what hostile ones meet.
//! The fixtures are of Prometheus 2.42 under queries, fetched with `curl` from its `/debug/pprof/`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use homeostat_model::error_chain::chain;
use homeostat_model::profile::{Profile, Stack, ValueType};
use homeostat_wire::{
    gzip,
    pprof::{self, PprofError, PprofLimits},
    protobuf::{put_message, put_packed_uints, put_text, put_uint},
};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/pprof/{name}.pb.gz", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn read(name: &str) -> Profile {
    pprof::read(&fixture(name), &PprofLimits::default()).unwrap()
}

/// Every row in words: what two profiles have in common when their ids differ.
fn in_words(profile: &Profile) -> BTreeMap<String, Vec<i64>> {
    let row = |row: homeostat_model::profile::Row<'_>| {
        let frames: Vec<_> = profile
            .stacks()
            .walk(row.stack)
            .map(|frame| {
                let (file, module) = (profile.text(frame.file), profile.text(frame.module));
                format!("{}@{file}:{}~{module}~{}", profile.frame_name(frame), frame.line, frame.inlined)
            })
            .collect();
        let labels = profile.labels(row.labels).iter().map(|(name, value)| {
            let value = match value {
                homeostat_model::profile::LabelValue::Text(text) => profile.text(*text).to_owned(),
                homeostat_model::profile::LabelValue::Number { value, unit } => {
                    format!("{value}{}", profile.text(*unit))
                }
            };
            format!("{}={value}", profile.text(*name))
        });
        (format!("{} {}", frames.join(";"), labels.collect::<Vec<_>>().join(",")), row.values.to_vec())
    };
    profile.rows().map(row).collect()
}

#[test]
fn profiles_of_a_real_program_are_read() {
    let cpu = read("cpu");
    assert_eq!(cpu.types(), [ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")]);
    assert_eq!((cpu.period_type.clone(), cpu.period), (ValueType::new("cpu", "nanoseconds"), 10_000_000));
    assert!(4_900_000_000 < cpu.duration_ns && 0 < cpu.started_ns, "{cpu:?}");
    assert_eq!(cpu.total(1), cpu.total(0) * 10_000_000, "each sample stands for ten milliseconds");
    assert_eq!(cpu.default_type(), 1);
    // The order is right: many functions run, few are where goroutines and threads begin.
    let name = |frame| cpu.frame_name(frame);
    let ends = |stack: Stack| (cpu.stacks().walk(stack).next().map(name), cpu.stacks().walk(stack).last().map(name));
    let (inner, outer): (BTreeSet<_>, BTreeSet<_>) = cpu.rows().map(|row| ends(row.stack)).unzip();
    assert!(2 * outer.len() < inner.len(), "{outer:?}");
    assert!(outer.contains(&Some("net/http.(*conn).serve".to_owned())), "{outer:?}");
    assert!(cpu.stacks().frames().iter().any(|frame| frame.inlined), "inlined frames are kept");

    let heap = read("heap");
    assert_eq!(heap.types().len(), 4);
    assert_eq!(heap.column("inuse_space"), Some(heap.default_type()));
    assert!(heap.rows().any(|row| !heap.labels(row.labels).is_empty()), "allocation sizes are labels");
    // A mutex profile that the program has not switched on has columns and no rows.
    assert_eq!((read("mutex").rows().len(), read("mutex").types().len()), (0, 2));
}

#[test]
fn what_is_written_reads_as_the_same_profile() {
    for name in ["cpu", "heap", "goroutine", "mutex"] {
        let profile = read(name);
        let written = pprof::write(&profile);
        let again = pprof::read(&written, &PprofLimits::default()).unwrap();
        let (before, after) = (in_words(&profile), in_words(&again));
        let lost = before.iter().find(|(row, values)| after.get(*row) != Some(values));
        assert_eq!((lost, before.len()), (None, after.len()), "{name}");
        assert_eq!(profile.types(), again.types());
        assert_eq!(profile.default_type(), again.default_type());
        assert_eq!((profile.started_ns, profile.duration_ns), (again.started_ns, again.duration_ns));
        assert_eq!(gzip::unpack(&pprof::write(&again), 1 << 30).unwrap(), gzip::unpack(&written, 1 << 30).unwrap());
    }
}

#[test]
fn cuts_and_flipped_bits_give_an_error_or_a_profile() {
    let message = gzip::unpack(&fixture("goroutine"), 1 << 30).unwrap();
    let limits = PprofLimits::default();
    for cut in (0..message.len()).step_by(7) {
        drop(pprof::decode(&message[..cut], &limits));
    }
    // A prime step: over the whole message every bit of a byte has its turn.
    for bit in (0..8 * message.len()).step_by(31) {
        let mut flipped = message.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        drop(pprof::decode(&flipped, &limits));
    }
    let packed = fixture("goroutine");
    for cut in 0..packed.len() {
        assert!(pprof::read(&packed[..cut], &limits).is_err(), "{cut}");
    }
}

/// A profile with one column, one function and a location that stands for `lines` of it.
fn profile_of(lines: usize, sample: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(1, &mut out, |out| put_uint(1, 1, out));
    put_message(2, &mut out, sample);
    put_message(4, &mut out, |out| {
        put_uint(1, 1, out);
        for _ in 0..lines {
            put_message(4, out, |out| put_uint(1, 1, out));
        }
    });
    put_message(5, &mut out, |out| {
        put_uint(1, 1, out);
        put_uint(2, 1, out);
    });
    put_text(6, "", &mut out);
    put_text(6, "n", &mut out);
    out
}

fn error(message: &[u8], limits: &PprofLimits) -> String {
    pprof::read(message, limits).unwrap_err().to_string()
}

#[test]
fn what_lies_is_refused_with_its_place() {
    let limits = PprofLimits::default();
    assert!(matches!(pprof::read(b"", &limits), Err(PprofError::NoTypes)));
    assert!(matches!(pprof::read(b"<html>", &limits), Err(PprofError::Protobuf(_))));
    // Each cause is told once, however deep it lies.
    for damaged in [&b"<html>"[..], b"\x1f\x8bno"] {
        let error = pprof::read(damaged, &limits).unwrap_err();
        let said = chain(&error);
        let causes: Vec<&str> = said.split(": ").collect();
        assert!(causes.len() > 1 && causes.iter().all(|cause| said.matches(cause).count() == 1), "{said}");
    }
    let with = |locations: &'static [u64], values: &'static [u64]| {
        profile_of(1, move |out| {
            put_packed_uints(1, locations.iter().copied(), out);
            put_packed_uints(2, values.iter().copied(), out);
        })
    };
    assert_eq!(error(&with(&[2], &[1]), &limits), "byte 6: there is no location 2 in this profile");
    assert_eq!(error(&with(&[1], &[1, 2]), &limits), "byte 6: a sample has 2 values for 1 columns");
    let twice = [with(&[1], &[1]), with(&[1], &[1])].concat();
    assert!(error(&twice, &limits).contains("there are two of function 1"), "{}", error(&twice, &limits));
    let mut dangling = with(&[1], &[1]);
    put_message(1, &mut dangling, |out| put_uint(1, 99, out));
    assert_eq!(error(&dangling, &limits), "byte 0: there is no text 99 in this profile");
}

#[test]
fn depth_and_size_are_bounded_before_they_are_paid_for() {
    let limits = PprofLimits::default();
    let deep = |frames: usize| {
        profile_of(1, move |out| {
            put_packed_uints(1, std::iter::repeat_n(1, frames), out);
            put_packed_uints(2, [1], out);
        })
    };
    // A recursion of ten thousand frames is a stack like any other.
    let profile = pprof::read(&deep(10_000), &limits).unwrap();
    assert_eq!(profile.stacks().walk(profile.rows().next().unwrap().stack).count(), 10_000);
    assert!(error(&deep(20_000), &limits).ends_with("more than the 16384 frames in a stack that are taken"));
    // A few bytes per sample that stand for thousands of frames each.
    let mut bomb = profile_of(16_000, |out| {
        put_packed_uints(1, [1], out);
        put_packed_uints(2, [1], out);
    });
    for _ in 0..10_000 {
        put_message(2, &mut bomb, |out| {
            put_packed_uints(1, [1], out);
            put_packed_uints(2, [1], out);
        });
    }
    let few = PprofLimits { frames_walked_max: 1 << 20, ..limits };
    assert!(error(&bomb, &few).ends_with("more than the 1048576 frames in all samples that are taken"));
    let narrow = PprofLimits { stacks_max: 100, ..limits };
    assert!(error(&deep(200), &narrow).ends_with("more than the 100 different stacks that are taken"));
    let packed = gzip::pack(&vec![0; 1 << 20]);
    let small = PprofLimits { bytes_max: 1 << 10, ..limits };
    assert_eq!(error(&packed, &small), "it unpacks to more than the 1024 bytes that are taken");
}

#[test]
fn columns_texts_and_entries_are_bounded_and_a_text_is_checked_once() {
    let limits = PprofLimits::default();
    let sample = |out: &mut Vec<u8>| put_packed_uints(2, [1], out);
    // One text of a megabyte in a million columns would be a terabyte.
    let mut columns = profile_of(1, sample);
    put_text(6, &"x".repeat(1 << 20), &mut columns);
    for _ in 0..64 {
        put_message(1, &mut columns, |out| put_uint(1, 2, out));
    }
    assert!(error(&gzip::pack(&columns), &limits).ends_with("more than the 64 columns that are taken"));
    let mut long = profile_of(1, |out| {
        sample(out);
        put_message(3, out, |out| put_uint(1, 2, out));
    });
    put_text(6, &"x".repeat(1 << 20), &mut long);
    assert!(error(&long, &limits).ends_with("more than the 65536 bytes in a text that are taken"));
    let mut many = profile_of(1, sample);
    for _ in 0..100 {
        put_text(6, "", &mut many);
    }
    let few = PprofLimits { entries_max: 100, ..limits };
    assert!(error(&many, &few).ends_with("more than the 100 entries of all tables that are taken"));
    // Thousands of labels that share one long text: it is checked once.
    let mut shared = profile_of(1, sample);
    put_text(6, &"\u{e9}".repeat(32 << 10), &mut shared);
    for _ in 0..20_000 {
        put_message(2, &mut shared, |out| {
            put_packed_uints(2, [1], out);
            put_message(3, out, |out| [1, 2].iter().for_each(|field| put_uint(*field, 2, out)));
        });
    }
    assert_eq!(pprof::read(&shared, &limits).unwrap().rows().len(), 2);
}

#[test]
fn several_profiles_share_what_one_may_need() {
    let mut room = PprofLimits { stacks_max: 1_000, ..PprofLimits::default() };
    let message = profile_of(1, |out| {
        put_packed_uints(1, std::iter::repeat_n(1, 300), out);
        put_packed_uints(2, [1], out);
    });
    for _ in 0..3 {
        pprof::read_within(&gzip::pack(&message), &mut room).unwrap();
    }
    assert_eq!((64 << 20) - room.bytes_max, 3 * message.len());
    assert_eq!((1 << 27) - room.frames_walked_max, 900);
    let refused = pprof::read_within(&message, &mut room).unwrap_err();
    assert!(refused.to_string().contains("different stacks that are taken"), "{refused}");
}
