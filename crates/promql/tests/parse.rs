//! Queries and how they are printed, or what is wrong with them.
//!
//! The cases stand in `parse/*.txt`. A line is a query that prints as itself, or `query => printed`, or
//! `query !! message`; `⏎` stands for a line end. Lines that begin with `--` are remarks, `-- features: …` says which
//! features of the language the following lines have.

use std::fmt::Write as _;

use homeostat_promql::{Expr, Feature, ParseErrors, ParseOptions, parse, print::pretty};

fn options(features: &str) -> ParseOptions {
    match features.trim() {
        "all" => ParseOptions::all(),
        "default" => ParseOptions::default(),
        flags => flags.split(' ').filter_map(Feature::from_flag).fold(ParseOptions::none(), ParseOptions::with),
    }
}

fn check_cases(cases: &str) {
    let mut wrong = String::new();
    let mut features = ParseOptions::all();
    for (number, line) in cases.lines().enumerate() {
        if let Some(remark) = line.strip_prefix("--") {
            features = remark.trim().strip_prefix("features:").map_or(features, options);
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let (query, expected) = line
            .split_once(" => ")
            .map(|(query, printed)| (query, Ok(printed)))
            .or_else(|| line.split_once(" !! ").map(|(query, message)| (query, Err(message))))
            .unwrap_or((line, Ok(line)));
        let query = query.replace('⏎', "\n");
        if let Err(problem) = check(&query, expected, features) {
            let _ = writeln!(wrong, "line {}: {problem}", number + 1);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn check(query: &str, expected: Result<&str, &str>, features: ParseOptions) -> Result<(), String> {
    let parsed = parse(query, &features);
    let found = parsed.as_ref().map(Expr::to_string).map_err(ParseErrors::to_string);
    if found.as_deref() != expected.map_err(str::to_owned).as_ref().copied() {
        return Err(format!("{query}\n    found    {found:?}\n    expected {expected:?}"));
    }
    let misplaced = match &parsed {
        Ok(expr) => check_places(expr),
        Err(errors) => error_places(query, errors),
    };
    if let Some(misplaced) = misplaced {
        return Err(format!("{query}: {misplaced}"));
    }
    let Ok(printed) = found else { return Ok(()) };
    let again = parse(&printed, &features).map_err(|error| format!("{query}: printed {printed}, then {error}"))?;
    if again.to_string() == printed { Ok(()) } else { Err(format!("{query}: {printed} is printed again as {again}")) }
}

/// Every part lies within its parent.
fn check_places(expr: &Expr) -> Option<String> {
    let mut wrong = None;
    expr.walk(&mut |node| {
        for child in node.children() {
            if child.span.start < node.span.start || node.span.end < child.span.end {
                wrong = Some(format!("{child} at {:?} is not within {:?}", child.span, node.span));
            }
        }
    });
    wrong
}

fn error_places(query: &str, errors: &ParseErrors) -> Option<String> {
    let outside = errors.iter().find(|error| query.get(error.span.start..error.span.end).is_none())?;
    Some(format!("{:?} lies outside", outside.span))
}

#[test]
fn literals() {
    check_cases(include_str!("parse/literals.txt"));
}

#[test]
fn selectors() {
    check_cases(include_str!("parse/selectors.txt"));
}

#[test]
fn operators() {
    check_cases(include_str!("parse/operators.txt"));
}

#[test]
fn calls_and_aggregations() {
    check_cases(include_str!("parse/calls.txt"));
}

#[test]
fn ranges_and_shifts() {
    check_cases(include_str!("parse/ranges.txt"));
}

#[test]
fn durations() {
    check_cases(include_str!("parse/durations.txt"));
}

#[test]
fn features() {
    check_cases(include_str!("parse/features.txt"));
}

#[test]
fn words_that_may_not_stand_where_they_do() {
    check_cases(include_str!("parse/unexpected.txt"));
}

#[test]
fn long_queries_are_broken_into_lines() {
    let mut wrong = String::new();
    for case in include_str!("parse/pretty.txt").split("\n----\n") {
        let (query, expected) = case.split_once("\n=>\n").unwrap_or_default();
        let found = parse(query, &ParseOptions::all()).map_or_else(|error| error.to_string(), |expr| pretty(&expr));
        if found != expected.trim_end_matches('\n') {
            let _ = writeln!(wrong, "{query}\nfound\n{found}\nexpected\n{expected}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
