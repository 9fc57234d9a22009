//! Flipped bits, cut files, lost files: each is noticed where it is, and repaired without losing what lies before.

use homeostat_store_wal::{
    Disk, Flush, OpenError, RepairError, SimDisk,
    repair::repair,
    segment::{End, file_name},
    survey,
};

use super::*;

/// Three segments of eight records; the last is sealed, or left open as by a kill.
fn three_segments(sealed: bool) -> SimDisk {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, every_record());
    for n in 1..=24_u64 {
        let payload = format!("record {n}");
        let ticket = if n % 8 == 1 {
            wal.append_in_new_segment(payload.as_bytes(), Flush::Now)
        } else {
            wal.append(payload.as_bytes(), Flush::Now)
        };
        settle(&ticket.unwrap());
    }
    if sealed {
        close(wal);
    } else {
        disk.kill();
    }
    disk
}

/// Records, damage, void bytes; see [`look`].
type Looked = (Vec<(u64, String)>, Vec<(u32, u64)>, Option<(u32, u64)>);

/// What a survey says: intact records, where damage stands, and where bytes stand that nobody had acknowledged: in the
/// torn tail of the newest segment, or behind the place where the next one goes on.
fn look(disk: &SimDisk) -> Looked {
    let mut records = Vec::new();
    let found = survey(disk, dir(), &mut |seq, payload| records.push((seq, text(payload)))).unwrap();
    let damage = found.damage.iter().map(|damage| (damage.segment, damage.offset)).collect();
    let void = |end: &End| matches!(end, End::Torn { .. } | End::Continued { .. });
    let torn = found.segments.iter().find(|s| void(&s.walk.end)).map(|s| (s.number, s.walk.offset));
    (records, damage, torn)
}

#[test]
fn every_flipped_bit_is_reported_with_segment_and_offset() {
    let (mut damaged, mut torn_tails, mut seals) = (0, 0, 0);
    for sealed in [true, false] {
        let pristine = three_segments(sealed);
        for segment in 1..=3 {
            let len = file(&pristine, segment).len();
            for bit in 0..len * 8 {
                let disk = three_segments_of(&pristine);
                disk.edit(&dir().join(file_name(segment)), |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).unwrap();
                let (records, damage, torn) = look(&disk);
                let originals = numbered(1..=24);
                assert!(
                    records.iter().all(|r| originals.contains(r)),
                    "a wrong record: sealed {sealed} {segment} {bit}"
                );
                match (damage.as_slice(), torn) {
                    ([(at, offset)], None) => {
                        assert!(*at == segment && *offset <= bit as u64 / 8, "{at}@{offset}, bit {bit} of {segment}");
                        damaged += 1;
                    }
                    ([], Some((at, offset))) if records == originals => {
                        // A seal: nothing is lost with it, and the spot is named all the same.
                        assert!(at == segment && offset <= bit as u64 / 8, "bit {bit} of {segment}");
                        seals += 1;
                    }
                    ([], Some((at, offset))) => {
                        // Only the last commit of a log that nobody closed looks like one that was never acknowledged.
                        assert!(!sealed && at == segment && offset <= bit as u64 / 8, "bit {bit} of {segment}");
                        assert_eq!(records, numbered(1..=23), "bit {bit}");
                        torn_tails += 1;
                    }
                    other => panic!("unnoticed or doubled: sealed {sealed}, bit {bit} of segment {segment}: {other:?}"),
                }
            }
        }
    }
    println!("flips: {damaged} damage, {seals} in a seal, {torn_tails} a torn tail, none unnoticed");
    assert!(torn_tails > 0 && seals > 0 && damaged > 4 * (torn_tails + seals));
}

fn three_segments_of(pristine: &SimDisk) -> SimDisk {
    let disk = SimDisk::default();
    for number in 1..=3 {
        let path = dir().join(file_name(number));
        disk.create(&path).unwrap().append(&file(pristine, number)).unwrap();
    }
    disk
}

#[test]
fn every_cut_is_damage_in_old_segments_and_a_torn_tail_in_the_newest() {
    let pristine = three_segments(false);
    for segment in 1..=3 {
        for keep in 0..file(&pristine, segment).len() {
            let disk = three_segments_of(&pristine);
            disk.edit(&dir().join(file_name(segment)), |bytes| bytes.truncate(keep)).unwrap();
            let (records, damage, _) = look(&disk);
            let header_gone = keep < 24;
            // The seal of an old segment is not needed: the next header says where the log goes on.
            let only_seal_gone = file(&pristine, segment).len() - keep <= 17;
            let expect_damage = header_gone || segment < 3 && !only_seal_gone;
            assert_eq!(!damage.is_empty(), expect_damage, "segment {segment} cut to {keep}: {damage:?}");
            assert!(records.iter().all(|r| numbered(1..=24).contains(r)));
            if !expect_damage && segment == 3 {
                assert!(records.starts_with(&numbered(1..=16)));
            }
        }
    }
}

