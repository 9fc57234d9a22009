//! A real file system that really is full: a tmpfs of one megabyte, where the system lets us mount one.

use std::{path::Path, process::Command};

use homeostat_store_events::{RealDisk, WaitError};

use super::*;

/// A mounted tmpfs; unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|out| out.status.success()).then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}

#[test]
fn a_really_full_disk_is_survived_and_reported() {
    let Some(tmpfs) = Tmpfs::mount() else {
        println!("SKIPPED: mounting a tmpfs is not allowed here; the simulated disk covers the same paths");
        return;
    };
    let spec = StoreSpec { dir: tmpfs.path().join("data"), ..spec() };
    let (journal, _) = Journal::open(spec.clone(), Arc::new(RealDisk)).unwrap();
    settle(&step(&journal, at(0), "{\"n\":0}", "[]"));
    let filler = tmpfs.path().join("filler");
    // Fails in the end: that is the point.
    std::fs::write(&filler, vec![1; 2 << 20]).unwrap_err();

    let padding = "x".repeat(10_000);
    let ticket = step(&journal, at(1), &format!("{{\"n\":1,\"padding\":\"{padding}\"}}"), "[]");
    let refused = ticket.wait(PATIENCE).unwrap_err();
    assert!(matches!(&refused, WaitError::Failing(said) if said.contains("No space left")), "{refused}");
    std::fs::remove_file(&filler).unwrap();
    while let Err(error) = ticket.wait(PATIENCE) {
        assert!(matches!(error, WaitError::Failing(_)), "{error}");
        std::thread::yield_now();
    }
    assert_eq!(journal.health().wal.trouble, None);
    close(journal);
    let (_journal, recovery) = Journal::open(spec, Arc::new(RealDisk)).unwrap();
    assert_eq!(tell(recovery.entries).len(), 2);
}
