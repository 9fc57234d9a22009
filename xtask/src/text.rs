//! Tracked files name no path that exists on one machine only.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Findings, workspace::Workspace};

/// Beginnings of paths that only somebody's own machine has.
const OWN_PATHS: [&str; 4] = ["/work/", "/root/", "/home/", "/Users/"];
/// Larger files are data.
const FILE_BYTES_MAX: u64 = 2 << 20;

/// Looks through all tracked text files but this one and the console's built assets.
pub(crate) fn check(workspace: &Workspace) -> Findings {
    let mut findings = Vec::new();
    for file in tracked_files(&workspace.root)? {
        if file == Path::new("xtask/src/text.rs") || file.starts_with("crates/api/assets") {
            continue;
        }
        let path = workspace.root.join(&file);
        if fs::metadata(&path).map_or(true, |data| !data.is_file() || FILE_BYTES_MAX < data.len()) {
            continue;
        }
        let Ok(content) = fs::read_to_string(&path) else { continue };
        for (number, found) in own_paths(&content) {
            findings.push(format!("{}:{number}: names `{found}...`, which other machines do not have", file.display()));
        }
    }
    Ok(findings)
}

/// The first of those beginnings that a text has.
pub(crate) fn own_path_in(content: &str) -> Option<&'static str> {
    // Most texts have none: the plain search is the quick one.
    OWN_PATHS.into_iter().find(|own| content.contains(own) && begins_path(content, own))
}

fn own_paths(content: &str) -> Vec<(usize, &'static str)> {
    let hits = |line: &str| OWN_PATHS.into_iter().find(|own| begins_path(line, own));
    content.lines().enumerate().filter_map(|(i, line)| Some((i + 1, hits(line)?))).collect()
}

/// Whether `own` stands in `line` as the beginning of a path, not inside a longer one or an address.
fn begins_path(line: &str, own: &str) -> bool {
    line.match_indices(own).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '-' | '_' | '}' | '*' | '~' | '/'))
    })
}

/// Files that git tracks and that still exist, relative to the root.
pub(crate) fn tracked_files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("`git ls-files` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|file| root.join(file).exists())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_paths_are_found_but_not_parts_of_longer_ones() {
        assert_eq!(own_paths("a\nsee /work/main\n"), [(2, "/work/")]);
        assert_eq!(own_paths("target/work/x example.org/home/x ../root/x"), []);
    }
}
