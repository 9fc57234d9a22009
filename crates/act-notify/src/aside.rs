//! A damaged outbox is set aside, so that silence does not follow from it.
//!
//! Its files move to `NAME.damaged-N` beside it, where nothing reads or removes them, and an empty outbox takes their
//! place. What they hold is lost for delivery, except what the journal hands over again.
//!
//! Not here: finding damage (`homeostat-store-wal`), deciding that it may be set aside (whoever opens the outbox).

use std::{
    io,
    path::{Path, PathBuf},
};

use homeostat_store_wal::Disk;

/// Damaged outboxes kept at most. Whoever has so many has a disk to replace.
const ASIDE_MAX: u32 = 99;
/// How files of a log end.
const SEGMENT_EXT: &str = "wal";

/// Moves the segments of the log in `dir` away and says where they are. Stopped half-way, it can be repeated: segments
/// move one by one, oldest first.
pub(crate) fn set_aside(dir: &Path, disk: &dyn Disk) -> io::Result<PathBuf> {
    let aside = free_name(dir, disk)?;
    disk.make_dir(&aside)?;
    let mut names = disk.list(dir)?;
    names.retain(|name| Path::new(name).extension().is_some_and(|ext| ext == SEGMENT_EXT));
    names.sort();
    for name in names {
        disk.rename(&dir.join(&name), &aside.join(&name))?;
    }
    // The new names first: a segment may be seen twice after a crash, but never nowhere.
    disk.sync_dir(&aside)?;
    disk.sync_dir(dir)?;
    Ok(aside)
}

fn free_name(dir: &Path, disk: &dyn Disk) -> io::Result<PathBuf> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("outbox");
    let mut candidates = (1..=ASIDE_MAX).map(|n| dir.with_file_name(format!("{name}.damaged-{n}")));
    let free = candidates.find(|aside| disk.list(aside).map_or(true, |names| names.is_empty()));
    free.ok_or_else(|| io::Error::other(format!("{ASIDE_MAX} damaged outboxes are there already; move them away")))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use homeostat_model::{Timestamp, notice::NoticeStatus};
    use homeostat_store_wal::{RealDisk, SimDisk, WalOptions};

    use super::*;
    use crate::{
        message::tests::notice,
        notify::OpenError,
        outbox::{Damaged, Outbox},
    };

    const NOW: Timestamp = Timestamp::from_unix_ms(1_750_000_000_000);

    fn damage(disk: &dyn Disk, dir: &Path, text: &[u8]) {
        let is_segment = |name: &String| Path::new(name).extension().is_some_and(|ext| ext == SEGMENT_EXT);
        let first = disk.list(dir).unwrap().into_iter().filter(is_segment).min().unwrap();
        let mut file = disk.create(&dir.join(first)).unwrap();
        file.append(text).unwrap();
        file.sync().unwrap();
    }

    async fn check(disk: Arc<dyn Disk>, dir: &Path) {
        for round in 1..=3 {
            let (mut outbox, _) =
                Outbox::open(dir, Arc::clone(&disk), WalOptions::default(), NOW, Damaged::Refuse).unwrap();
            outbox.take(&notice("a", NoticeStatus::Firing, ("version", "v2")), NOW);
            outbox.close(Duration::from_mins(1)).await;
            damage(&*disk, dir, b"this is no segment, whatever its name says; it is longer than any header would be");
            let refused = Outbox::open(dir, Arc::clone(&disk), WalOptions::default(), NOW, Damaged::Refuse).err();
            assert!(matches!(refused, Some(OpenError::Log(_))), "{refused:?}");
            let (outbox, kept) =
                Outbox::open(dir, Arc::clone(&disk), WalOptions::default(), NOW, Damaged::SetAside).unwrap();
            let aside = dir.with_file_name(format!("outbox.damaged-{round}"));
            assert_eq!((outbox.set_aside.as_ref(), kept.len()), (Some(&aside), 0));
            assert!(!disk.list(&aside).unwrap().is_empty());
            outbox.close(Duration::from_mins(1)).await;
        }
    }

    #[tokio::test]
    async fn a_damaged_outbox_moves_away_and_another_begins() {
        check(Arc::new(SimDisk::default()), Path::new("/data/outbox")).await;
        let dir = tempfile::tempdir().unwrap();
        check(Arc::new(RealDisk), &dir.path().join("outbox")).await;
    }
}
