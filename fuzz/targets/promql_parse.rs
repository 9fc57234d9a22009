//! The query parser on arbitrary text: nothing panics, every place lies in the text and within its parent's, what is
//! printed reads back and is printed the same again, on one line or over several.
#![no_main]

use homeostat_promql::{Expr, ParseErrors, ParseOptions, parse, parse_metric_selector, print::pretty};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = parse_metric_selector(text);
    let _ = parse(text, &ParseOptions::none());
    match parse(text, &ParseOptions::all()) {
        Ok(expr) => {
            check_places(text, &expr);
            let printed = expr.to_string();
            for form in [&printed, &pretty(&expr)] {
                assert!(printed_again(form).is_none_or(|again| again == printed), "{form}");
            }
        }
        Err(errors) => check_errors(text, &errors),
    }
});

/// What a printed query is printed as; `None` when it is over a limit that it was close to before.
fn printed_again(text: &str) -> Option<String> {
    match parse(text, &ParseOptions::all()) {
        Ok(expr) => Some(expr.to_string()),
        Err(error) if error.to_string().ends_with("split it with recording rules") => None,
        Err(error) => panic!("{text}: {error}"),
    }
}

fn check_places(text: &str, expr: &Expr) {
    expr.walk(&mut |node| {
        assert!(text.get(node.span.start..node.span.end).is_some(), "{:?} lies outside", node.span);
        for child in node.children() {
            assert!(node.span.start <= child.span.start && child.span.end <= node.span.end);
        }
    });
}

fn check_errors(text: &str, errors: &ParseErrors) {
    assert!(errors.first().is_some());
    for error in errors.iter() {
        assert!(text.get(error.span.start..error.span.end).is_some(), "{:?} lies outside", error.span);
        assert!(!error.text.is_empty());
    }
}
