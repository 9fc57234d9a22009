//! How often the cause that is named for a change is right.
//!
//! Two products, apart in every figure: *recurrence* (other runs of the same program are known) and *transfer* (the program was
//! never seen). Splits are by program. Beside each stand the classical pipeline under the same split, and controls: labels dealt
//! out anew, and names of frames hashed by program.
//!
//! Not here: how the corpus is made (`./dev corpus`), the method (`crates/explain-profile`).

mod classical;
mod corpus;
mod days;
mod score;
mod splits;

use std::{fmt::Write as _, fs, path::PathBuf};

use homeostat_explain_profile::{CROWD, DETECTORS, Library, group_cases};
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};

use self::{
    corpus::{Episode, Role, Shown},
    score::{Figures, Item, figures, with_intervals},
    splits::{Hidden, Method, ask, ask_library, shuffled},
};
use crate::{Failed, write_figures};

/// Draws of programs for intervals.
const DRAWS: usize = 1_000;
/// Entries of a shipped case, the largest: what is beyond changes likenesses in the third digit.
const SHIPPED_ENTRIES: usize = 60;
/// Points that make a group of the classical pipeline where a fault was seen four times.
const CROWD_SMALL: usize = 3;
/// Members of a group of episodes that nobody named.
const GROUP_MEMBERS_MIN: usize = 5;

/// Options of the evaluation.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Without controls, baseline and sealed programs, and with fewer draws for intervals.
    #[arg(long)]
    quick: bool,
    /// The corpus.
    #[arg(long, value_name = "DIR", default_value = "corpus")]
    corpus: PathBuf,
    /// Only score the programs of this other corpus, all of them unseen, with the cases that Homeostat ships.
    #[arg(long, value_name = "DIR")]
    unseen: Option<PathBuf>,
    /// Write what was said about each episode, one JSON object a line; what is said as in `up` beside it, ending in `.up.jsonl`.
    #[arg(long, value_name = "FILE")]
    each: Option<PathBuf>,
    /// Write the cases of the development programs, to be shipped.
    #[arg(long, value_name = "FILE")]
    write_cases: Option<PathBuf>,
    /// Write what the classical pipeline makes of development and validation programs, for `bench/classical.py`.
    #[arg(long, value_name = "FILE")]
    write_vectors: Option<PathBuf>,
    /// Latencies of real programs, second by second, as `./dev bench normal --keep` writes them.
    #[arg(long, value_name = "FILE", default_value = "bench/data/normal-traffic.txt")]
    traffic: PathBuf,
    /// Days of normal operation that are played of each kind.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    days: u64,
    /// Where figures are written.
    #[arg(long, value_name = "FILE", default_value = "bench/out/explain.json")]
    out: PathBuf,
}

impl Args {
    /// A quick run leaves sealed programs out.
    fn wants(&self, program: &corpus::Program) -> bool {
        !self.quick || program.role != Role::Sealed
    }
}

/// Runs the evaluation.
pub(crate) fn run(args: &Args) -> Result<(), Failed> {
    if let Some(dir) = &args.unseen {
        return unseen(args, dir);
    }
    let episodes = corpus::read(&args.corpus, Shown::Everything, |program| args.wants(program))?;
    let of = |role: Role| -> Vec<&Episode> { episodes.iter().filter(|episode| episode.role == role).collect() };
    let (development, validation, sealed) = (of(Role::Development), of(Role::Validation), of(Role::Sealed));
    if let Some(file) = &args.write_cases {
        return ship(&development, file);
    }
    let seen: Vec<&Episode> = development.iter().chain(&validation).copied().collect();
    if let Some(file) = &args.write_vectors {
        return Ok(fs::write(file, classical::vectors(&seen)?)?);
    }
    let draws = if args.quick { DRAWS / 10 } else { DRAWS };
    let splits = [
        ("recurrence", ask(&seen, &seen, Hidden::Itself, Method::Both)),
        ("leave_one_program_out", ask(&development, &development, Hidden::ItsProgram, Method::Both)),
        ("validation", ask(&validation, &development, Hidden::ItsProgram, Method::Both)),
        ("sealed", ask(&sealed, &seen, Hidden::ItsProgram, Method::Both)),
    ];
    let mut report = json!({ "corpus": about(&episodes) });
    for (name, items) in splits.iter().filter(|(_, items)| !items.is_empty()) {
        let found = with_intervals(items, draws);
        print_split(name, &found);
        put(&mut report, &["splits", name], json!(found));
    }
    headline(&mut report);
    let asked = as_in_up(args, &mut report, &development, &seen)?;
    put(&mut report, &["normal"], days::normal(&args.traffic, if args.quick { 1 } else { args.days }, &asked)?);
    put(&mut report, &["rules"], rules());
    parts(&mut report, &development);
    put(&mut report, &["groups"], groups(&development));
    if !args.quick {
        controls(args, &mut report, &development, &sealed, &seen)?;
        classical_report(&mut report, &development, &validation, &sealed);
    }
    if let Some(file) = &args.each {
        write_each(file, &episodes, &splits)?;
    }
    write_figures(&args.out, &report)
}

