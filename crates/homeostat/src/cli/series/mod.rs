//! `homeostat series`: looks at the files of the metrics store, proves that all of them can be read, mends them, and
//! copies them to and from a directory or a bucket; shows what the series of a running server are made of.
//!
//! The store must not be in use, except for a backup, which may ask the running server for a snapshot. Looking changes
//! nothing, so a read-only directory will do for it.

mod backup;
mod inspect;
mod mend;
mod top;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Subcommand;
use homeostat_store_series::{OpenError, Progress};

use homeostat_model::error_chain::chain;

/// After so long without an end a person wants to know how far it is; and again each time.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Arguments of `homeostat series`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Top(top::Args),
    /// Lists blocks, what takes how many bytes in them, deletions and the log
    Inspect(Inspect),
    /// Reads every byte: all checksums, all chunks, all lists; ends with 1 if something is damaged
    Verify(Dir),
    /// Keeps everything that can be read and sets aside what cannot; nothing is deleted
    Repair(Dir),
    /// Copies the store to a directory or a bucket; what is there already is not sent again
    Backup(backup::Backup),
    /// Makes a store from a backup
    Restore(backup::Restore),
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// A data directory of `homeostat server`, or a snapshot of one
    dir: PathBuf,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Dir {
    /// A data directory of `homeostat server`, or a snapshot of one
    dir: PathBuf,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Why a command was not carried out, in words, and its exit code: 2 when the user has something to mend.
pub(super) struct Failure {
    said: String,
    code: u8,
}

impl Failure {
    fn user(said: String) -> Self {
        Self { said, code: 2 }
    }

    fn other(said: String) -> Self {
        Self { said, code: 1 }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Log(homeostat_store_wal::OpenError::Locked { dir }) => {
                // What is locked is the log within the store.
                let dir = dir.parent().unwrap_or(&dir).display();
                Self::user(format!("{dir} is in use; stop the server that uses it first"))
            }
            other => Self::other(chain(&other)),
        }
    }
}

/// Runs `homeostat series`.
pub(crate) fn run(args: Args) -> ExitCode {
    let done = match args.what {
        What::Top(args) => return top::run(&args),
        What::Inspect(Inspect { dir, json }) => inspect::run(&dir, json),
        What::Verify(Dir { dir, json }) => mend::verified(&dir, json),
        What::Repair(Dir { dir, json }) => mend::repaired(&dir, json),
        What::Backup(backup) => backup.run(),
        What::Restore(restore) => restore.run(),
    };
    match done {
        Ok((text, code)) => {
            print!("{text}");
            code
        }
        Err(Failure { said, code }) => {
            eprintln!("error: {said}");
            ExitCode::from(code)
        }
    }
}

/// Text for standard output, and the exit code.
type Done = Result<(String, ExitCode), Failure>;

/// Folder of the store within a data directory.
const STORE_DIR: &str = "series";

/// The store in a data directory, or `dir` itself when it is one. Other directories are refused: an empty one must not
/// pass as intact.
fn store_in(dir: &Path) -> Result<PathBuf, Failure> {
    let is_store = |dir: &PathBuf| ["MANIFEST", "log", "blocks"].iter().any(|name| dir.join(name).exists());
    let found = [dir.join(STORE_DIR), dir.to_owned()].into_iter().find(is_store);
    found.ok_or_else(|| {
        let dir = dir.display();
        Failure::user(format!("there is no metrics store in {dir}; name a data directory of `homeostat server`"))
    })
}

/// Says on standard error how far something is, when it takes long.
struct Meter {
    what: &'static str,
    began: Instant,
    said: Instant,
}

impl Meter {
    fn new(what: &'static str) -> Self {
        let now = Instant::now();
        Self { what, began: now, said: now }
    }

    fn at(&mut self, progress: Progress) {
        if self.said.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.said = Instant::now();
        let Progress { done, all } = progress;
        let (share, seconds) = (done as f64 / all.max(1) as f64, self.began.elapsed().as_secs_f64());
        let left = seconds / share.max(1e-9) - seconds;
        let text = format!("{}: {} of {}, {left:.0} s left", self.what, size(done), size(all));
        // On a terminal one line that changes, else lines.
        if std::io::stderr().is_terminal() { eprint!("\r{text}\x1b[K") } else { eprintln!("{text}") }
    }

    /// Clears the line.
    fn end(self) {
        if self.said != self.began && std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

/// Said on standard error where no process could be kept from writing, so that scripts read the same output.
fn warn_unguarded(dir: &Path, unguarded: bool) {
    if unguarded {
        let dir = dir.display();
        eprintln!(
            "warning: {dir}/log has no LOCK that can be opened: a server may have been writing meanwhile, and what it was writing looks like damage"
        );
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, unit)| *unit <= bytes);
    unit.map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{:.1} {name}", bytes as f64 / *unit as f64))
}

/// An instant for people and machines.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}
