//! The corpus: programs, episodes, profiles (`corpus/README.md`).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use homeostat_explain_profile::{Case, Evidence, MEASURED_IN_UP, NO_FAULT, Observed, Signs, Words};
use homeostat_model::profile::{Frame, LabelValue, Profile, Stack, Text};
use homeostat_wire::pprof::{self, PprofLimits};
use serde::Deserialize;

use crate::Failed;

/// What a program is for. Decided before any result is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Rules and weights may look at it.
    Development,
    /// Thresholds may look at it.
    Validation,
    /// Nothing looks at it but the final figure.
    Sealed,
}

/// `program.json`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Program {
    pub(super) program: String,
    pub(super) role: Role,
    #[serde(default)]
    pub(super) language: String,
}

/// What was done to a program during an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Normal,
    Fault,
    Benign,
    Mix,
    Unknown,
}

/// A line of `episodes.jsonl`.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    id: String,
    fault: String,
    kind: Kind,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    benign: Option<String>,
    #[serde(default)]
    base: Option<String>,
    #[serde(default)]
    windows: Option<f64>,
    #[serde(default)]
    window_seconds: Option<f64>,
    #[serde(default)]
    took_effect: Option<bool>,
    #[serde(default)]
    intensity: Option<u32>,
    #[serde(default)]
    load: Option<u32>,
    #[serde(default)]
    evidence: BTreeMap<String, Option<f64>>,
}

/// A change of one program with what is known and what was seen.
#[derive(Clone, Debug)]
pub(super) struct Episode {
    pub(super) id: String,
    pub(super) program: String,
    pub(super) language: String,
    pub(super) role: Role,
    pub(super) kind: Kind,
    /// All faults that are there; empty for none.
    pub(super) faults: Vec<String>,
    /// What kind of benign change, or what unknown fault.
    pub(super) detail: String,
    pub(super) took_effect: Option<bool>,
    pub(super) intensity: Option<u32>,
    pub(super) load: Option<u32>,
    pub(super) seconds: f64,
    pub(super) signs: Signs,
    pub(super) words: Words,
}

impl Episode {
    /// A fault that did something.
    pub(super) fn is_fault(&self) -> bool {
        matches!(self.kind, Kind::Fault | Kind::Mix) && self.took_effect != Some(false)
    }

    /// Nothing that anybody should be told.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.kind, Kind::Normal | Kind::Benign)
    }

    /// The label that a library would give it; `None` when it is no example of one thing.
    pub(super) fn label(&self) -> Option<&str> {
        match self.kind {
            Kind::Fault if self.is_fault() => self.faults.first().map(String::as_str),
            Kind::Normal | Kind::Benign => Some(NO_FAULT),
            _ => None,
        }
    }

    /// It as a case.
    pub(super) fn case(&self) -> Option<Case> {
        Some(Case {
            id: format!("{}/{}", self.program, self.id),
            pattern: self.label()?.to_owned(),
            program: self.program.clone(),
            note: String::new(),
            vector: self.signs.vector.clone(),
            paths: self.signs.paths.clone(),
        })
    }
}

/// One side of a change, read.
struct Read {
    observed: Observed,
    words: Words,
}

/// What of the corpus is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// All that was measured.
    Everything,
    /// All, with names that no other program has for everything: what the standard library teaches is gone.
    HashedByProgram,
    /// What `homeostat up` has of an incident: CPU profiles, a census, and the numbers that it measures. Each episode is asked
    /// about as if an objective had broken.
    AsInUp,
}

/// Reads all programs of a corpus. An episode whose files are not there is an error, not an omission.
pub(super) fn read(dir: &Path, shown: Shown, wanted: impl Fn(&Program) -> bool) -> Result<Vec<Episode>, Failed> {
    let mut folders: Vec<PathBuf> = fs::read_dir(dir)
        .map_err(|error| format!("{}: {error}; `./dev corpus` makes it", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.join("program.json").is_file()))
        .collect();
    folders.sort();
    let mut episodes = Vec::new();
    for folder in folders {
        let about = folder.join("program.json");
        let program: Program = serde_json::from_str(&fs::read_to_string(&about)?)
            .map_err(|error| format!("{}: {error}", about.display()))?;
        if wanted(&program) {
            episodes.extend(program_episodes(&folder, &program, shown)?);
        }
    }
    Ok(episodes)
}

fn program_episodes(folder: &Path, program: &Program, shown: Shown) -> Result<Vec<Episode>, Failed> {
    let file = folder.join("episodes.jsonl");
    let mut lines = BTreeMap::new();
    for (number, text) in fs::read_to_string(&file)?.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line: Line =
            serde_json::from_str(text).map_err(|error| format!("{}, line {}: {error}", file.display(), number + 1))?;
        lines.insert(line.id.clone(), line);
    }
    let mut bases = BTreeMap::<String, Read>::new();
    let mut episodes = Vec::new();
    for line in lines.values() {
        let Some(base) = line.base.as_ref().filter(|base| **base != line.id) else { continue };
        let base_line = lines.get(base).ok_or_else(|| {
            format!("{}: episode {} names {base} as its base, which is not there", file.display(), line.id)
        })?;
        if !bases.contains_key(base) {
            bases.insert(base.clone(), side(folder, base_line, program, shown)?);
        }
        let (Some(before), now) = (bases.get(base), side(folder, line, program, shown)?) else { continue };
        episodes.push(episode(line, program, before, now, shown));
    }
    Ok(episodes)
}