/// `recurrence` and `transfer` at the top: transfer is that of the sealed programs where they were scored.
fn headline(report: &mut Value) {
    let split = |name: &str| report.pointer(&format!("/splits/{name}")).cloned().unwrap_or_default();
    let recurrence = split("recurrence");
    let main = ["sealed", "leave_one_program_out"].into_iter().find(|name| split(name).is_object());
    let mut transfer = main.map_or(Value::Null, split);
    if let Some(table) = transfer.as_object_mut() {
        table.insert("split".to_owned(), json!(main));
        for name in ["leave_one_program_out", "validation", "sealed"] {
            table.insert(name.to_owned(), split(name));
        }
    }
    put(report, &["recurrence"], recurrence);
    put(report, &["transfer"], transfer);
}

/// The same questions with as little as `homeostat up` knows of an incident; cases are known with all that was measured. Returns
/// the figures of the splits that hold every program once.
fn as_in_up(
    args: &Args,
    report: &mut Value,
    development: &[&Episode],
    seen: &[&Episode],
) -> Result<Vec<Figures>, Failed> {
    let asked = corpus::read(&args.corpus, Shown::AsInUp, |program| args.wants(program))?;
    let of = |roles: &[Role]| -> Vec<&Episode> { asked.iter().filter(|e| roles.contains(&e.role)).collect() };
    let splits = [
        ("recurrence", ask(&of(&[Role::Development, Role::Validation]), seen, Hidden::Itself, Method::Both)),
        ("leave_one_program_out", ask(&of(&[Role::Development]), development, Hidden::ItsProgram, Method::Both)),
        ("validation", ask(&of(&[Role::Validation]), development, Hidden::ItsProgram, Method::Both)),
        ("sealed", ask(&of(&[Role::Sealed]), seen, Hidden::ItsProgram, Method::Both)),
    ];
    if let Some(file) = &args.each {
        write_each(&file.with_extension("up.jsonl"), &asked, &splits)?;
    }
    let mut each_program_once = Vec::new();
    for (name, items) in splits.iter().filter(|(_, items)| !items.is_empty()) {
        let found = figures(items);
        print_split(&format!("as in `up`, {name}"), &found);
        put(report, &["as_in_up", name], json!(found));
        if ["recurrence", "sealed"].contains(name) {
            each_program_once.push(found);
        }
    }
    Ok(each_program_once)
}

/// What each half of the method is worth alone.
fn parts(report: &mut Value, development: &[&Episode]) {
    for (name, method) in [("detectors_alone", Method::Detectors), ("cases_alone", Method::Cases)] {
        let found = figures(&ask(development, development, Hidden::ItsProgram, method));
        print_split(name, &found);
        put(report, &["parts", name, "leave_one_program_out"], json!(found));
        let found = figures(&ask(development, development, Hidden::Itself, method));
        put(report, &["parts", name, "recurrence"], json!(found));
    }
}

