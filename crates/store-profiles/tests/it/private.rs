//! What must not be kept is nowhere: not in the log, not in the objects, packed or unpacked.

use std::{fs, path::Path, time::Duration};

use homeostat_model::{
    Labels,
    profile::{Frame, LabelValue, Profile, Stack, Text, ValueType},
};
use homeostat_profile::Redaction;
use homeostat_store_profiles::StoreOptions;
use homeostat_store_wal::{RealDisk, survey};
use homeostat_wire::profiles::{Footer, PageRef, decode_trailer, open_part};

use crate::support::{Bench, T0};

const SECRETS: [&str; 8] =
    ["web-17.corp", "/checkout/4711", "hunter2", "alice", "internal.example", "token=abc", "carol", "dave"];

fn telling() -> (Labels, Profile) {
    let home = |user: &str| format!("{}home/{user}/x", "/");
    let mut profile = Profile::new(vec![ValueType::new("cpu", &home("carol"))]);
    profile.period_type = ValueType::new(&home("dave"), "nanoseconds");
    profile.started_ns = T0 * 1_000_000;
    let function = profile.intern("main.serve");
    let file = profile.intern(concat!("/", "home/alice/shop/serve.go"));
    let module = profile.intern("https://bob:hunter2@internal.example/shop?token=abc");
    let frame = Frame { function, file, line: 1, module, address: 0, inlined: false };
    let stack = profile.push_frame(Stack::EMPTY, frame);
    let mut pairs = Vec::new();
    for (name, value) in [("http.path", "/checkout/4711"), ("note", "see http://internal.example/x"), ("tier", "gold")]
    {
        pairs.push((profile.intern(name), LabelValue::Text(profile.intern(value))));
    }
    let unit = profile.intern(&home("carol"));
    pairs.push((profile.intern(&home("dave")), LabelValue::Number { value: 1, unit }));
    pairs.push((profile.intern("host_id"), LabelValue::Number { value: 4711, unit: Text::EMPTY }));
    let labels = profile.intern_labels(pairs);
    profile.add(stack, labels, &[10]);
    (
        Labels::new([("service_name", "shop"), ("hostname", "web-17.corp"), ("zone", "north"), (&*home("carol"), "x")]),
        profile,
    )
}

/// All bytes of the store, unpacked: records of the log, parts of the objects, and the files as they are.
fn everything(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    let read = survey(&RealDisk, &dir.join("log"), &mut |_, record| all.extend(open_part(record).unwrap()));
    assert!(read.unwrap().damage.is_empty());
    for shard in fs::read_dir(dir.join("objects/shards")).into_iter().flatten() {
        for object in fs::read_dir(shard.unwrap().path()).unwrap() {
            let bytes = fs::read(object.unwrap().path()).unwrap();
            let part = |at: PageRef| open_part(&bytes[at.offset as usize..at.end() as usize]).unwrap();
            let footer = part(decode_trailer(&bytes, bytes.len() as u64).unwrap());
            all.extend(&footer);
            for partition in Footer::decode(&footer).unwrap().partitions {
                all.extend(part(partition.symbols));
                partition.series.iter().flat_map(|series| &series.pages).for_each(|page| all.extend(part(page.part)));
            }
            all.extend(bytes);
        }
    }
    all
}

fn kept(redaction: Redaction) -> String {
    let bench = Bench::new();
    let (store, _) = bench.open_with(StoreOptions { redaction, retention: None, ..StoreOptions::default() }, T0);
    let (labels, profile) = telling();
    let _durable = store.push(&labels, &profile, T0).unwrap().wait(Duration::from_mins(1)).unwrap();
    let log_only = everything(bench.dir.path());
    store.flush();
    drop(store);
    let all = [log_only, everything(bench.dir.path())].concat();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn nothing_private_is_anywhere_in_the_store() {
    let text = kept(Redaction::default());
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} was kept");
    }
    for shown in ["main.serve", "gold", "north", "<redacted>", "<user>", "<url>"] {
        assert!(text.contains(shown), "{shown} is gone");
    }
    // The test would see them: texts share beginnings in the table, so each is looked for by its end.
    let text = kept(Redaction::nothing());
    for secret in SECRETS {
        assert!(text.contains(secret), "{secret}");
    }
}

#[test]
fn patterns_are_the_users() {
    let text = kept(Redaction::new("tier|zone", &[("main\\.", "")]).unwrap());
    for (word, there) in [("gold", false), ("north", false), ("main.", false), ("serve", true), ("web-17.corp", true)] {
        assert_eq!(text.contains(word), there, "{word}");
    }
}
