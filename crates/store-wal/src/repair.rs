//! Repair of one damaged segment: keeps every record before the damage, and sets the rest aside.
//!
//! The cut bytes go to `NNNNNNNN.damaged` beside the segment, so that nothing is destroyed by repairing. The segment
//! then ends with a seal that says how many records are missing; from then on the log opens again, and whoever reads
//! it can see the hole.
//!
//! Not here: finding damage (`survey`).
//! Invariants: the side file is durable before the segment changes; the segment is replaced as a whole; numbers of
//! lost records are never given again.

use std::path::Path;

use homeostat_wire::wal_record::{
    FRAME_HEADER_BYTES, Mark, SEGMENT_HEADER_BYTES, Seal, SealKind, SegmentHeader, encode,
};

use crate::{
    disk::{DirLock, Disk, replace},
    error::{DamageKind, OpenError, RepairError},
    segment::{End, SEGMENT_BYTES_MAX, file_name, walk},
    survey::{Survey, SurveyedSegment, survey},
    wal::take_dir,
};

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The segment.
    pub segment: u32,
    /// Records kept in it.
    pub records_kept: u64,
    /// Bytes set aside.
    pub bytes_cut: u64,
    /// Name of the file that holds them; `None` when nothing was cut.
    pub side_file: Option<String>,
}

/// Repairs one segment of the log in `dir`. Takes the directory, so it fails while a process uses the log.
pub fn repair(disk: &dyn Disk, dir: &Path, segment: u32) -> Result<Repaired, RepairError> {
    let lock = take_dir(disk, dir)?;
    repair_held(disk, dir, &*lock, segment)
}

/// Repairs one segment of the log in `dir`, which the caller has taken with `_held`.
pub fn repair_held(disk: &dyn Disk, dir: &Path, _held: &dyn DirLock, segment: u32) -> Result<Repaired, RepairError> {
    let survey = survey(disk, dir, &mut |_, _| {})?;
    let index = survey.segments.iter().position(|s| s.number == segment);
    let found = index.and_then(|index| survey.segments.get(index).map(|s| (index, s)));
    let (index, found) = found.ok_or_else(|| RepairError::NoSegment { segment, dir: dir.to_owned() })?;
    match &found.walk.end {
        End::Damaged(DamageKind::Header(homeostat_wire::wal_record::HeaderError::Version { .. })) => {
            return Err(RepairError::Newer { segment });
        }
        End::Damaged(_) | End::Torn { .. } => {}
        _ => return Err(RepairError::Intact { segment }),
    }
    let io = |what| move |source| RepairError::Open(OpenError::Io { what, path: dir.to_owned(), source });
    let bytes = disk.read(&dir.join(file_name(segment)), SEGMENT_BYTES_MAX).map_err(io("read the segment in"))?;
    let plan = Plan::of(&survey, index, found, &bytes);
    let (kept, cut) = (plan.contents, plan.cut);
    let side_file = if cut.is_empty() { None } else { Some(free_name(disk, dir, segment).map_err(io("list"))?) };
    if let Some(name) = &side_file {
        replace(disk, dir, name, cut).map_err(io("write the side file in"))?;
    }
    replace(disk, dir, &file_name(segment), &kept).map_err(io("replace the segment in"))?;
    Ok(Repaired { segment, records_kept: plan.records, bytes_cut: cut.len() as u64, side_file })
}

/// What the segment becomes.
struct Plan<'a> {
    contents: Vec<u8>,
    records: u64,
    cut: &'a [u8],
}

impl<'a> Plan<'a> {
    fn of(survey: &Survey, index: usize, found: &SurveyedSegment, bytes: &'a [u8]) -> Self {
        let next_first = survey.segments.get(index + 1).and_then(|next| next.first_seq);
        let before = index.checked_sub(1).and_then(|index| survey.segments.get(index));
        // The header is rebuilt when it is damaged or contradicts the segment before.
        let reached = before.map(|before| before.walk.next_seq);
        let sound = found.first_seq.filter(|first| reached.is_none_or(|reached| reached <= *first));
        let frames = bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default();
        let first_seq = sound.or(reached).or_else(|| guess_first(frames, next_first)).unwrap_or(1);
        let kept = walk(frames, first_seq, next_first, &mut |_, _, _| {});
        let keep = (kept.offset as usize).min(bytes.len()).max(SEGMENT_HEADER_BYTES);
        // A seal that is damaged itself is replaced, not kept in front of the new one.
        let sealed =
            matches!(kept.end, End::Sealed | End::Repaired { .. } | End::Damaged(DamageKind::BehindSeal { .. }));
        let mut contents = SegmentHeader { first_seq }.encode().to_vec();
        contents.extend_from_slice(bytes.get(SEGMENT_HEADER_BYTES..keep).unwrap_or_default());
        let cut = bytes.get(keep..).unwrap_or_default();
        let torn = matches!(found.walk.end, End::Torn { .. });
        if !sealed {
            let reached = first_seq + kept.records;
            // A lost record takes a frame header and a byte at least; its number must not be given again.
            let lost_max = if torn { 0 } else { cut.len() / (FRAME_HEADER_BYTES + 1) };
            let next_seq = next_first.filter(|next| reached <= *next).unwrap_or(reached + lost_max as u64);
            let kind = if next_seq == reached { SealKind::Complete } else { SealKind::Repaired };
            // A seal's payload has nine bytes, which always fit.
            encode(Mark::Seal, &Seal { kind, next_seq }.payload(), &mut contents).ok();
        }
        Self { contents, records: kept.records, cut }
    }
}

/// Where a first segment with a damaged header must begin for its intact records to reach the next one.
fn guess_first(frames: &[u8], next_first: Option<u64>) -> Option<u64> {
    let next_first = next_first?;
    let counted = walk(frames, 1, None, &mut |_, _, _| {}).records;
    next_first.checked_sub(counted).filter(|first| *first > 0)
}

/// A side file's name that is not taken yet: repairing twice must not overwrite the first evidence.
fn free_name(disk: &dyn Disk, dir: &Path, segment: u32) -> std::io::Result<String> {
    let names = disk.list(dir)?;
    let candidates = (1_u32..).map(|turn| match turn {
        1 => format!("{segment:08}.damaged"),
        turn => format!("{segment:08}.damaged-{turn}"),
    });
    let free = candidates.take(names.len() + 1).find(|name| !names.contains(name));
    Ok(free.unwrap_or_else(|| format!("{segment:08}.damaged")))
}