#[test]
fn a_damaged_log_does_not_open_until_it_is_repaired() {
    let disk = three_segments(true);
    let flipped = file(&disk, 2).len() / 2;
    disk.edit(&dir().join(file_name(2)), |bytes| bytes[flipped] ^= 4).unwrap();
    let before = file(&disk, 2);
    let error = Wal::open(dir(), every_record(), Arc::new(disk.clone())).unwrap_err();
    let OpenError::Damaged { source: damage, .. } = &error else { panic!("{error}") };
    let offset = damage.offset as usize;
    assert_eq!(
        error.to_string(),
        format!(
            "segment 00000002 in /log is corrupt at byte {offset}; `homeostat wal repair /log --segment 2` keeps every record before it"
        )
    );

    let repaired = repair(&disk, dir(), 2).unwrap();
    assert_eq!(repaired.side_file.as_deref(), Some("00000002.damaged"));
    let side = disk.read(&dir().join("00000002.damaged"), 1 << 20).unwrap();
    assert_eq!(side, before[offset..], "what was cut is kept");
    let kept = 8 + repaired.records_kept;
    let left = contents(&disk);
    assert_eq!(left, [numbered(1..=kept), numbered(17..=24)].concat());
    assert!(matches!(repair(&disk, dir(), 2), Err(RepairError::Intact { segment: 2 })));

    let (wal, recovered) = open(&disk, every_record());
    assert_eq!(recovered.next_seq, 25);
    assert!(matches!(recovered.survey.segments[1].walk.end, End::Repaired { missing } if missing == 16 - kept));
    append_numbered(&wal, 25..=25);
}

/// Repairs whatever one flip does to a log, and shows that it opens, keeps what lies before, and gives no number twice.
#[test]
fn every_flip_can_be_repaired() {
    for sealed in [true, false] {
        let pristine = three_segments(sealed);
        for segment in 1..=3_u32 {
            for byte in 0..file(&pristine, segment).len() {
                let disk = three_segments_of(&pristine);
                disk.edit(&dir().join(file_name(segment)), |bytes| bytes[byte] ^= 0x10).unwrap();
                let (before, damage, _) = look(&disk);
                let case = format!("sealed {sealed}, byte {byte} of segment {segment}");
                if let [(damaged, _)] = damage.as_slice() {
                    match repair(&disk, dir(), *damaged) {
                        Err(RepairError::Newer { .. }) => panic!("{case}: a flip passes as a newer version"),
                        repaired => assert!(repaired.is_ok(), "{case}: {repaired:?}"),
                    }
                }
                let (wal, recovered) = open(&disk, every_record());
                let after: Vec<_> = wal.read(1).map(|r| r.map(|r| (r.seq, text(&r.payload))).unwrap()).collect();
                assert!(before.iter().all(|record| after.contains(record)), "{case}: repairing lost a record");
                assert!(after.iter().all(|record| numbered(1..=24).contains(record)), "{case}: {after:?}");
                let lost_at_end = segment == 3 && damage.is_empty();
                assert!(recovered.next_seq >= 25 || lost_at_end, "{case}: numbers would be given twice");
                append_numbered(&wal, recovered.next_seq..=recovered.next_seq);
            }
        }
    }
}

#[test]
fn a_lost_file_is_a_hole_that_repair_acknowledges() {
    let disk = three_segments(true);
    disk.remove(&dir().join(file_name(2))).unwrap();
    let (_, damage, _) = look(&disk);
    assert!(matches!(damage.as_slice(), [(1, _)]), "{damage:?}");
    assert_eq!(repair(&disk, dir(), 1).unwrap().records_kept, 8);
    assert_eq!(contents(&disk), [numbered(1..=8), numbered(17..=24)].concat());
}

#[test]
fn a_torn_tail_is_ignored_and_can_be_cut_off() {
    let disk = three_segments(false);
    disk.edit(&dir().join(file_name(3)), |bytes| bytes.truncate(bytes.len() - 3)).unwrap();
    let (wal, recovered) = open(&disk, every_record());
    let torn = recovered.torn_tail.unwrap();
    assert_eq!((torn.segment, recovered.next_seq), (3, 24));
    close(wal);
    assert_eq!(repair(&disk, dir(), 3).unwrap().bytes_cut, torn.bytes);
    let (wal, recovered) = open(&disk, every_record());
    assert_eq!((recovered.torn_tail, recovered.next_seq), (None, 24));
    append_numbered(&wal, 24..=24);
    close(wal);
    assert_eq!(contents(&disk), numbered(1..=24));
}

#[test]
fn repairing_what_is_not_there_or_in_use_is_refused() {
    let disk = three_segments(true);
    assert!(matches!(repair(&disk, dir(), 9), Err(RepairError::NoSegment { segment: 9, .. })));
    let (wal, _) = open(&disk, every_record());
    assert!(matches!(repair(&disk, dir(), 1), Err(RepairError::Open(OpenError::Locked { .. }))));
    close(wal);
}
