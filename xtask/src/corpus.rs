//! The corpus of faults is whole: each line parses, says what it may, and names profiles that are there.
//!
//! Whether a profile's content makes sense is for those who read it; here it must be gzip and name no machine's paths.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use serde::Deserialize;

use crate::{Findings, text, workspace::Workspace};

/// The corpus travels with every clone of the repository.
const CORPUS_BYTES_MAX: u64 = 25 << 20;
/// A profile unpacked: the largest are some hundred KiB, so a hundred times that is damage.
const PROFILE_BYTES_MAX: u64 = 32 << 20;
/// One program wrote all profiles, so what is wrong with one is wrong with many: unpacking each would take some seconds.
/// Odd, because the two kinds of profile take turns.
const UNPACKED_EVERY: usize = 7;
const FAULTS: [&str; 14] = [
    "none",
    "lock_contention",
    "sync_logging",
    "reflection_serialisation",
    "regex",
    "gc_pressure",
    "map_growth",
    "busy_loop",
    "fsync",
    "n_plus_one",
    "connection_churn",
    "goroutine_leak",
    "quadratic",
    "runqueue_neighbour",
];
const KINDS: [&str; 5] = ["normal", "fault", "benign", "mix", "unknown"];
const BENIGN: [&str; 3] = ["deploy", "load_x2", "new_endpoint"];
const ROLES: [&str; 3] = ["development", "validation", "sealed"];
const LANGUAGES: [&str; 3] = ["go", "rust", "c"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    program: String,
    language: String,
    role: String,
    #[serde(rename = "real")]
    _real: bool,
    #[serde(rename = "what")]
    _what: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Episode {
    id: String,
    program: String,
    fault: String,
    kind: String,
    also: Vec<String>,
    benign: Option<String>,
    intensity: Option<u8>,
    load: u8,
    run: u8,
    base: String,
    windows: u32,
    window_seconds: f64,
    hz: u32,
    samples: u64,
    took_effect: Option<bool>,
    signal: Option<Signal>,
    evidence: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signal {
    name: String,
    #[serde(rename = "base")]
    _base: f64,
    #[serde(rename = "now")]
    _now: f64,
    rule: String,
}

/// Looks through `corpus/`, program by program.
pub(crate) fn check(workspace: &Workspace) -> Findings {
    let root = workspace.root.join("corpus");
    let mut findings = Vec::new();
    let mut bytes = 0;
    for dir in folders(&root)? {
        bytes += check_program(&dir, &mut findings)?;
    }
    if CORPUS_BYTES_MAX < bytes {
        findings
            .push(format!("corpus: {bytes} bytes, {CORPUS_BYTES_MAX} are allowed: collect fewer or shorter episodes"));
    }
    Ok(findings)
}

/// Checks one program's folder and returns the bytes in it.
fn check_program(dir: &Path, findings: &mut Vec<String>) -> Result<u64, String> {
    let name = file_name(dir);
    let program: Program = serde_json::from_str(&read(&dir.join("program.json"))?)
        .map_err(|error| format!("corpus/{name}/program.json: {error}"))?;
    if program.program != name || !known(&ROLES, &program.role) || !known(&LANGUAGES, &program.language) {
        findings.push(format!("corpus/{name}/program.json: program, role or language is not one that is known"));
    }
    let mut episodes = Vec::new();
    for (at, line) in read(&dir.join("episodes.jsonl"))?.lines().enumerate() {
        match serde_json::from_str::<Episode>(line) {
            Ok(episode) => episodes.push(episode),
            Err(error) => findings.push(format!("corpus/{name}/episodes.jsonl:{}: {error}", at + 1)),
        }
    }
    let mut expected = vec!["program.json".to_owned(), "episodes.jsonl".to_owned()];
    for episode in &episodes {
        for problem in episode.problems(name, &episodes) {
            findings.push(format!("corpus/{name}: {}: {problem}", episode.id));
        }
        expected.extend(["cpu", "census"].map(|kind| format!("{}.{kind}.pb.gz", episode.id)));
    }
    let mut bytes = 0;
    for (at, path) in entries(dir)?.into_iter().enumerate() {
        let file = file_name(&path);
        if !expected.iter().any(|wanted| wanted == file) {
            findings.push(format!("corpus/{name}/{file}: no episode has this file"));
        }
        bytes += fs::metadata(&path).map_or(0, |data| data.len());
        if at % UNPACKED_EVERY == 0
            && path.extension().is_some_and(|ending| ending == "gz")
            && let Err(problem) = check_profile(&path)
        {
            findings.push(format!("corpus/{name}/{file}: {problem}"));
        }
    }
    for wanted in expected.iter().filter(|wanted| !dir.join(wanted).is_file()) {
        findings.push(format!("corpus/{name}/{wanted}: missing"));
    }
    Ok(bytes)
}

impl Episode {
    fn problems(&self, program: &str, all: &[Self]) -> Vec<&'static str> {
        let fault_known = |fault: &str| known(&FAULTS, fault) || fault.starts_with("unknown_");
        let with_fault = matches!(self.kind.as_str(), "fault" | "mix" | "unknown");
        let base = all.iter().find(|other| other.id == self.base && other.id != self.id);
        let numbers = self.evidence.values().chain([&self.window_seconds]).all(|value| value.is_finite());
        let checks = [
            (self.program == program && self.id.starts_with(program), "belongs to another program"),
            (all.iter().filter(|other| other.id == self.id).count() == 1, "is there more than once"),
            (known(&KINDS, &self.kind), "kind is not known"),
            (fault_known(&self.fault) && self.also.iter().all(|fault| fault_known(fault)), "label is not known"),
            (with_fault == (self.fault != "none"), "kind and label do not go together"),
            ((self.kind == "mix") != self.also.is_empty(), "only a mix has more than one fault"),
            ((self.kind == "unknown") == self.fault.starts_with("unknown_"), "kind and label do not go together"),
            ((self.kind == "benign") == self.benign.is_some(), "only a benign change has a name of one"),
            (self.benign.as_ref().is_none_or(|name| known(&BENIGN, name)), "benign change is not known"),
            (
                self.intensity.is_some() == with_fault && self.intensity.is_none_or(|level| (1..=4).contains(&level)),
                "intensity",
            ),
            (self.took_effect.is_some() == with_fault && self.signal.is_some() == with_fault, "no manipulation check"),
            (
                self.signal.as_ref().is_none_or(|signal| !signal.name.is_empty() && !signal.rule.is_empty()),
                "empty rule",
            ),
            ((1..=3).contains(&self.load) && 0 < self.run, "load or run"),
            (
                base.is_some_and(|base| base.kind == "normal" && base.load == self.load),
                "base is not another, normal episode of this load",
            ),
            (0 < self.windows && 0.0 < self.window_seconds && 0 < self.hz && 0 < self.samples, "nothing was sampled"),
            (numbers && self.evidence.contains_key("requests_per_second"), "evidence"),
        ];
        checks.into_iter().filter_map(|(holds, problem)| (!holds).then_some(problem)).collect()
    }
}

/// A profile unpacks within its limit and has none of the paths that only one machine has.
fn check_profile(path: &Path) -> Result<(), String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut body = Vec::new();
    GzDecoder::new(file).take(PROFILE_BYTES_MAX + 1).read_to_end(&mut body).map_err(|error| error.to_string())?;
    if body.is_empty() || PROFILE_BYTES_MAX < body.len() as u64 {
        return Err(format!(
            "unpacks to {} bytes, more than 0 and at most {PROFILE_BYTES_MAX} are allowed",
            body.len()
        ));
    }
    match text::own_path_in(&String::from_utf8_lossy(&body)) {
        Some(own) => Err(format!("names `{own}...`, which other machines do not have")),
        None => Ok(()),
    }
}