fn controls(
    args: &Args,
    report: &mut Value,
    development: &[&Episode],
    sealed: &[&Episode],
    seen: &[&Episode],
) -> Result<(), Failed> {
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(11);
    let mut labels_of = |asked: &[&Episode], known: &[&Episode]| {
        let seed = chance.clone();
        chance.jump();
        shuffled(asked, known, &move |labels| labels.shuffle(&mut seed.clone()))
    };
    for (name, asked, known) in [("leave_one_program_out", development, development), ("sealed", sealed, seen)] {
        let found = figures(&labels_of(asked, known));
        print_split(&format!("labels shuffled, cases alone, {name}"), &found);
        put(report, &["controls", "labels_shuffled", name], json!(found));
    }
    let hashed = corpus::read(&args.corpus, Shown::HashedByProgram, |program| program.role == Role::Development)?;
    let hashed: Vec<&Episode> = hashed.iter().collect();
    for (name, method) in [("both", Method::Both), ("cases_alone", Method::Cases)] {
        let found = figures(&ask(&hashed, &hashed, Hidden::ItsProgram, method));
        print_split(&format!("frames hashed by program, {name}"), &found);
        put(report, &["controls", "frames_hashed", name], json!(found));
    }
    Ok(())
}

/// The classical pipeline as it is prescribed, and with groups as small as this corpus needs: it has a fault four times in a
/// program at most, and five points make a group.
fn classical_report(report: &mut Value, development: &[&Episode], validation: &[&Episode], sealed: &[&Episode]) {
    let seen: Vec<&Episode> = development.iter().chain(validation).copied().collect();
    for (what, crowd) in [("classical", CROWD), ("classical_small_groups", CROWD_SMALL)] {
        let splits = [
            ("in_sample", classical::in_sample(&seen, crowd)),
            ("leave_one_program_out", classical::leave_one_program_out(development, crowd)),
            ("sealed", classical::unseen(sealed, &seen, crowd)),
        ];
        for (name, items) in splits.iter().filter(|(_, items)| !items.is_empty()) {
            let found = figures(items);
            print_split(&format!("classical pipeline, groups around {crowd} points, {name}"), &found);
            put(report, &[what, name], json!(found));
        }
    }
}

/// Scores another corpus with what is shipped.
fn unseen(args: &Args, dir: &std::path::Path) -> Result<(), Failed> {
    let episodes = corpus::read(dir, Shown::Everything, |_| true)?;
    let asked: Vec<&Episode> = episodes.iter().collect();
    let items = ask_library(&asked, &Library::shipped());
    let found = with_intervals(&items, DRAWS);
    print_split("unseen programs, shipped cases", &found);
    if let Some(file) = &args.each {
        write_each(file, &episodes, &[("unseen", items)])?;
    }
    write_figures(&args.out, &json!({ "corpus": about(&episodes), "transfer": found }))
}

/// Writes the shipped library: single faults that took effect, and some quiet changes, of development programs alone.
fn ship(development: &[&Episode], file: &std::path::Path) -> Result<(), Failed> {
    // The weakest intensity teaches little that the others do not.
    let telling = |episode: &&&Episode| episode.is_quiet() || episode.intensity.is_none_or(|intensity| 2 <= intensity);
    let mut cases: Vec<_> = development.iter().filter(telling).filter_map(|episode| episode.case()).collect();
    for case in &mut cases {
        let mut entries: Vec<_> = std::mem::take(&mut case.vector).into_iter().collect();
        entries.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then_with(|| a.0.cmp(&b.0)));
        entries.truncate(SHIPPED_ENTRIES);
        case.vector = entries.into_iter().collect();
    }
    cases.retain(|case| !case.vector.is_empty());
    let library = Library { cases };
    fs::write(file, library.write())?;
    println!("{} cases of {} programs written to {}", library.cases.len(), library.programs().len(), file.display());
    Ok(())
}

/// The rules with the limits that the figures were measured with.
fn rules() -> Value {
    let rule = |detector: &&homeostat_explain_profile::Detector| json!({ "pattern": detector.pattern, "looks_at": detector.looks_at, "limits": detector.limits });
    DETECTORS.iter().map(rule).collect()
}

/// Groups of faults as if nobody had named them, against their patterns and their programs.
fn groups(development: &[&Episode]) -> Value {
    let faults: Vec<&&Episode> = development.iter().filter(|episode| episode.is_fault()).collect();
    let cases: Vec<_> = faults.iter().filter_map(|episode| episode.case()).collect();
    let labels = group_cases(&cases, GROUP_MEMBERS_MIN);
    let patterns: Vec<&str> = cases.iter().map(|case| case.pattern.as_str()).collect();
    let programs: Vec<&str> = cases.iter().map(|case| case.program.as_str()).collect();
    let found = classical::agreement(&labels, &patterns, &programs);
    println!("\ngroups of faults without labels (HDBSCAN on vectors): {found}");
    found
}

