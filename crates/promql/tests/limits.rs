//! Hostile queries: long, deep and wide ones end in an error or a tree, never in a full stack.

use homeostat_promql::{
    ParseErrors, ParseOptions, parse, parse_metric_selector,
    parser::{NESTING_MAX, QUERY_BYTES_MAX},
    print::pretty,
};

fn read(query: &str) -> Result<String, String> {
    parse(query, &ParseOptions::all()).map(|expr| pretty(&expr)).map_err(|errors: ParseErrors| errors.to_string())
}

#[track_caller]
fn refused_as_deep(query: &str) {
    let message = "query is nested deeper than 256 levels; split it with recording rules";
    assert!(matches!(read(query), Err(error) if error.ends_with(message)), "{query:.100}");
}

/// Each construct that can hold itself: what is repeated before, in the middle and behind.
const NESTING: [(&str, &str, &str); 12] = [
    ("(", "a", ")"),
    ("-", "a", ""),
    ("abs(", "a", ")"),
    ("sum by (x) (", "a", ")"),
    ("topk(scalar(", "a", "), a)"),
    ("", "a", "[5m:]"),
    ("a + ", "a", ""),
    ("a ^ ", "a", ""),
    ("a and (b or ", "a", ")"),
    ("1 - -", "a", ""),
    ("a or -", "b", ""),
    ("max_over_time(-(", "a", ")[5m:])"),
];

#[test]
fn any_depth_up_to_the_limit_fits_the_stack() {
    for (before, middle, behind) in NESTING {
        for depth in [NESTING_MAX / 4, NESTING_MAX / 2, NESTING_MAX - 2, NESTING_MAX, 2 * NESTING_MAX] {
            let query = format!("{}{middle}{}", before.repeat(depth), behind.repeat(depth));
            let _ = read(&query);
            let _ = read(&format!("a[{query}]"));
            let _ = read(&format!("a offset {}{query}{}", "-(".repeat(depth), ")".repeat(depth)));
        }
    }
}

#[test]
fn thousands_of_levels_are_refused() {
    refused_as_deep(&format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000)));
    refused_as_deep(&format!("a[{}1{}]", "(".repeat(100_000), ")".repeat(100_000)));
    for (before, middle, behind) in NESTING {
        refused_as_deep(&format!("{}{middle}{}", before.repeat(10_000), behind.repeat(10_000)));
    }
    for (before, behind) in [("(", ")"), ("-", ""), ("1 + ", ""), ("1 ^ ", ""), ("min_of(1, ", ")")] {
        refused_as_deep(&format!("a[{}1{}]", before.repeat(10_000), behind.repeat(10_000)));
        refused_as_deep(&format!("a[5m:{}1{}]", before.repeat(10_000), behind.repeat(10_000)));
    }
    // Without their ends, too.
    refused_as_deep(&"(".repeat(100_000));
    refused_as_deep(&format!("a offset {}", "-(".repeat(100_000)));
}

#[test]
fn the_limit_is_the_same_for_parentheses_and_operands() {
    let parens = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(read(&parens(NESTING_MAX - 1)).is_ok());
    refused_as_deep(&parens(NESTING_MAX));
    let sum = |terms: usize| vec!["a"; terms].join(" + ");
    assert!(read(&sum(NESTING_MAX)).is_ok());
    refused_as_deep(&sum(NESTING_MAX + 1));
}

#[test]
fn width_has_no_limit_but_length() {
    let labels: Vec<String> = (0..5_000).map(|number| format!("label_{number}")).collect();
    let list = labels.join(", ");
    assert!(read(&format!("sum by ({list}) (a)")).is_ok());
    assert!(read(&format!("a * on ({list}) group_left (x) b")).is_ok());
    let error = read(&format!("a * on ({list}) group_left ({list}) b")).expect_err("the same labels");
    assert!(error.contains("label \"label_0\" must not occur in ON and GROUP clause at once"), "{error}");
    let args = vec!["\"b\""; 20_000].join(", ");
    assert!(read(&format!("sort_by_label(a, {args})")).is_ok());
}

#[test]
fn a_query_that_is_too_long_is_refused() {
    let spaces = " ".repeat(QUERY_BYTES_MAX);
    assert!(read(&format!("{}a", &spaces[1..])).is_ok());
    let error = read(&format!("{spaces}a")).expect_err("too long");
    assert_eq!(error, "1:1: parse error: query is longer than 1048576 bytes; split it with recording rules");
    assert!(parse_metric_selector(&format!("{spaces}a")).is_err());
}

#[test]
fn few_of_many_mistakes_are_told() {
    let query = vec!["f()"; 200].join(" + ");
    let errors = parse(&query, &ParseOptions::all()).expect_err("200 unknown functions");
    assert_eq!(errors.iter().count(), 16);
}

#[test]
fn an_empty_query_has_no_place() {
    assert_eq!(read(""), Err("unknown position: parse error: no expression found in input".to_owned()));
}

#[test]
fn a_selector_is_read_alone() {
    let selector = |text| parse_metric_selector(text).map(|it| format!("{it:?}")).map_err(|error| error.to_string());
    assert_eq!(selector("up{a=\"b\"}"), Ok("[a=\"b\", __name__=\"up\"]".to_owned()));
    assert_eq!(selector("{\"up\"}"), Ok("[__name__=\"up\"]".to_owned()));
    assert_eq!(selector("{}"), Ok("[]".to_owned()));
    assert_eq!(selector("up[5m]"), Err("1:3: parse error: unexpected \"[\"".to_owned()));
    assert_eq!(selector("up offset 5m"), Err("1:4: parse error: unexpected <offset>".to_owned()));
    assert_eq!(selector("1"), Err("1:1: parse error: unexpected number \"1\"".to_owned()));
    assert_eq!(selector(""), Err("unknown position: parse error: unexpected end of input".to_owned()));
    assert_eq!(selector("rate(up)"), Err("1:5: parse error: unexpected \"(\"".to_owned()));
}
