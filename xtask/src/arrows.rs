//! Dependencies between rooms point one way: bin -> edge -> pure -> vocabulary.
//!
//! A room's kind stands in its `Cargo.toml` under `[package.metadata.room]`. Dev-dependencies may point anywhere but to
//! this program, because tests bring rooms together on purpose. What pure rooms may take from outside the workspace is
//! looked up in the whole tree of their dependencies, so that a clock cannot come in through a helper.

use crate::{
    Findings,
    workspace::{Package, Workspace, cargo},
};

/// Each kind with the kinds it may depend on.
const ARROWS: [(&str, &[&str]); 7] = [
    ("vocabulary", &["vocabulary"]),
    ("pure", &["vocabulary", "pure"]),
    ("edge", &["vocabulary", "pure", "edge"]),
    ("bin", &["vocabulary", "pure", "edge", "demo"]),
    ("test-support", &["vocabulary", "pure", "edge", "test-support"]),
    ("demo", &["vocabulary", "pure", "edge", "demo", "test-support"]),
    ("xtask", &[]),
];

/// Crates that no vocabulary or pure room may reach, with the reason.
const BANNED_IN_PURE: [(&str, &str); 22] = [
    ("tokio", "it brings tasks, timers and sockets"),
    ("async-std", "it brings tasks, timers and sockets"),
    ("smol", "it brings tasks, timers and sockets"),
    ("mio", "it brings sockets"),
    ("socket2", "it brings sockets"),
    ("hyper", "it does I/O"),
    ("hyper-util", "it does I/O"),
    ("axum", "it does I/O"),
    ("reqwest", "it does I/O"),
    ("rustls", "it reads clocks and entropy"),
    ("rustix", "it brings system calls"),
    ("nix", "it brings system calls"),
    ("notify", "it watches files"),
    ("tempfile", "it makes files"),
    ("fjall", "it writes files"),
    ("rayon", "it starts threads"),
    ("crossbeam-channel", "threads talk over it; a pure room has none"),
    ("getrandom", "it reads the machine's entropy: take a seeded generator as an argument"),
    ("fastrand", "it seeds itself: take a seeded generator as an argument"),
    ("chrono", "it reads the clock: time comes in as `Timestamp`"),
    ("time", "it reads the clock: time comes in as `Timestamp`"),
    ("tracing", "it speaks to a global subscriber: return what there is to say"),
];

/// Compares every dependency with the table of arrows, and the trees of pure rooms with the list of bans.
pub(crate) fn check(workspace: &Workspace) -> Findings {
    let mut findings = arrows(&workspace.packages);
    for package in workspace.packages.iter().filter(|package| is_pure(package)) {
        let tree = cargo(
            &workspace.root,
            &["tree", "--package", &package.name, "--edges", "normal", "--prefix", "none", "--format", "{p}"],
        )?;
        findings.extend(banned_in_tree(&package.name, &tree));
    }
    Ok(findings)
}

/// Whether a room is vocabulary or pure.
pub(crate) fn is_pure(package: &Package) -> bool {
    matches!(package.kind(), Some("vocabulary" | "pure"))
}

fn arrows(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        let name = &package.name;
        let Some(kind) = package.kind() else {
            findings.push(format!("{name} has no kind: write `[package.metadata.room]` with `kind = \"...\"`"));
            continue;
        };
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == kind) else {
            let known: Vec<&str> = ARROWS.iter().map(|(known, _)| *known).collect();
            findings.push(format!("{name} has the kind `{kind}`, which is none of {}", known.join(", ")));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev")) {
            let target = packages.iter().find(|other| other.name == dependency.name);
            if let Some(target_kind) = target.and_then(Package::kind)
                && !allowed.contains(&target_kind)
            {
                findings.push(format!(
                    "{name} ({kind}) depends on {} ({target_kind}): {kind} crates may depend on {}",
                    dependency.name,
                    if allowed.is_empty() { "none of ours".to_owned() } else { allowed.join(", ") },
                ));
            }
        }
    }
    findings
}

/// `tree` has one package a line, `name vVERSION ...`.
fn banned_in_tree(package: &str, tree: &str) -> Vec<String> {
    let mut reached: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    reached.sort_unstable();
    reached.dedup();
    let banned = reached.iter().filter_map(|name| BANNED_IN_PURE.iter().find(|(banned, _)| banned == name));
    banned
        .map(|(name, reason)| {
            format!("{package} reaches {name}: {reason}; `cargo tree -p {package} -e normal -i {name}` shows how")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(json: &str) -> Vec<Package> {
        serde_json::from_str(json).expect("a list of packages")
    }

    fn package(name: &str, kind: &str, dependencies: &[(&str, &str)]) -> String {
        let dependencies: Vec<String> = dependencies
            .iter()
            .map(|(name, kind)| {
                format!(
                    r#"{{"name":"{name}","kind":{}}}"#,
                    if kind.is_empty() { "null".to_owned() } else { format!("\"{kind}\"") }
                )
            })
            .collect();
        let metadata = if kind.is_empty() { "null".to_owned() } else { format!(r#"{{"room":{{"kind":"{kind}"}}}}"#) };
        format!(
            r#"{{"name":"{name}","manifest_path":"{name}/Cargo.toml","dependencies":[{}],"metadata":{metadata}}}"#,
            dependencies.join(",")
        )
    }

    fn check(list: &[String]) -> Vec<String> {
        arrows(&packages(&format!("[{}]", list.join(","))))
    }

    #[test]
    fn arrows_down_are_fine_and_tests_may_point_anywhere() {
        let found = check(&[
            package("model", "vocabulary", &[("serde", "")]),
            package("judge", "pure", &[("model", ""), ("wal", "dev")]),
            package("wal", "edge", &[("model", ""), ("judge", "")]),
            package("shop", "demo", &[("wal", "")]),
            package("homeostat", "bin", &[("wal", ""), ("shop", ""), ("sim", "dev")]),
            package("sim", "test-support", &[("wal", "")]),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn arrows_up_are_named_with_what_would_be_allowed() {
        let found = check(&[
            package("model", "vocabulary", &[("judge", "")]),
            package("judge", "pure", &[("wal", ""), ("wal", "build")]),
            package("wal", "edge", &[("homeostat", "")]),
            package("homeostat", "bin", &[]),
        ]);
        assert_eq!(
            found,
            [
                "model (vocabulary) depends on judge (pure): vocabulary crates may depend on vocabulary",
                "judge (pure) depends on wal (edge): pure crates may depend on vocabulary, pure",
                "judge (pure) depends on wal (edge): pure crates may depend on vocabulary, pure",
                "wal (edge) depends on homeostat (bin): edge crates may depend on vocabulary, pure, edge",
            ]
        );
    }

    #[test]
    fn a_kind_is_needed_and_must_be_known() {
        let found = check(&[package("a", "", &[]), package("b", "attic", &[])]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a has no kind") && found[1].contains("`attic`"), "{found:?}");
    }

    #[test]
    fn a_ban_holds_through_helpers() {
        let found = banned_in_tree(
            "judge",
            "judge v0.1.0 (here)\nhelper v1.0.0\ntokio v1.54.0\ntokio v1.54.0 (*)\nmio-not v1\n",
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("judge reaches tokio: it brings tasks"), "{found:?}");
    }
}
