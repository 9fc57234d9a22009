//! The files that a pattern stands for: `*` stands for any text and `?` for one character, in the last part of a path.
//!
//! A directory that cannot be read is an error, never an empty list: a broken mount must not look like a fleet or a set of
//! rules that is gone.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Files that one pattern may stand for; a directory with more is not one of targets or rules.
pub const FILES_MAX: usize = 1_000;

/// Whether a path is a pattern.
pub fn is_pattern(path: &Path) -> bool {
    name(path).contains(['*', '?'])
}

/// The files that a path stands for, sorted; a path that is no pattern stands for itself.
pub fn matching(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !is_pattern(path) {
        return Ok(vec![path.to_owned()]);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if fits(&entry.file_name().to_string_lossy(), &name(path)) {
            found.push(entry.path());
        }
        if FILES_MAX < found.len() {
            return Err(io::Error::other(format!("more than {FILES_MAX} files fit {}", path.display())));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Compares a name with a pattern; at most the product of their lengths in steps.
fn fits(name: &str, pattern: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    // Which beginnings of the pattern the name so far fits.
    let mut meets: Vec<bool> = std::iter::once(true)
        .chain((0..pattern.len()).map(|at| pattern.iter().take(at + 1).all(|c| *c == '*')))
        .collect();
    for c in name.chars() {
        let mut next = vec![false; meets.len()];
        for (at, wanted) in pattern.iter().enumerate() {
            let (before, here) = (meets.get(at) == Some(&true), meets.get(at + 1) == Some(&true));
            let met = match wanted {
                '*' => here || before || next.get(at) == Some(&true),
                '?' => before,
                wanted => before && *wanted == c,
            };
            next.get_mut(at + 1).into_iter().for_each(|cell| *cell = met);
        }
        meets = next;
    }
    meets.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_a_question_mark_for_a_character() {
        for (name, pattern) in [
            ("a.yml", "*.yml"),
            ("web-1.json", "web-*.json"),
            ("abc", "a*c"),
            ("abc", "*b*"),
            ("", "*"),
            ("abbc", "a*c"),
            ("x", "**?"),
            ("xxaxxbxx", "*a*b*"),
        ] {
            assert!(fits(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("a.yaml", "*.yml"), ("ac", "a*b"), ("a", "a*a"), ("a", "a?"), (".yaml", "*.yml")] {
            assert!(!fits(name, pattern), "{name} {pattern}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", "c.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = matching(&dir.path().join("*.yml")).unwrap();
        assert_eq!(found, ["a.yml", "b.yml"].map(|name| dir.path().join(name)));
        assert_eq!(matching(&dir.path().join("z.yml")).unwrap(), [dir.path().join("z.yml")]);
        let error = matching(&dir.path().join("c.txt/*.yml")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }
}
