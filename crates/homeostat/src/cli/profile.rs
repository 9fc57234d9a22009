//! `homeostat profile`: looks at profiles, and says what moved between two behaviours.
//!
//! Profiles come from pprof files, from URLs that serve them, or from the kernel (`profile_cpu`). Nothing is kept; where a file is written, it is written
//! whole or not at all.

pub(crate) mod explain;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Subcommand;
use homeostat_explain_profile::{Diff, DiffOptions, diff};
use homeostat_model::profile::{Profile, Stack};
use homeostat_profile::{Drawing, Flame, flame, flame_diff, merge, svg, weights};
use homeostat_sense_scrape::{
    fetch::{Fetcher, Question},
    spec::HttpSpec,
};
use homeostat_wire::pprof::{self, PprofLimits};
use serde_json::{Value, json};

use super::{
    profile_cpu, profile_goroutines, profile_off_cpu,
    quantity::{Time, parse_time},
    render::{Style, profiles},
};
use homeostat_model::error_chain::chain;

/// Takes CPU profiles, looks at pprof profiles, and says which functions moved between two behaviours
///
/// A SOURCE is a file (pprof, with or without gzip) or an `http://` or `https://` URL such as
/// `http://127.0.0.1:6060/debug/pprof/profile?seconds=10`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Samples what runs on the CPUs: a process, a service or the whole machine, unchanged and in any compiled language
    Cpu(profile_cpu::Args),
    /// Samples where threads wait and for how long: a process or a service, unchanged and in any compiled language
    OffCpu(profile_off_cpu::Args),
    /// Counts a Go program's goroutines by what they wait for and who started them, from outside and without stopping it
    Goroutines(profile_goroutines::Args),
    /// Adds profiles up and shows their heaviest functions, or writes them as a flame graph, pprof, folded stacks or JSON
    Show(Show),
    /// Says which functions moved between windows of a good and of a bad behaviour, and which did not beyond noise
    Diff(Compare),
    /// Names the pattern that a change follows, with its evidence and what to check next, or says that nobody knows it
    Explain(Box<explain::Asked>),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Files or URLs; several are added up
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Compare {
    /// Windows of the good behaviour. Several short ones are better than a long one: they show how much is noise
    #[arg(long, value_name = "SOURCE", num_args = 1.., required = true)]
    good: Vec<String>,
    /// Windows of the bad behaviour
    #[arg(long, value_name = "SOURCE", num_args = 1.., required = true)]
    bad: Vec<String>,
    /// Smallest difference that matters, as a share of all samples in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    effect: f64,
    #[command(flatten)]
    common: Common,
}

/// How a profile is shown or written.
#[derive(Debug, clap::Args)]
pub(super) struct Presentation {
    /// What to look at, by the name in the profile: `cpu`, `inuse_space`, `contentions` [default: the profile's own choice;
    /// for `diff` the column that counts samples]
    #[arg(long = "type", value_name = "TYPE")]
    column: Option<String>,
    /// Where to write to; the ending says what: `.svg` a flame graph, `.pb.gz` pprof, `.folded` stacks, `.json` numbers;
    /// `-` lists functions
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Machine-readable output
    #[arg(long)]
    pub(super) json: bool,
    /// Functions to list
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(super) top: usize,
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    presentation: Presentation,
    /// Sources are selectors of profiles that this server keeps, such as
    /// `process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name="shop"}`
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Since when the server's profiles are added up: `now-1h`, or seconds since 1970
    #[arg(long, value_name = "TIME", default_value = "now-1h", requires = "server")]
    from: String,
    /// Until when
    #[arg(long, value_name = "TIME", default_value = "now", requires = "server")]
    until: String,
    /// How long to wait for a URL
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_time)]
    timeout: Time,
}

/// Why there is nothing to show; the text says what to do.
pub(super) type Failed = String;