fn episode(line: &Line, program: &Program, before: &Read, now: Read, shown: Shown) -> Episode {
    let signs = Signs::of_sides(&before.observed, &now.observed);
    let mut faults = vec![line.fault.clone()];
    faults.extend(line.also.iter().cloned());
    faults.retain(|fault| fault != "none");
    Episode {
        id: line.id.clone(),
        program: program.program.clone(),
        language: program.language.clone(),
        role: program.role,
        kind: line.kind,
        detail: line.benign.clone().unwrap_or_else(|| line.fault.clone()),
        faults,
        took_effect: line.took_effect,
        intensity: line.intensity,
        load: line.load,
        seconds: line.windows.unwrap_or(1.0) * line.window_seconds.unwrap_or(0.0),
        signs: if shown == Shown::AsInUp { signs.of_an_incident() } else { signs },
        words: now.words,
    }
}

fn side(folder: &Path, line: &Line, program: &Program, shown: Shown) -> Result<Read, Failed> {
    let open = |ending: &str| -> Result<Option<Profile>, Failed> {
        let path = folder.join(format!("{}.{ending}.pb.gz", line.id));
        if !path.is_file() {
            return Ok(None);
        }
        let profile = pprof::read(&fs::read(&path)?, &PprofLimits::default())
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Some(match shown {
            Shown::Everything | Shown::AsInUp => profile,
            Shown::HashedByProgram => hashed(&profile, &program.program),
        }))
    };
    let cpu = open("cpu")?.ok_or_else(|| format!("{}: episode {} has no CPU profile", folder.display(), line.id))?;
    let mut evidence: Evidence =
        line.evidence.iter().filter_map(|(name, value)| Some((name.clone(), (*value)?))).collect();
    if let (Some(windows), Some(seconds)) = (line.windows, line.window_seconds) {
        evidence.entry("seconds".to_owned()).or_insert(windows * seconds);
    }
    let census = open("census")?;
    let moments = census.as_ref().map_or(1.0, |census| snapshots(census, &evidence));
    if shown == Shown::AsInUp {
        let not_counted = if program.language == "go" { "threads" } else { "goroutines" };
        evidence.retain(|name, _| MEASURED_IN_UP.contains(&name.as_str()) && !name.starts_with(not_counted));
    }
    let observed = Observed::new([&cpu], evidence).with_census(&census, moments);
    Ok(Read { observed, words: Words::of(&cpu, cpu.samples_column()) })
}

/// How many moments a census holds: as was said, or as many as make its sum the number that the runtime told.
fn snapshots(census: &Profile, evidence: &Evidence) -> f64 {
    let told = evidence.get("goroutines").or_else(|| evidence.get("threads"));
    let sum = census.total(0) as f64;
    let guessed = told.filter(|count| 0.0 < **count).map_or(1.0, |count| (sum / count).round().clamp(1.0, 4.0));
    evidence.get("census_snapshots").copied().unwrap_or(guessed)
}

/// The profile with names that no other program has.
fn hashed(profile: &Profile, program: &str) -> Profile {
    let mut hidden = Profile::new(profile.types().to_vec());
    let mut stacks = vec![Stack::EMPTY];
    for stack in profile.stacks().iter() {
        let Some(frame) = profile.stacks().frame(stack) else { continue };
        let name = profile.text(frame.function).bytes().chain(program.bytes());
        let hash =
            name.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let (function, none) = (hidden.intern(&format!("main.f{hash:016x}")), Text::EMPTY);
        let parent = stacks.get(profile.stacks().parent(stack).index()).copied().unwrap_or(Stack::EMPTY);
        stacks.push(
            hidden
                .push_frame(parent, Frame { function, file: none, line: 0, module: none, address: 0, inlined: false }),
        );
    }
    for row in profile.rows() {
        let labels = profile.labels(row.labels).iter().map(|(name, value)| {
            let name = hidden.intern(profile.text(*name));
            let value = match value {
                LabelValue::Text(text) => LabelValue::Text(hidden.intern(profile.text(*text))),
                LabelValue::Number { value, unit } => {
                    LabelValue::Number { value: *value, unit: hidden.intern(profile.text(*unit)) }
                }
            };
            (name, value)
        });
        let labels: Vec<_> = labels.collect();
        let labels = hidden.intern_labels(labels);
        if let Some(stack) = stacks.get(row.stack.index()) {
            hidden.add(*stack, labels, row.values);
        }
    }
    hidden
}
