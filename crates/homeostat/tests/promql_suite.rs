//! Prometheus' own acceptance scripts against the real binary, over HTTP only: `tools/promqltest.py` loads by remote
//! write, 2.0 where samples have start timestamps, and asks by the query API. Every part of a script that begins with `clear` has a server of its own.
//!
//! The scripts and their licence are in `crates/promql/tests/suite/`. By hand, with more to see:
//! `tools/promqltest.py --native all -v --server-cmd 'target/debug/homeostat server --listen 127.0.0.1:{port} --data {dir}' crates/promql/tests/suite`.

#![expect(clippy::print_stdout, reason = "a test says what it counted, and when it has to skip")]

use std::{path::Path, process::Command};

/// Runs one script; all of its cases have to pass, notes and texts of errors included.
fn passes(script: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let server =
        format!("'{}' server --log error --listen 127.0.0.1:{{port}} --data {{dir}}", env!("CARGO_BIN_EXE_homeostat"));
    let run = Command::new("python3")
        .arg(root.join("tools/promqltest.py"))
        .args(["--native", "all", "--check", "strict", "-vv", "--server-cmd", &server])
        .arg(root.join("crates/promql/tests/suite").join(script))
        .output();
    let output = match run {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED: {script} of the PromQL suite: cannot run python3: {error}");
            return;
        }
    };
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(output.status.success() && said.trim_end().ends_with(" 0 skipped"), "{said}{complained}");
}

/// One test a script, so that they run side by side and are told apart.
macro_rules! scripts {
    ($($name:ident: $script:literal,)*) => {
        $(
            #[test]
            fn $name() {
                passes($script);
            }
        )*

        #[test]
        fn no_script_is_forgotten() {
            let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../promql/tests/suite");
            let entries = std::fs::read_dir(suite).expect("the suite is there");
            let mut found: Vec<String> =
                entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect();
            found.retain(|name| name.ends_with(".test"));
            found.sort();
            assert_eq!(found, [$($script),*]);
        }
    };
}

scripts! {
    aggregators: "aggregators.test",
    at_modifier: "at_modifier.test",
    duration_expression: "duration_expression.test",
    extended_vectors: "extended_vectors.test",
    fill_modifier: "fill-modifier.test",
    functions: "functions.test",
    histograms: "histograms.test",
    info: "info.test",
    limit: "limit.test",
    literals: "literals.test",
    name_label_dropping: "name_label_dropping.test",
    native_histograms: "native_histograms.test",
    operators: "operators.test",
    range_queries: "range_queries.test",
    selectors: "selectors.test",
    staleness: "staleness.test",
    start_timestamps: "start_timestamps.test",
    subquery: "subquery.test",
    trig_functions: "trig_functions.test",
    type_and_unit: "type_and_unit.test",
}