pub(crate) fn run(args: &Args) -> ExitCode {
    let done = match &args.what {
        What::Cpu(asked) => profile_cpu::run(asked),
        What::OffCpu(asked) => profile_off_cpu::run(asked),
        What::Goroutines(asked) => profile_goroutines::run(asked),
        What::Show(asked) => show(asked),
        What::Diff(asked) => compare(asked),
        What::Explain(asked) => explain::run(asked),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("homeostat: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn show(asked: &Show) -> Result<(), Failed> {
    let profiles = read_all(&asked.sources, &asked.common)?;
    let sum = merge(&profiles).ok_or("there is no profile")?;
    present(&sum, &asked.sources.join(", "), &asked.common.presentation)
}

impl Presentation {
    /// The file to write to, checked before anything takes its time.
    pub(super) fn file(&self) -> Result<Option<&Path>, Failed> {
        let file = self.output.as_deref().filter(|file| *file != Path::new("-"));
        file.map(|file| ending(file).map(|_| file)).transpose()
    }
}

/// Shows one profile as asked for.
pub(super) fn present(sum: &Profile, title: &str, how: &Presentation) -> Result<(), Failed> {
    let column = column(sum, how.column.as_deref(), sum.default_type())?;
    if let Some(file) = how.file()? {
        return match ending(file)? {
            Ending::Svg => write(file, draw(&flame(sum, column), title, sum, column).as_bytes()),
            Ending::Pprof => write(file, &pprof::write(sum)),
            Ending::Folded => write(file, folded(sum, column).as_bytes()),
            Ending::Json => write(file, flamebearer(&flame(sum, column), sum, column).to_string().as_bytes()),
        };
    }
    let found = weights(sum, column);
    if how.json {
        let functions: Vec<_> = profiles::heaviest(&found)
            .into_iter()
            .take(how.top)
            .map(|(name, weight)| json!({ "function": name, "own": weight.own, "total": weight.total }))
            .collect();
        let types: Vec<_> =
            sum.types().iter().map(|column| json!({ "type": column.kind, "unit": column.unit })).collect();
        let answer = json!({
            "types": types, "type": sum.types().get(column).map(|column| &column.kind), "sum": found.sum,
            "startedNs": sum.started_ns, "durationNs": sum.duration_ns, "functions": functions,
        });
        println!("{answer:#}");
        return Ok(());
    }
    print!("{}", profiles::top(sum, column, &found, how.top, Style::of_terminal()));
    Ok(())
}

fn compare(asked: &Compare) -> Result<(), Failed> {
    let (common, how) = (&asked.common, &asked.common.presentation);
    if !(0.0..=100.0).contains(&asked.effect) {
        return Err("`--effect` is a share in percent, 0 to 100".to_owned());
    }
    let (good, bad) = (read_all(&asked.good, common)?, read_all(&asked.bad, common)?);
    let columns = |windows: &[Profile]| -> Result<Vec<usize>, Failed> {
        windows.iter().map(|window| column(window, how.column.as_deref(), window.samples_column())).collect()
    };
    let (good_columns, bad_columns) = (columns(&good)?, columns(&bad)?);
    let windows =
        |profiles, columns: &[usize]| -> Vec<_> { std::iter::zip(profiles, columns.iter().copied()).collect() };
    let options = DiffOptions { effect_min: asked.effect / 100.0, ..DiffOptions::default() };
    let found = diff(&windows(&good, &good_columns), &windows(&bad, &bad_columns), &options);
    if let Some(file) = how.file()? {
        let (before, now) = (merge(&good).ok_or("there is no profile")?, merge(&bad).ok_or("there is no profile")?);
        let at = |columns: &[usize]| columns.first().copied().unwrap_or(0);
        return match ending(file)? {
            Ending::Svg => {
                let graph = flame_diff(&before, at(&good_columns), &now, at(&bad_columns));
                let names = found.names();
                let drawing = Drawing { title: "what moved", unit: "samples", moved: Some(&names) };
                write(file, svg(&graph, &drawing).as_bytes())
            }
            Ending::Json => write(file, in_json(&found)?.as_bytes()),
            Ending::Pprof | Ending::Folded => {
                Err(format!("a comparison is written as `.svg` or `.json`, not as `{}`", file.display()))
            }
        };
    }
    if how.json {
        println!("{}", in_json(&found)?);
    } else {
        print!("{}", profiles::moved(&found, how.top, Style::of_terminal()));
    }
    Ok(())
}

fn in_json(found: &Diff) -> Result<String, Failed> {
    serde_json::to_string_pretty(found).map_err(|error| error.to_string())
}

fn column(profile: &Profile, wanted: Option<&str>, default: usize) -> Result<usize, Failed> {
    let Some(wanted) = wanted else { return Ok(default) };
    profile.column(wanted).ok_or_else(|| {
        let there: Vec<_> = profile.types().iter().map(|column| format!("`{}`", column.kind)).collect();
        format!("the profile does not count `{wanted}`; it counts {}", there.join(", "))
    })
}

/// Reads all sources, URLs at the same time: they often take as long as they measure.
fn read_all(sources: &[String], common: &Common) -> Result<Vec<Profile>, Failed> {
    let stored: Vec<String>;
    let sources = if let Some(server) = &common.server {
        stored = sources.iter().map(|selector| stored_at(server, selector, common)).collect();
        &stored
    } else {
        sources
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let urls = sources.iter().any(|source| is_url(source));
    if urls {
        eprintln!("asking for profiles; an endpoint answers when it has measured");
    }
    let bodies: Vec<Result<Vec<u8>, Failed>> = runtime.block_on(async {
        let asked: Vec<_> = sources.iter().map(|source| tokio::spawn(body(source.clone(), common.timeout.0))).collect();
        let mut bodies = Vec::new();
        for asked in asked {
            bodies.push(asked.await.unwrap_or_else(|error| Err(error.to_string())));
        }
        bodies
    });
    let read = |(source, body): (&String, Result<Vec<u8>, Failed>)| {
        pprof::read(&body?, &PprofLimits::default()).map_err(|error| format!("{source} cannot be read: {error}"))
    };
    sources.iter().zip(bodies).map(read).collect()
}

/// Where a server gives the sum of what it keeps, as pprof.
fn stored_at(server: &str, selector: &str, common: &Common) -> String {
    let mut url = format!("{}/pyroscope/render?format=pprof", server.trim_end_matches('/'));
    for (name, value) in [("query", selector), ("from", &common.from), ("until", &common.until)] {
        let _ = write!(url, "&{name}=");
        for byte in value.bytes() {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

async fn body(source: String, timeout: Duration) -> Result<Vec<u8>, Failed> {
    if !is_url(&source) {
        return fs::read(&source).map_err(|error| format!("{source} cannot be read: {error}"));
    }
    let failed = |error: &dyn std::error::Error| format!("{source} does not answer: {}", chain(error));
    let spec = HttpSpec { follow_redirects: true, ..HttpSpec::default() };
    let fetcher = Fetcher::new(Arc::new(spec)).map_err(|error| failed(&error))?;
    let body_bytes_max = PprofLimits::default().bytes_max as u64;
    let question =
        Question { url: &source, timeout, accept: "application/octet-stream, */*", compression: false, body_bytes_max };
    let answer = fetcher.get(&question).await.map_err(|error| failed(&error))?;
    Ok(answer.body.to_vec())
}

/// What a file's name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Svg,
    Pprof,
    Folded,
    Json,
}

fn ending(file: &Path) -> Result<Ending, Failed> {
    let name = file.to_string_lossy();
    let endings = [
        (".svg", Ending::Svg),
        (".pb.gz", Ending::Pprof),
        (".pprof", Ending::Pprof),
        (".folded", Ending::Folded),
        (".json", Ending::Json),
    ];
    let found = endings.into_iter().find(|(ending, _)| name.ends_with(ending));
    found.map(|(_, kind)| kind).ok_or_else(|| {
        format!("what should be written to `{name}`? end the name in `.svg`, `.pb.gz`, `.folded` or `.json`")
    })
}

/// Writes whole or not at all.
fn write(file: &Path, content: &[u8]) -> Result<(), Failed> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let written = fs::write(&part, content).and_then(|()| fs::rename(&part, file));
    written.map_err(|error| {
        // What is left of it helps nobody; the error that matters is the first one.
        drop(fs::remove_file(&part));
        format!("{} cannot be written: {error}", file.display())
    })?;
    eprintln!("wrote {}", file.display());
    Ok(())
}

fn draw(graph: &Flame, title: &str, profile: &Profile, column: usize) -> String {
    let unit = profile.types().get(column).map_or("", |column| &column.unit);
    svg(graph, &Drawing { title, unit, moved: None })
}

/// Brendan Gregg's folded stacks: one line a stack, outermost function first, and its number.
fn folded(profile: &Profile, column: usize) -> String {
    let mut lines = BTreeMap::<String, i64>::new();
    for row in profile.rows().filter(|row| row.stack != Stack::EMPTY) {
        let mut names: Vec<String> = profile
            .stacks()
            .walk(row.stack)
            .map(|frame| profile.frame_name(frame).replace([';', '\n', '\r'], "_"))
            .collect();
        names.reverse();
        let line = lines.entry(names.join(";")).or_default();
        *line = line.saturating_add(row.values.get(column).copied().unwrap_or(0));
    }
    let mut text = String::new();
    for (stack, value) in lines.iter().filter(|(_, value)| **value != 0) {
        let _ = writeln!(text, "{stack} {value}");
    }
    text
}

/// Pyroscope's flamebearer.
fn flamebearer(graph: &Flame, profile: &Profile, column: usize) -> Value {
    let unit = profile.types().get(column).map_or("", |column| column.unit.as_str());
    // Pyroscope shows times as samples of which there are so many in a second.
    let (unit, rate) = if unit == "nanoseconds" { ("samples", 1_000_000_000) } else { (unit, 100) };
    let ticks = graph.nodes.first().map_or(0, |root| root.total[1]);
    let most = graph.nodes.iter().map(|node| node.own[1]).max().unwrap_or(0);
    json!({
        "version": 1,
        "flamebearer": { "names": graph.names, "levels": graph.levels(), "numTicks": ticks, "maxSelf": most },
        "metadata": { "format": "single", "units": unit, "sampleRate": rate },
    })
}
