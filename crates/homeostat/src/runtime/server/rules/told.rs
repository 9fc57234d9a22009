//! The alerts that webhooks were told of and not yet that they are over: in memory, and in a file for the next start.
//!
//! Without it, an alert that ends while the process is down, or together with its rule, would stay open at its receivers
//! for ever, and one that goes on over a restart would be told twice.
//!
//! Invariant: the file is replaced as a whole, so that a crash leaves the old one or the new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use homeostat_model::{Labels, TimeMs};
use serde::{Deserialize, Serialize};

/// Alerts that webhooks may be told of and are not over; others wait. 20,000 of 1 KiB are 20 MiB, and nobody reads more.
pub(super) const TOLD_MAX: usize = 20_000;
/// Bytes of the file that are read: what [`TOLD_MAX`] alerts of 8 KiB take.
const FILE_BYTES_MAX: u64 = 8 * 1024 * TOLD_MAX as u64;
/// Name of the file within the data directory.
const FILE: &str = "alerts-told.json";

/// Which alert of which group: the group's key, and the labels that the rule gave it.
pub(super) type Key = (String, Labels);

/// How an alert was told of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Labels as receivers know them.
    pub(super) labels: Labels,
    /// What people were told last.
    pub(super) annotations: Vec<(String, String)>,
    /// Since when it has fired.
    pub(super) starts_at_ms: TimeMs,
}

/// One alert in the file.
#[derive(Serialize, Deserialize)]
struct Line {
    group: String,
    alert: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    annotations: Vec<(String, String)>,
    starts_at_ms: TimeMs,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) entries: BTreeMap<Key, Entry>,
    /// Groups that are evaluated; `None` until that is known.
    pub(super) groups: Option<BTreeSet<String>>,
    /// Alerts were added or removed since the file was last written.
    pub(super) is_changed: bool,
}

impl Told {
    /// What an earlier run left in the data directory. A file that cannot be read is told and counts as empty: at worst an
    /// alert is told twice, or its end is not.
    pub(super) fn load(dir: &Path) -> Self {
        let path = path(dir);
        let lines = match read(&path) {
            Ok(lines) => lines,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "which alerts webhooks were told of cannot be read");
                Vec::new()
            }
        };
        let entries = lines.into_iter().map(|line| {
            let entry = Entry {
                labels: Labels::new(&line.labels),
                annotations: line.annotations,
                starts_at_ms: line.starts_at_ms,
            };
            ((line.group, Labels::new(&line.alert)), entry)
        });
        Self { entries: entries.collect(), ..Self::default() }
    }

    /// The file's content.
    pub(super) fn text(&self) -> Vec<u8> {
        let pairs = |labels: &Labels| labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let lines = self.entries.iter().map(|((group, alert), entry)| Line {
            group: group.clone(),
            alert: pairs(alert),
            labels: pairs(&entry.labels),
            annotations: entry.annotations.clone(),
            starts_at_ms: entry.starts_at_ms,
        });
        // Texts and numbers: there is nothing in it that JSON does not have.
        serde_json::to_vec(&lines.collect::<Vec<_>>()).unwrap_or_default()
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn read(path: &Path) -> io::Result<Vec<Line>> {
    let len = fs::metadata(path)?.len();
    if FILE_BYTES_MAX < len {
        return Err(io::Error::other(format!("it has {len} bytes, more than {FILE_BYTES_MAX}")));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Replaces the file; blocks until it is on disk.
pub(super) fn write(dir: &Path, text: &[u8]) -> io::Result<()> {
    let (whole, part) = (path(dir), path(dir).with_extension("part"));
    fs::create_dir_all(dir)?;
    let mut file = fs::File::create(&part)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&part, &whole)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_comes_back_and_a_damaged_file_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Told::load(dir.path()), Told::default());
        let key = ("rules.yml;g".to_owned(), Labels::new([("alertname", "Down"), ("a.b", "x\"\n")]));
        let entry = Entry {
            labels: Labels::new([("alertname", "Down"), ("region", "eu")]),
            annotations: vec![("summary".to_owned(), "it is down".to_owned())],
            starts_at_ms: -5,
        };
        let told = Told { entries: [(key, entry)].into(), ..Told::default() };
        write(dir.path(), &told.text()).unwrap();
        assert_eq!(Told::load(dir.path()), told);
        fs::write(path(dir.path()), "[{").unwrap();
        assert_eq!(Told::load(dir.path()), Told::default());
    }
}
