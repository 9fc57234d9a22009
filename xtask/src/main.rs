//! Project automation: checks that the compiler does not make. Run as `cargo xtask CHECK`; `./dev lint` runs all.
//!
//! Each check returns its findings as lines; none means that it holds. Everything is read, nothing is changed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "speaking to a terminal is the job of this program")]

mod arrows;
mod corpus;
mod docs;
mod purity;
mod rust_paths;
mod text;
mod workspace;

use std::{path::Path, process::ExitCode};

use workspace::Workspace;

/// A check's findings, or why it could not be made.
type Findings = Result<Vec<String>, String>;

/// Name, what it proves, and how.
type Check = (&'static str, &'static str, fn(&Workspace) -> Findings);

const CHECKS: [Check; 5] = [
    ("check-arrows", "dependencies point bin -> edge -> pure -> vocabulary", arrows::check),
    (
        "check-purity",
        "vocabulary and pure crates have no clock, socket, file, task, thread or unseeded chance",
        purity::check,
    ),
    (
        "check-docs",
        "links in documents lead somewhere, every format is linked, every decision has its row",
        docs::check,
    ),
    ("check-corpus", "each episode of the corpus is labelled as agreed and has its profiles", corpus::check),
    ("check-text", "no file names a machine's own paths", text::check),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let known = |name: &String| name == "check-all" || CHECKS.iter().any(|(check, ..)| check == name);
    if wanted.is_empty() || !wanted.iter().all(known) {
        eprintln!("usage: cargo xtask CHECK...\n\n  check-all     all of these:");
        for (name, proves, _) in CHECKS {
            eprintln!("  {name:<13} {proves}");
        }
        return ExitCode::from(2);
    }
    let workspace = match Workspace::read(Path::new(".")) {
        Ok(workspace) => workspace,
        Err(error) => {
            eprintln!("xtask: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = false;
    for (name, proves, check) in CHECKS {
        // The arrows are drawn in manifests and in sources; one word asks for both.
        let asked =
            |word: &String| word == "check-all" || word == name || (word == "check-arrows" && name == "check-purity");
        if wanted.iter().any(asked) {
            failed |= !report(name, proves, check(&workspace));
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints a check's result; returns whether it holds.
fn report(name: &str, proves: &str, findings: Findings) -> bool {
    match findings {
        Ok(findings) if findings.is_empty() => {
            println!("{name}: ok ({proves})");
            true
        }
        Ok(findings) => {
            for finding in &findings {
                println!("{name}: {finding}");
            }
            println!("{name}: {} finding(s); wanted: {proves}", findings.len());
            false
        }
        Err(error) => {
            println!("{name}: could not be checked: {error}");
            false
        }
    }
}
