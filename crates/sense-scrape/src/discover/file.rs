//! Targets in files that other programs write (`file_sd_configs`).
//!
//! Files are looked at once a second by time and length, which sees every replacement by rename, works on every file
//! system, and costs a few system calls; content is read only when one of the two has changed, or a refresh is due.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::Instant};

use super::{
    Found, LIST_BYTES_MAX, META_FILEPATH, ReadGroups,
    listing::{FILES_MAX, matching},
    tell,
};
use crate::spec::TargetGroup;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file as last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    changed: Option<SystemTime>,
    len_bytes: u64,
}

pub(super) async fn follow(patterns: &[PathBuf], refresh: Duration, read: ReadGroups, found: &watch::Sender<Found>) {
    let name = patterns.first().map_or_else(String::new, |path| path.display().to_string());
    let mut last: Option<(Result<Vec<Seen>, String>, Instant)> = None;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (patterns, read) = (patterns.to_vec(), ReadGroups::clone(&read));
        let before = last.as_ref().filter(|(_, at)| at.elapsed() < refresh).map(|(seen, _)| seen.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let seen = list(&patterns);
            let groups = (before.as_ref() != Some(&seen)).then(|| read_all(&seen, &read));
            (seen, groups)
        });
        let (seen, groups) = match looked.await {
            Ok(looked) => looked,
            // Our own mistake is the end of this task as much.
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => return,
            },
        };
        if let Some(groups) = groups {
            last = Some((seen, Instant::now()));
            tell(found, &name, groups);
        }
    }
}

/// The files that match, in order of their names.
fn list(patterns: &[PathBuf]) -> Result<Vec<Seen>, String> {
    let mut files = Vec::new();
    for pattern in patterns {
        files.extend(matching(pattern).map_err(|error| cannot("list", pattern, &error))?);
    }
    files.sort_unstable();
    files.dedup();
    files.truncate(FILES_MAX);
    let seen = files.into_iter().map(|path| {
        let about = std::fs::metadata(&path).map_err(|error| cannot("find", &path, &error))?;
        Ok(Seen { changed: about.modified().ok(), len_bytes: about.len(), path })
    });
    seen.collect()
}

fn read_all(seen: &Result<Vec<Seen>, String>, read: &ReadGroups) -> Result<Vec<TargetGroup>, String> {
    let mut all = Vec::new();
    for Seen { path, .. } in seen.as_ref().map_err(Clone::clone)? {
        let text = text_of(path).map_err(|error| cannot("read", path, &error))?;
        let groups = read(&text).map_err(|problem| format!("{}: {problem}", path.display()))?;
        all.extend(groups.into_iter().map(|mut group| {
            group.labels.push((META_FILEPATH.to_owned(), path.display().to_string()));
            group
        }));
    }
    Ok(all)
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    if file.take(LIST_BYTES_MAX + 1).read_to_string(&mut text)? as u64 > LIST_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {LIST_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// One target a line.
    fn lines() -> ReadGroups {
        Arc::new(|text| {
            if text.contains('!') {
                return Err("1:1: a mark".into());
            }
            let targets = text.lines().map(str::to_owned).collect();
            Ok(vec![TargetGroup { targets, labels: Vec::new() }])
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_again_and_a_broken_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        std::fs::write(&file, "h:1").unwrap();
        let (found, mut seen) = watch::channel(Found::default());
        let patterns = [dir.path().join("*.txt")];
        let changes = async {
            seen.changed().await.unwrap();
            let group = seen.borrow_and_update().groups.first().cloned().unwrap();
            assert_eq!(group.targets, ["h:1"]);
            assert_eq!(group.labels, [(META_FILEPATH.to_owned(), file.display().to_string())]);
            std::fs::write(&file, "h:1\nh:22").unwrap();
            seen.changed().await.unwrap();
            assert_eq!(seen.borrow_and_update().groups.first().unwrap().targets, ["h:1", "h:22"]);
            std::fs::write(&file, "h:1\n!").unwrap();
            seen.changed().await.unwrap();
            let now = seen.borrow_and_update().clone();
            assert_eq!(now.groups.first().unwrap().targets.len(), 2, "the last good list stays");
            assert!(now.trouble.unwrap().contains("a.txt: 1:1: a mark"));
        };
        tokio::select! {
            () = follow(&patterns, Duration::from_mins(5), lines(), &found) => {}
            () = changes => {}
        }
    }
}