fn about(episodes: &[Episode]) -> Value {
    let mut programs = std::collections::BTreeMap::new();
    for episode in episodes {
        let entry = programs.entry(episode.program.clone()).or_insert_with(|| {
            json!({ "language": episode.language, "role": format!("{:?}", episode.role).to_lowercase(), "episodes": 0, "faults": 0, "no_effect": 0 })
        });
        for (name, counts) in [
            ("episodes", true),
            ("faults", episode.is_fault()),
            ("no_effect", episode.took_effect == Some(false) && !episode.is_quiet()),
        ] {
            let before = entry.get(name).and_then(Value::as_u64).unwrap_or(0);
            put(entry, &[name], json!(before + u64::from(counts)));
        }
    }
    json!({ "episodes": episodes.len(), "faults": episodes.iter().filter(|e| e.is_fault()).count(), "programs": programs })
}

fn write_each(file: &std::path::Path, episodes: &[Episode], splits: &[(&str, Vec<Item>)]) -> Result<(), Failed> {
    let mut text = String::new();
    for (split, items) in splits {
        for item in items {
            let about = episodes.iter().find(|episode| episode.id == item.id && episode.program == item.program);
            let line = json!({
                "split": split, "program": item.program, "id": item.id, "truth": item.truth, "said": item.said,
                "class": format!("{:?}", item.class), "detail": item.detail,
                "intensity": about.and_then(|e| e.intensity), "load": about.and_then(|e| e.load),
                "harm": about.and_then(|e| e.signs.harm), "moved": about.map(|e| e.signs.moved),
                "samples": about.map(|e| e.signs.samples),
                "strengths": about.map(|e| e.signs.findings.iter().map(|f| (f.pattern, (f.strength * 100.0).round() / 100.0)).collect::<std::collections::BTreeMap<_, _>>()),
                "evidence": about.map(|e| e.signs.findings.iter().filter(|f| 1.0 <= f.strength).map(|f| (f.pattern, f.evidence.clone())).collect::<std::collections::BTreeMap<_, _>>()),
                "vector": about.map(|e| &e.signs.vector), "paths": about.map(|e| &e.signs.paths),
            });
            writeln!(text, "{line}")?;
        }
    }
    fs::write(file, text)?;
    Ok(())
}

fn put(report: &mut Value, path: &[&str], value: Value) {
    let Some((last, above)) = path.split_last() else { return };
    let mut at = report;
    for name in above {
        let Value::Object(table) = at else { return };
        at = table.entry(*name).or_insert_with(|| json!({}));
    }
    if let Value::Object(table) = at {
        table.insert((*last).to_owned(), value);
    }
}

fn print_split(name: &str, found: &Figures) {
    let interval = |figure: &str| match found.interval.get(figure) {
        Some([low, high]) => format!(" [{:.0}-{:.0}]", 100.0 * low, 100.0 * high),
        None => String::new(),
    };
    let percent = |value: f64| format!("{:.1} %", 100.0 * value);
    println!("\n{name}: {} faults in {} patterns of {} programs", found.faults, found.patterns, found.programs);
    println!(
        "  macro precision {}{}, recall {}{}; top-1 {}{}, top-3 {}{}",
        percent(found.precision),
        interval("precision"),
        percent(found.recall),
        interval("recall"),
        percent(found.top1),
        interval("top1"),
        percent(found.top3),
        interval("top3"),
    );
    println!(
        "  named {}{} of faults, right {} of those, {} of everything named; coverage at precision 0.9: {}{}",
        percent(found.coverage),
        interval("coverage"),
        percent(found.precision_named),
        percent(found.precision_all_named),
        percent(found.coverage_at_090),
        interval("coverage_at_090"),
    );
    println!(
        "  unknown faults left unnamed: {} of {}; named though benign: {} of {}, though normal: {} of {} ({:.1} h)",
        found.abstained_unknown.map_or_else(|| "-".to_owned(), percent),
        found.unknown,
        found.benign_named,
        found.benign,
        found.normal_named,
        found.normal,
        found.normal_hours,
    );
}
