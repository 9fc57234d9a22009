//! Log files of the past: they keep being read, and their damage keeps being named, byte for byte.
//!
//! `clean` was closed, `killed` was not, the others are `clean` with one thing wrong each; `docs/format/wal.md` says
//! how to look at them.

use std::path::PathBuf;

use expect_test::{Expect, expect};
use homeostat_store_wal::{RealDisk, survey};

fn check(name: &str, expected: &Expect) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let mut said = String::new();
    let mut records = Vec::new();
    let found = survey(&RealDisk, &dir, &mut |seq, payload| {
        records.push(format!("{seq}:{}", String::from_utf8_lossy(payload)));
    })
    .unwrap();
    for segment in &found.segments {
        let line = format!(
            "{:08} from {:?} to byte {} {:?}\n",
            segment.number, segment.first_seq, segment.walk.offset, segment.walk.end
        );
        said.push_str(&line);
    }
    said.push_str(&records.join(" "));
    said.push('\n');
    expected.assert_eq(&said);
}

#[test]
fn old_and_damaged_logs() {
    check(
        "clean",
        &expect![[r"
        00000001 from Some(1) to byte 79 Sealed
        00000002 from Some(4) to byte 81 Sealed
        1:alpha 2:beta 3:gamma 4:delta 5:epsilon 6:zeta
    "]],
    );
    check(
        "killed",
        &expect![[r"
        00000001 from Some(1) to byte 79 Sealed
        00000002 from Some(4) to byte 64 Open
        1:alpha 2:beta 3:gamma 4:delta 5:epsilon 6:zeta
    "]],
    );
    check(
        "torn",
        &expect![[r"
        00000001 from Some(1) to byte 79 Sealed
        00000002 from Some(4) to byte 52 Torn { bytes: 10 }
        1:alpha 2:beta 3:gamma 4:delta 5:epsilon
    "]],
    );
    check(
        "flipped",
        &expect![[r"
        00000001 from Some(1) to byte 24 Damaged(Frame(Checksum { stored: 2605578237, computed: 1281942390 }))
        00000002 from Some(4) to byte 81 Sealed
        4:delta 5:epsilon 6:zeta
    "]],
    );
    check(
        "missing",
        &expect![[r"
        00000001 from Some(1) to byte 62 Damaged(Missing { from: 4, to: 8 })
        00000003 from Some(9) to byte 36 Open
        1:alpha 2:beta 3:gamma 9:iota
    "]],
    );
    check(
        "header",
        &expect![[r"
        00000001 from Some(1) to byte 79 Sealed
        00000002 from None to byte 0 Damaged(Header(Checksum { stored: 2717092494, computed: 3905943465 }))
        1:alpha 2:beta 3:gamma
    "]],
    );
    check(
        "newer",
        &expect![[r"
        00000001 from Some(1) to byte 79 Sealed
        00000002 from None to byte 0 Damaged(Header(Version { found: 2 }))
        1:alpha 2:beta 3:gamma
    "]],
    );
    check(
        "repaired",
        &expect![[r"
        00000001 from Some(1) to byte 54 Repaired { missing: 2 }
        00000002 from Some(4) to byte 81 Sealed
        1:alpha 4:delta 5:epsilon 6:zeta
    "]],
    );
}
