//! OpenTelemetry's profiles become profiles of our own.
//!
//! `fixtures/otlp_profiles/request.*` are one request in both encodings, written by Python's `opentelemetry-proto` 1.45.2
//! with `make.py`.
#![expect(clippy::unwrap_used, reason = "tests stop loudly")]

use std::fmt::Write as _;

use expect_test::expect;
use homeostat_model::profile::{Frame, LabelSet, LabelValue, Profile, Stack};
use homeostat_wire::{
    otlp::profiles::{
        ExportError, Exported, PROFILES_MAX, ProfilesVersion, decode_profiles, profiles_protobuf_of_json,
        profiles_response, profiles_response_json,
    },
    pprof::PprofLimits,
    protobuf::{put_bytes, put_message, put_packed_uints, put_text, put_uint},
};
use proptest::prelude::*;

const PROTOBUF: &[u8] = include_bytes!("fixtures/otlp_profiles/request.pb");
const JSON: &[u8] = include_bytes!("fixtures/otlp_profiles/request.json");
const VERSION: ProfilesVersion = ProfilesVersion::V1Development;

fn decode(body: &[u8]) -> Result<Exported, ExportError> {
    decode_profiles(VERSION, body, &PprofLimits::default())
}

/// A stack from the outermost frame inwards.
fn shown_stack(profile: &Profile, stack: Stack) -> String {
    let frame = |frame: &Frame| {
        let (file, inlined) = (profile.text(frame.file), if frame.inlined { " inlined" } else { "" });
        format!("{} {file}:{}{inlined}", profile.frame_name(frame), frame.line)
    };
    let mut frames: Vec<_> = profile.stacks().walk(stack).map(frame).collect();
    frames.reverse();
    frames.join("; ")
}

fn shown_labels(profile: &Profile, labels: LabelSet) -> String {
    let label = |(name, value): &(_, LabelValue)| match value {
        LabelValue::Text(text) => format!("{}={:?}", profile.text(*name), profile.text(*text)),
        LabelValue::Number { value, unit } => format!("{}={value} {}", profile.text(*name), profile.text(*unit)),
    };
    profile.labels(labels).iter().map(label).collect::<Vec<_>>().join(" ")
}

fn show(exported: &Exported) -> String {
    let mut out = String::new();
    for (labels, profile) in &exported.profiles {
        let types: Vec<_> =
            profile.types().iter().map(|counted| format!("{}/{}", counted.kind, counted.unit)).collect();
        writeln!(out, "{} {}", labels.finish(), types.join(" ")).unwrap();
        let (period, unit) = (profile.period, &profile.period_type);
        writeln!(
            out,
            "  at {} for {}, every {period} {}/{}",
            profile.started_ns, profile.duration_ns, unit.kind, unit.unit
        )
        .unwrap();
        for row in profile.rows() {
            let (stack, labels) = (shown_stack(profile, row.stack), shown_labels(profile, row.labels));
            writeln!(out, "{}", format!("  {:?} [{stack}] {labels}", row.values).trim_end()).unwrap();
        }
    }
    writeln!(out, "{} rejected: {}", exported.rejected, exported.message).unwrap();
    out
}

