//! Who else may read the data directory: it holds names of services, reasons that people gave, redacted paths.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

/// Says so in the log when others than the owner may read or enter the directory. Directories that Homeostat makes are
/// closed; one that was there before keeps its mode, for somebody may rely on it.
pub(super) fn warn_if_open_to_others(dir: &Path) {
    // A directory that cannot be looked at is the journal's trouble, which tells it better.
    if let Some(remedy) = std::fs::metadata(dir).ok().and_then(|meta| remedy(dir, meta.permissions().mode())) {
        tracing::warn!(dir = %dir.display(), "{remedy}");
    }
}

fn remedy(dir: &Path, mode: u32) -> Option<String> {
    let who = match (mode & 0o070 != 0, mode & 0o007 != 0) {
        (false, false) => return None,
        (true, false) => "its group",
        (_, true) => "everybody",
    };
    let (bits, dir) = (mode & 0o777, dir.display());
    Some(format!("the data directory is open to {who} (mode {bits:03o}); close it with `chmod 700 {dir}`"))
}

#[cfg(test)]
mod tests {
    use homeostat_store_wal::{Disk as _, RealDisk};

    use super::*;

    #[test]
    fn directories_that_we_make_are_closed_and_open_ones_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new/data");
        RealDisk.make_dir(&dir).unwrap();
        let mode = |dir: &Path| std::fs::metadata(dir).unwrap().permissions().mode();
        assert_eq!(mode(&dir) & 0o777, 0o700);
        assert_eq!(remedy(&dir, mode(&dir)), None);

        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        RealDisk.make_dir(&dir).unwrap();
        assert_eq!(mode(&dir) & 0o777, 0o755, "an existing one stays as it is");
        for (mode, who) in
            [(0o40_755, "everybody (mode 755)"), (0o40_750, "its group (mode 750)"), (0o40_701, "everybody")]
        {
            let said = remedy(Path::new("/data"), mode).unwrap();
            assert!(said.contains(who) && said.ends_with("`chmod 700 /data`"), "{said}");
        }
    }
}