fn known(names: &[&str], name: &str) -> bool {
    names.contains(&name)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn folders(root: &Path) -> Result<Vec<PathBuf>, String> {
    Ok(entries(root)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// What lies in a folder, by name.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let problem = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(problem)? {
        paths.push(entry.map_err(problem)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(changes: &[(&str, serde_json::Value)]) -> Episode {
        let mut value = serde_json::json!({
            "id": "shop-a", "program": "shop", "fault": "none", "kind": "normal", "also": [], "benign": null, "intensity": null,
            "load": 1, "run": 1, "base": "shop-b", "windows": 5, "window_seconds": 1.0, "hz": 1999, "samples": 10,
            "took_effect": null, "signal": null, "evidence": {"requests_per_second": 5.0}
        });
        for (key, changed) in changes {
            value[*key] = changed.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let all = [episode(&[]), episode(&[("id", "shop-b".into())])];
        assert!(all[0].problems("shop", &all).is_empty());
        assert_eq!(all[0].problems("wiki", &all), ["belongs to another program"]);
        let label = "kind and label do not go together";
        let base = "base is not another, normal episode of this load";
        let wrong = [
            ("fault", "rust".into(), vec!["label is not known", label]),
            ("fault", "regex".into(), vec![label]),
            ("kind", "strange".into(), vec!["kind is not known"]),
            ("load", 4.into(), vec!["load or run", base]),
            ("load", 2.into(), vec![base]),
            ("samples", 0.into(), vec!["nothing was sampled"]),
            ("base", "shop-a".into(), vec![base]),
            ("base", "shop-c".into(), vec![base]),
            ("intensity", 2.into(), vec!["intensity"]),
        ];
        for (key, value, told) in wrong {
            let changed = [episode(&[(key, value)]), episode(&[("id", "shop-b".into())])];
            assert_eq!(changed[0].problems("shop", &changed), told, "{key}");
        }
        let fault = [("kind", "fault".into()), ("fault", "regex".into()), ("intensity", 2.into())];
        let unchecked = [episode(&fault), episode(&[("id", "shop-b".into())])];
        assert_eq!(unchecked[0].problems("shop", &unchecked), ["no manipulation check"]);
    }
}