#[test]
fn what_another_implementation_writes_is_read() {
    let read = decode(PROTOBUF).unwrap();
    expect![[r#"
        {host_name="web-17", process_pid="4711", process_runtime_name="go", service_name="shop"} samples/count cpu/nanoseconds
          at 1750000000000000000 for 5000000000, every 10000000 cpu/nanoseconds
          [5, 50000000] [main.main main.go:12; main.serve serve.go:40; _ZN4json6encodeEv json.rs:30 inlined] thread.name="worker-1"
          [40, 400000000] [main.main main.go:12; main.serve serve.go:40; _ZN4json6encodeEv json.rs:30 inlined; libc.so.6+0x1123 :0] batch.size=-3 rows thread.name="worker-2"
        {host_name="web-17", process_pid="4711", service_name="shop"} alloc_space/bytes
          at 1750000000000000000 for 0, every 0 /
          [4096] [main.main main.go:12; main.serve serve.go:40; _ZN4json6encodeEv json.rs:30 inlined; libc.so.6+0x1123 :0]
          [7] []
        1 rejected: the profile at byte 235: there is no stack 9 in the dictionary
    "#]].assert_eq(&show(&read));
    let of_json = decode(&profiles_protobuf_of_json(VERSION, JSON).unwrap()).unwrap();
    let without_place =
        |text: String| text.lines().filter(|line| !line.contains("rejected")).collect::<Vec<_>>().join("\n");
    assert_eq!(without_place(show(&of_json)), without_place(show(&read)));
    assert_eq!(of_json.rejected, 1);
}

#[test]
fn answers_say_what_was_rejected() {
    assert!(profiles_response(0, "").is_empty());
    assert_eq!(profiles_response_json(0, ""), "{}");
    assert_eq!(profiles_response(1, "no"), [0x0a, 6, 0x08, 1, 0x12, 2, b'n', b'o']);
    assert_eq!(profiles_response_json(1, "no"), r#"{"partialSuccess":{"errorMessage":"no","rejectedProfiles":"1"}}"#);
}

#[test]
fn an_older_state_of_the_protocol_is_told_as_that() {
    // Its profiles had a list of locations where the time is now, and requests had no dictionary at all.
    let profile = |content: &dyn Fn(&mut Vec<u8>)| {
        let mut body = Vec::new();
        put_message(1, &mut body, |out| put_message(2, out, |out| put_message(2, out, |out| content(out))));
        body
    };
    assert!(matches!(decode(&profile(&|_| {})), Err(ExportError::NoDictionary)));
    let mut older = profile(&|out| put_packed_uints(3, [1, 2, 3], out));
    put_message(2, &mut older, |_| {});
    let error = decode(&older).unwrap_err();
    assert!(matches!(error, ExportError::Malformed { .. }) && error.to_string().contains("table of stacks"), "{error}");
}

/// A request with these tables and this profile.
fn request(dictionary: impl FnOnce(&mut Vec<u8>), profiles: usize, profile: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    request_of(dictionary, |_| {}, profiles, profile)
}

fn request_of(
    dictionary: impl FnOnce(&mut Vec<u8>),
    resource: impl FnOnce(&mut Vec<u8>),
    profiles: usize,
    profile: impl Fn(&mut Vec<u8>),
) -> Vec<u8> {
    let mut body = Vec::new();
    put_message(2, &mut body, dictionary);
    put_message(1, &mut body, |out| {
        put_message(1, out, resource);
        put_message(2, out, |out| {
            for _ in 0..profiles {
                put_message(2, out, |out| {
                    put_message(1, out, |out| put_uint(1, 1, out));
                    profile(out);
                });
            }
        });
    });
    body
}

#[test]
fn a_profile_that_makes_no_sense_is_refused_by_itself() {
    let texts = |out: &mut Vec<u8>| {
        put_text(5, "", out);
        put_text(5, "wall", out);
        put_message(7, out, |_| {});
        put_message(7, out, |out| put_uint(1, 5, out));
    };
    let sample = |fields: &[(u32, u64)]| {
        let fields = fields.to_vec();
        move |out: &mut Vec<u8>| {
            put_message(2, out, |out| fields.iter().for_each(|(number, value)| put_uint(*number, *value, out)));
        }
    };
    for (bad, expected) in [
        (sample(&[(1, 2), (4, 1)]), "there is no stack 2 in the dictionary"),
        (sample(&[(1, 1), (4, 1)]), "there is no location 5 in the dictionary"),
        (sample(&[(1, u64::MAX), (4, 1)]), "there is no stack 18446744073709551615 in the dictionary"),
        (sample(&[(2, 0), (4, 1)]), "there is no attribute 0 in the dictionary"),
        (sample(&[(1, 0)]), "a sample without values and instants"),
    ] {
        let read = decode(&request(texts, 2, bad)).unwrap();
        assert_eq!((read.profiles.len(), read.rejected), (0, 2));
        assert!(read.message.contains(expected), "{}", read.message);
    }
    let read = decode(&request(texts, 3, sample(&[(4, u64::MAX), (4, 3)]))).unwrap();
    let total = read.profiles.first().unwrap().1.total(0);
    assert_eq!((read.profiles.len(), read.rejected, total), (3, 0, 2), "-1 and 3 without a stack");
}

#[test]
fn one_text_does_not_fill_memory_by_being_pointed_to() {
    let long = "x".repeat(60_000);
    let texts = |out: &mut Vec<u8>| {
        put_text(5, "", out);
        put_text(5, &long, out);
    };
    let limits = PprofLimits { bytes_max: 1 << 20, ..PprofLimits::default() };
    let body = request(texts, 30, |_| {});
    assert!(body.len() < 100_000);
    let error = decode_profiles(VERSION, &body, &limits).unwrap_err();
    assert!(matches!(error, ExportError::TooMany { what: "bytes in the texts of all profiles", .. }), "{error}");
    assert!(decode_profiles(VERSION, &request(texts, 10, |_| {}), &limits).is_ok());
}

/// What there is too much of in a request.
fn too_many(body: &[u8], limits: &PprofLimits) -> &'static str {
    match decode_profiles(VERSION, body, limits) {
        Err(ExportError::TooMany { what, .. }) => what,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn copies_are_charged_before_they_are_made() {
    let limits = PprofLimits { bytes_max: 1 << 20, ..PprofLimits::default() };
    // Nothing of it is kept: the only profile does not say what it counts.
    let nobody = |out: &mut Vec<u8>| put_message(1, out, |out| put_uint(1, 0, out));
    let pointing = |times: usize| {
        move |out: &mut Vec<u8>| {
            for _ in 0..times {
                put_message(1, out, |out| {
                    put_uint(3, 1, out);
                    put_message(2, out, |out| put_uint(8, 1, out));
                });
            }
        }
    };
    // No byte of it is UTF-8, so each becomes three.
    let bad_text = |len: usize| {
        move |out: &mut Vec<u8>| {
            put_text(5, "", out);
            put_bytes(5, &vec![0xff; len], out);
        }
    };
    assert_eq!(too_many(&request_of(bad_text(70_000), pointing(0), 1, nobody), &limits), "bytes in a text");
    assert_eq!(too_many(&request_of(bad_text(60_000), pointing(1), 1, nobody), &limits), "bytes in a text");
    let all = too_many(&request_of(bad_text(20_000), pointing(9), 1, nobody), &limits);
    assert_eq!(all, "bytes in the texts of all profiles", "9 keys and 9 values of 60 kB");
    assert!(decode_profiles(VERSION, &request_of(bad_text(20_000), pointing(8), 1, nobody), &limits).is_ok());
}

#[test]
fn values_of_attributes_are_as_long_as_texts_at_most() {
    let value = |len: usize| {
        move |out: &mut Vec<u8>| {
            put_text(5, "", out);
            // Fields that mean nothing, and at last a text.
            put_message(6, out, |out| {
                put_message(2, out, |out| {
                    (0..len / 2).for_each(|_| put_uint(15, 1, out));
                    put_text(1, "web-1", out);
                });
            });
        }
    };
    assert_eq!(too_many(&request(value(70_000), 1, |_| {}), &PprofLimits::default()), "bytes in a text");
    assert!(decode(&request(value(60_000), 1, |_| {})).is_ok());
}

#[test]
fn what_many_profiles_share_is_charged_for_each() {
    let texts = |out: &mut Vec<u8>| {
        put_text(5, "", out);
        put_text(5, "wall", out);
        put_message(7, out, |_| {});
        // Ten fields that mean nothing.
        put_message(7, out, |out| (0..10).for_each(|_| put_uint(9, 1, out)));
    };
    let fine = PprofLimits::default();
    assert_eq!(decode(&request(texts, PROFILES_MAX, |_| {})).unwrap().profiles.len(), PROFILES_MAX);
    assert_eq!(too_many(&request(texts, PROFILES_MAX + 1, |_| {}), &fine), "profiles");
    let twenty = |out: &mut Vec<u8>| {
        for _ in 0..20 {
            put_message(1, out, |out| put_text(1, "zone", out));
        }
    };
    let limits = PprofLimits { entries_max: 100, ..fine };
    assert_eq!(too_many(&request_of(texts, twenty, 5, |_| {}), &limits), "entries of all tables");
    assert!(decode_profiles(VERSION, &request_of(texts, twenty, 4, |_| {}), &limits).is_ok());
    let sample = |out: &mut Vec<u8>| {
        put_message(2, out, |out| {
            put_uint(1, 1, out);
            put_uint(4, 1, out);
        });
    };
    let limits = PprofLimits { frames_walked_max: 40, ..fine };
    assert_eq!(too_many(&request(texts, 5, sample), &limits), "frames in all stacks");
    assert!(decode_profiles(VERSION, &request(texts, 4, sample), &limits).is_ok());
}

#[test]
fn limits_hold_for_all_profiles_together() {
    let texts = |out: &mut Vec<u8>| {
        put_text(5, "", out);
        put_text(5, "wall", out);
        put_message(2, out, |_| {});
        put_message(2, out, |_| {});
        put_message(7, out, |_| {});
        put_message(7, out, |out| put_packed_uints(1, vec![1; 500], out));
    };
    let sample = |out: &mut Vec<u8>| {
        put_message(2, out, |out| {
            put_uint(1, 1, out);
            put_uint(4, 1, out);
        });
    };
    let of = |profiles, limits: PprofLimits| decode_profiles(VERSION, &request(texts, profiles, sample), &limits);
    let fine = PprofLimits::default();
    assert_eq!(of(4, fine).unwrap().profiles.len(), 4);
    for (limits, expected) in [
        (PprofLimits { stack_frames_max: 499, ..fine }, "frames in a stack"),
        (PprofLimits { frames_walked_max: 3_999, ..fine }, "frames in all stacks"),
        (PprofLimits { stacks_max: 1_999, ..fine }, "different stacks"),
        (PprofLimits { entries_max: 14, ..fine }, "entries of all tables"),
        (PprofLimits { bytes_max: 100, ..fine }, "bytes"),
    ] {
        match of(4, limits) {
            Err(ExportError::TooMany { what, .. }) => assert_eq!(what, expected),
            other => panic!("{other:?} instead of {expected}"),
        }
    }
}

proptest! {
    #[test]
    fn any_change_of_a_byte_ends(at in 0..PROTOBUF.len(), byte: u8, cut in 0..PROTOBUF.len()) {
        let mut body = PROTOBUF.to_vec();
        if let Some(slot) = body.get_mut(at) {
            *slot = byte;
        }
        drop(decode(&body));
        body.truncate(cut);
        drop(decode(&body));
    }
}
