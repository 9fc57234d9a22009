//! `homeostat case`: the library of changes whose cause is known.
//!
//! A label is added at the end of the user's own library (`cases`); of two lines with one id the later one counts.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use homeostat_explain_profile::{Case, Library, line};

use super::{
    profile::explain::{Sides, look},
    render::{Style, plain, table},
};
use crate::cases;

/// Labels changes whose cause is known, so that they are named when they come again
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Files a change under the name of its cause
    Label(Label),
    /// Lists cases, the shipped ones too unless `--own`
    List {
        /// Only the user's own
        #[arg(long)]
        own: bool,
        /// As JSON, one case a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Shows one case with what it consists of
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Writes the user's own cases to a file, for somebody else to import
    Export {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Takes over cases from a file; of two with one id the new one counts
    Import {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, clap::Args)]
struct Label {
    /// The cause: a pattern such as `fsync`, or a name of your own
    pattern: String,
    /// The case's id, one of its kind: the incident's name, for example
    #[arg(long, value_name = "ID")]
    id: String,
    /// Which program
    #[arg(long, value_name = "NAME")]
    program: String,
    /// What to remember
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    sides: Sides,
    #[command(flatten)]
    place: Place,
}

/// Where the user's own cases are.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "homeostat-data")]
    data: PathBuf,
}

impl Place {
    fn file(&self) -> PathBuf {
        cases::file(&self.data)
    }

    /// The user's own cases; none when there is no file yet.
    fn own(&self) -> Result<Library, String> {
        cases::own(&self.data)
    }

    /// Shipped cases and the user's own.
    pub(crate) fn all(&self) -> Result<Library, String> {
        cases::all(&self.data)
    }

    /// Adds cases at the end. They are checked by reading them back before anything is written.
    fn add(&self, cases: &[Case]) -> Result<(), String> {
        let mut text: String = cases.iter().map(line).collect();
        Library::read(&text).map_err(|error| error.to_string())?;
        let failed = |error: std::io::Error| format!("{}: {error}", self.file().display());
        fs::create_dir_all(&self.data).map_err(failed)?;
        let mut file = fs::OpenOptions::new().create(true).append(true).read(true).open(self.file()).map_err(failed)?;
        if !ends_a_line(&mut file).map_err(failed)? {
            text.insert(0, '\n');
        }
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }
}

/// Whether what comes next begins a line: a person's editor may have left the last one open.
fn ends_a_line(file: &mut fs::File) -> std::io::Result<bool> {
    let mut last = [b'\n'];
    if 0 < file.metadata()?.len() {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(last == [b'\n'])
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let done = match &args.what {
        What::Label(asked) => label(asked),
        What::List { own, json, place } => list(*own, *json, place),
        What::Show { id, place } => show(id, place),
        What::Export { file, place } => export(file, place),
        What::Import { file, place } => import(file, place),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("homeostat: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn label(asked: &Label) -> Result<(), String> {
    let signs = look(&asked.sides)?;
    let case = Case {
        id: asked.id.clone(),
        pattern: asked.pattern.clone(),
        program: asked.program.clone(),
        note: asked.note.clone(),
        vector: signs.vector,
        paths: signs.paths,
    };
    if case.vector.is_empty() {
        return Err("nothing moved beyond noise between the two sides: there is nothing to remember".to_owned());
    }
    asked.place.add(std::slice::from_ref(&case))?;
    println!("{} is filed as {}", plain(&case.id), plain(&case.pattern));
    Ok(())
}

fn list(own: bool, json: bool, place: &Place) -> Result<(), String> {
    let library = if own { place.own()? } else { place.all()? };
    if json {
        print!("{}", library.write());
        return Ok(());
    }
    let row = |case: &Case| vec![plain(&case.id), plain(&case.pattern), plain(&case.program), plain(&case.note)];
    let rows: Vec<_> = library.cases.iter().map(row).collect();
    print!("{}", table(&["ID", "PATTERN", "PROGRAM", "NOTE"], &rows, Style::of_terminal()));
    Ok(())
}

fn show(id: &str, place: &Place) -> Result<(), String> {
    let library = place.all()?;
    let case = library.cases.iter().find(|case| case.id == id);
    let case = case.ok_or_else(|| format!("there is no case {id}; `homeostat case list` shows all"))?;
    println!("{}: {} in {}  {}", plain(&case.id), plain(&case.pattern), plain(&case.program), plain(&case.note));
    let mut entries: Vec<_> = case.vector.iter().collect();
    entries.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let rows: Vec<_> =
        entries.into_iter().take(20).map(|(key, value)| vec![format!("{value:+.3}"), plain(key)]).collect();
    print!("{}", table(&["MOVED", "WHAT"], &rows, Style::of_terminal()));
    for path in &case.paths {
        println!("added: {}", plain(&path.join(" < ")));
    }
    Ok(())
}

fn export(file: &Path, place: &Place) -> Result<(), String> {
    let own = place.own()?;
    fs::write(file, own.write()).map_err(|error| format!("{}: {error}", file.display()))?;
    println!("{} cases written to {}", own.cases.len(), file.display());
    Ok(())
}

fn import(file: &Path, place: &Place) -> Result<(), String> {
    let library = cases::of(file)?;
    place.add(&library.cases)?;
    println!("{} cases taken over", library.cases.len());
    Ok(())
}
