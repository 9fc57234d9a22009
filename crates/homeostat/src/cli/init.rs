//! `homeostat init`: a commented configuration to start from, asking nothing.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::config::STARTER;

/// Writes a commented starter configuration; never overwrites a file unless told to
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write it
    #[arg(value_name = "FILE", default_value = "homeostat.yaml")]
    path: PathBuf,
    /// Overwrite the file if it exists
    #[arg(long)]
    force: bool,
}

/// What to do with a file that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    Keep,
    Overwrite,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let shown = args.path.display();
    match write(&args.path, if args.force { Existing::Overwrite } else { Existing::Keep }) {
        Ok(()) => {
            println!("wrote {shown}; next: edit it, `homeostat check -c {shown}`, `homeostat up -c {shown}`");
            ExitCode::SUCCESS
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            eprintln!("homeostat: {shown} exists already; give another path, or `--force` to overwrite it");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("homeostat: cannot write {shown}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(path: &Path, existing: Existing) -> io::Result<()> {
    let mut options = OpenOptions::new();
    match existing {
        Existing::Keep => options.write(true).create_new(true),
        Existing::Overwrite => options.write(true).create(true).truncate(true),
    };
    let mut file = options.open(path)?;
    file.write_all(STARTER.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_overwrites_unless_told_to_and_the_result_passes_check() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("homeostat.yaml");
        write(&path, Existing::Keep).unwrap();
        let config = crate::config::load(&path, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(config.warnings.is_empty());

        std::fs::write(&path, "mine").unwrap();
        assert_eq!(write(&path, Existing::Keep).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        write(&path, Existing::Overwrite).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), STARTER);
    }
}
