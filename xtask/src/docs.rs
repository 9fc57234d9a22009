//! Documents: relative links lead to files that exist, headings that are linked exist, and every page on a format is
//! linked from somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{Findings, text, workspace::Workspace};

/// Checks all tracked Markdown files.
pub(crate) fn check(workspace: &Workspace) -> Findings {
    let mut findings = Vec::new();
    let mut linked = BTreeSet::new();
    let pages: Vec<PathBuf> = text::tracked_files(&workspace.root)?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .collect();
    for page in &pages {
        let content =
            fs::read_to_string(workspace.root.join(page)).map_err(|error| format!("{}: {error}", page.display()))?;
        for (line, target) in links(&content) {
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { page.clone() } else { join(page.parent().unwrap_or(Path::new("")), file) };
            if !workspace.root.join(&path).exists() {
                findings.push(format!("{}:{line}: `{target}` leads to no file", page.display()));
            } else if !heading.is_empty() && !has_heading(&workspace.root.join(&path), heading) {
                findings.push(format!("{}:{line}: `{target}` leads to no heading", page.display()));
            }
            if path != *page {
                linked.insert(path);
            }
        }
    }
    let formats = pages.iter().filter(|page| page.starts_with("docs/format"));
    findings.extend(
        formats.filter(|page| !linked.contains(*page)).map(|page| format!("{} is linked from nowhere", page.display())),
    );
    Ok(findings)
}

/// Relative link targets outside code, with their lines.
fn links(content: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in content.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Odd pieces between backticks are code.
        for piece in outside_code(line).split("](").skip(1) {
            let target = piece.split([')', ' ']).next().unwrap_or_default();
            let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !outside {
                found.push((number + 1, target.to_owned()));
            }
        }
    }
    found
}

fn outside_code(line: &str) -> String {
    line.split('`').enumerate().map(|(i, piece)| if i % 2 == 0 { piece } else { "" }).collect()
}

/// `docs/a` and `../b` make `b`.
fn join(dir: &Path, relative: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for part in dir.join(relative).components() {
        match part {
            Component::ParentDir => {
                joined.pop();
            }
            Component::Normal(name) => joined.push(name),
            _ => {}
        }
    }
    joined
}

fn has_heading(file: &Path, wanted: &str) -> bool {
    let Ok(content) = fs::read_to_string(file) else { return false };
    content.lines().filter(|line| line.starts_with('#')).any(|line| slug(line.trim_start_matches('#')) == wanted)
}

/// A heading's address as code hosts make it: lower case, spaces to hyphens, other signs dropped.
fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code_and_only_relative_ones() {
        let page = "[a](docs/a.md) and [b](https://example.org) `[c](no.md)`\n```\n[d](no.md)\n```\n![e](e.png \"title\") [f](#g)";
        assert_eq!(links(page), [(1, "docs/a.md".to_owned()), (5, "e.png".to_owned()), (5, "#g".to_owned())]);
    }

    #[test]
    fn paths_and_headings_are_resolved_as_code_hosts_do() {
        assert_eq!(join(Path::new("docs/format"), "../a/b.md"), Path::new("docs/a/b.md"));
        assert_eq!(slug(" Records, and `CRC`"), "records-and-crc");
    }
}
