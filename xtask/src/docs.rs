//! Documents: relative links lead to files that exist, headings that are linked exist, every page on a format is linked
//! from somewhere, and the table of decisions has a row for each of them with its title.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{Findings, text, workspace::Workspace};

/// Where decisions are, and the page with their table.
const DECISIONS: &str = "docs/decisions";
const README: &str = "README.md";

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
    let decisions: Vec<&Path> = pages.iter().filter_map(|page| page.strip_prefix(DECISIONS).ok()).collect();
    let dir = workspace.root.join(DECISIONS);
    let read = |name: &Path| {
        let path = dir.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let table = read(Path::new(README))?;
    let mut named = Vec::new();
    for name in decisions.into_iter().filter(|name| *name != Path::new(README)) {
        named.push((name.display().to_string(), read(name)?));
    }
    findings.extend(without_row(&table, &named));
    Ok(findings)
}

/// Decisions, by file and content, for which the table has no row `| N | [title](file) |`.
fn without_row(table: &str, decisions: &[(String, String)]) -> Vec<String> {
    let missing = decisions.iter().filter_map(|(file, content)| {
        let heading = content.lines().next().unwrap_or_default();
        let Some((number, title)) = heading.strip_prefix("# ").and_then(|heading| heading.split_once(". ")) else {
            return Some(format!("{DECISIONS}/{file}: its first line is not `# N. Title`"));
        };
        let row = format!("| {number} | [{title}]({file}) |");
        (!table.lines().any(|line| line == row)).then(|| format!("{DECISIONS}/{README} lacks the row `{row}`"))
    });
    missing.collect()
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
    fn a_decision_without_its_row_is_found() {
        let table = "| | decision |\n|---|---|\n| 1 | [One](0001-one.md) |\n| 2 | [Two](0002-two.md) |";
        let page = |file: &str, heading: &str| (file.to_owned(), format!("{heading}\n\nText."));
        let whole = [page("0001-one.md", "# 1. One"), page("0002-two.md", "# 2. Two")];
        assert!(without_row(table, &whole).is_empty());
        let found = without_row(table, &[page("0003-three.md", "# 3. Three"), page("0002-two.md", "# 2. Two, anew")]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(without_row(table, &[page("0001-one.md", "One")]).len(), 1);
    }

    #[test]
    fn paths_and_headings_are_resolved_as_code_hosts_do() {
        assert_eq!(join(Path::new("docs/format"), "../a/b.md"), Path::new("docs/a/b.md"));
        assert_eq!(slug(" Records, and `CRC`"), "records-and-crc");
    }
}
