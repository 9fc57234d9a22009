//! Every query of the acceptance suite is read, printed or not, as the suite expects.
//!
//! The suite is an excerpt of Prometheus' own scripts; `suite/NOTICE` says more. What its queries give is checked where
//! they are evaluated; here they only have to be read.

use std::{fs, path::Path};

use homeostat_promql::{ParseErrorKind, ParseOptions, parse};

/// A query, where it stands, and what its failure must say if it must fail.
struct Case {
    place: String,
    query: String,
    failure: Option<String>,
}

#[test]
fn every_query_of_the_suite_is_read() {
    let cases = cases();
    assert!(900 < cases.len(), "only {} queries found: is the suite complete?", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(problem).collect();
    assert!(wrong.is_empty(), "{} of {} queries:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn problem(case: &Case) -> Option<String> {
    let error = parse(&case.query, &ParseOptions::all()).err()?;
    let first = error.first()?;
    match &case.failure {
        None => Some(format!("{}: {}\n    {error}", case.place, case.query)),
        // What the suite calls a failure, Prometheus finds when it evaluates: its message has no place.
        Some(message) if first.kind == ParseErrorKind::Execution && error.to_string() != *message => {
            Some(format!("{}: {error}\n    instead of {message}", case.place))
        }
        Some(_) => None,
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let scripts = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "test"));
    scripts.flat_map(|path| cases_of(&path, &fs::read_to_string(&path).unwrap_or_default())).collect()
}

/// `eval instant at 5m QUERY` or `eval range from 0 to 1h step 5m QUERY`, and the indented lines that follow.
fn cases_of(path: &Path, script: &str) -> Vec<Case> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in script.lines().enumerate() {
        let indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if let (true, Some(case)) = (indented, cases.last_mut()) {
            if let Some(failure) = line.strip_prefix("expect fail") {
                case.failure = Some(failure.trim().trim_start_matches("msg:").trim().to_owned());
            }
            continue;
        }
        let mut words = line.splitn(3, ' ');
        let (Some(command), Some(mode), Some(rest)) = (words.next(), words.next(), words.next()) else { continue };
        if !command.starts_with("eval") {
            continue;
        }
        let skipped = if mode == "range" { 6 } else { 2 };
        let query = rest.splitn(skipped + 1, ' ').last().unwrap_or_default().to_owned();
        let failure = (command == "eval_fail").then(String::new);
        cases.push(Case { place: format!("{name}:{}", number + 1), query, failure });
    }
    cases
}
