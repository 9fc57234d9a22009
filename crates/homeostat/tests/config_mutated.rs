//! Whatever is done to a configuration, it is read or refused with reasons; it never makes the reader panic, and a
//! refusal always says why.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails fails its test")]

use std::{fs, path::Path};

use homeostat::config::{Severity, load_str_with};
use proptest::prelude::*;

fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/config/good", "tests/config/bad", "../../examples"];
    let mut files: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// One thing done to a text.
#[derive(Clone, Debug)]
enum Edit {
    RemoveLine(usize),
    RepeatLine(usize),
    SwapLines(usize, usize),
    Indent(usize),
    Replace(usize, &'static str),
    Cut(usize),
}

/// Values that tend to be trouble, in place of whatever stands behind a line's last colon.
const VALUES: [&str; 24] = [
    "",
    "~",
    "[]",
    "{}",
    "[[[]]]",
    "{a: {b: {}}}",
    "-1",
    "0",
    "1e999",
    "nan",
    "99999999999999999999",
    "100%",
    "0%",
    "-5%",
    "1000000d",
    "0s",
    "'",
    "\"",
    "*x",
    "&x [*x]",
    "!!int x",
    "${A}",
    "\u{feff}é\u{202e}",
    "|\n    - x: [",
];

fn edits() -> impl Strategy<Value = Edit> {
    let at = 0_usize..200;
    prop_oneof![
        at.clone().prop_map(Edit::RemoveLine),
        at.clone().prop_map(Edit::RepeatLine),
        (at.clone(), at.clone()).prop_map(|(a, b)| Edit::SwapLines(a, b)),
        at.clone().prop_map(Edit::Indent),
        (at.clone(), prop::sample::select(VALUES.to_vec())).prop_map(|(a, v)| Edit::Replace(a, v)),
        at.prop_map(Edit::Cut),
    ]
}

fn apply(text: &str, edit: &Edit) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let count = lines.len().max(1);
    match *edit {
        _ if lines.is_empty() => {}
        Edit::RemoveLine(at) => drop(lines.remove(at % count)),
        Edit::RepeatLine(at) => lines.insert(at % count, lines[at % count].clone()),
        Edit::SwapLines(a, b) => lines.swap(a % count, b % count),
        Edit::Indent(at) => lines[at % count].insert_str(0, "  "),
        Edit::Replace(at, value) => {
            let line = &mut lines[at % count];
            let colon = line.rfind(": ").map_or(line.len(), |colon| colon + 2);
            line.truncate(colon);
            line.push_str(value);
        }
        Edit::Cut(at) => lines.truncate(at % count),
    }
    lines.join("\n")
}

fn check(text: &str) {
    match load_str_with("x.yaml", text, &|_| Some("http://127.0.0.1/geheim".to_owned())) {
        Ok(config) => assert!(config.warnings.iter().all(|p| p.severity == Severity::Warning)),
        Err(problems) => {
            assert!(problems.iter().any(|p| p.severity == Severity::Error), "refused without an error:\n{text}");
            assert!(!problems.to_string().contains("geheim/"), "{problems}");
            for problem in &problems {
                let Some(spot) = &problem.spot else { continue };
                assert!(1 <= spot.line && spot.line as usize <= text.split('\n').count() + 1, "{problem}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_configurations_are_read_or_refused_with_reasons(
        file in any::<prop::sample::Index>(),
        edits in prop::collection::vec(edits(), 1..6),
    ) {
        let corpus = corpus();
        let text = edits.iter().fold(file.get(&corpus).clone(), |text, edit| apply(&text, edit));
        check(&text);
    }

    #[test]
    fn arbitrary_text_is_read_or_refused_with_reasons(text in "\\PC{0,200}|[\\[\\]{}:,&*!|>'\"%@`#?\\- \\n\\ta-c0-9]{0,200}") {
        check(&text);
    }
}
