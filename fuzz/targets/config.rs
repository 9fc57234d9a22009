//! Configurations from any text: read or refused with at least one error, never a panic, the same answer twice, and no
//! secret in what is shown.
#![no_main]

use homeostat::config::{Severity, load_str_with};
use libfuzzer_sys::fuzz_target;

/// What every environment variable holds; a text that contains it proves nothing.
const SECRET: &str = "http://127.0.0.1/q7Zk-secret-q7Zk";

fuzz_target!(|text: &str| {
    if text.contains("q7Zk") {
        return;
    }
    let load = || load_str_with("fuzz.yaml", text, &|_| Some(SECRET.to_owned()));
    match (load(), load()) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.gateway, second.gateway);
            assert!(first.warnings.iter().all(|problem| problem.severity == Severity::Warning));
        }
        (Err(first), Err(second)) => {
            assert_eq!(first, second);
            assert!(first.iter().any(|problem| problem.severity == Severity::Error));
            assert!(!first.to_string().contains("q7Zk"));
            assert!(!first.to_json().to_string().contains("q7Zk"));
        }
        _ => panic!("two answers to one text"),
    }
});
