//! `homeostat profile explain`: which pattern a change follows, or that nobody knows it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use homeostat_explain_profile::{Evidence, Explanation, Observed, Outcome, Signs, explain};
use homeostat_model::profile::Profile;
use homeostat_wire::pprof::{self, PprofLimits};
use serde::Deserialize;

use crate::cli::{
    case::Place,
    render::{Style, plain, wrap},
};

/// Bytes of an evidence file: it holds some dozens of numbers.
const EVIDENCE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    sides: Sides,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Two sides of a change.
#[derive(Debug, clap::Args)]
pub(crate) struct Sides {
    /// CPU profile from before, as pprof
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// CPU profile of now, as pprof
    #[arg(value_name = "NOW")]
    now: PathBuf,
    /// Goroutines or threads from before, as pprof
    #[arg(long, value_name = "FILE", requires = "census_now")]
    census_base: Option<PathBuf>,
    /// Goroutines or threads of now, as pprof
    #[arg(long, value_name = "FILE", requires = "census_base")]
    census_now: Option<PathBuf>,
    /// What else was measured: JSON with an object `base` and an object `now` of numbers by name
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
}

/// What an evidence file holds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceFile {
    base: Evidence,
    now: Evidence,
}

/// Explains and prints.
pub(crate) fn run(asked: &Asked) -> Result<(), String> {
    let explanation = explain(&look(&asked.sides)?, &asked.place.all()?);
    if asked.json {
        println!("{}", serde_json::to_string_pretty(&explanation).map_err(|error| error.to_string())?);
    } else {
        print!("{}", page(&explanation, Style::of_terminal()));
    }
    Ok(())
}

/// Reads both sides and looks at the change.
pub(crate) fn look(sides: &Sides) -> Result<Signs, String> {
    let evidence = match &sides.evidence {
        Some(file) => evidence(file)?,
        None => EvidenceFile::default(),
    };
    let side = |cpu: &Path, census: Option<&PathBuf>, evidence: Evidence| -> Result<Observed, String> {
        let moments = evidence.get("census_snapshots").copied().unwrap_or(1.0);
        let census = census.map(|file| read(file)).transpose()?;
        Ok(Observed::new([&read(cpu)?], evidence).with_census(&census, moments))
    };
    let base = side(&sides.base, sides.census_base.as_ref(), evidence.base)?;
    let now = side(&sides.now, sides.census_now.as_ref(), evidence.now)?;
    Ok(Signs::of_sides(&base, &now))
}

fn read(file: &Path) -> Result<Profile, String> {
    let bytes = fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    pprof::read(&bytes, &PprofLimits::default()).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

fn evidence(file: &Path) -> Result<EvidenceFile, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{} cannot be read: {why}", file.display());
    let bytes = fs::metadata(file).map_err(|error| failed(&error))?.len();
    if EVIDENCE_BYTES_MAX < bytes {
        return Err(failed(&format!("{bytes} bytes, {EVIDENCE_BYTES_MAX} at most")));
    }
    let text = fs::read_to_string(file).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

fn page(found: &Explanation, style: Style) -> String {
    let mut out = match found.outcome {
        Outcome::Named => String::new(),
        Outcome::Unknown => "something moved, and no known pattern explains it\n".to_owned(),
        Outcome::Benign => "nothing got worse that a pattern would explain\n".to_owned(),
        Outcome::NotEnoughEvidence => "not enough evidence\n".to_owned(),
    };
    for (place, named) in found.patterns.iter().enumerate() {
        let _ =
            writeln!(out, "{}. {} ({:.0} %): {}", place + 1, plain(&named.pattern), 100.0 * named.score, named.meaning);
        for line in &named.evidence {
            out.push_str(&wrap(&plain(line), "   ", style.width));
        }
        out.push_str(&wrap(&format!("next: {}", named.next), "   ", style.width));
    }
    let [base, now] = found.samples;
    let _ = writeln!(
        out,
        "{base:.0} samples before, {now:.0} now; {:.1} % of CPU time was added beyond noise",
        100.0 * found.moved
    );
    for missing in &found.missing {
        out.push_str(&wrap(&format!("missing: {missing}"), "  ", style.width));
    }
    out
}
