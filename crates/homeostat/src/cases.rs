//! The case library of a data directory: shipped cases, which are in the program, and the user's own.
//!
//! The user's own stand in `cases.jsonl` of the data directory, one JSON object a line (docs/format/cases.md). The command line
//! adds lines; whoever explains reads them anew each time, so that a label counts from the next incident on.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use homeostat_explain_profile::{BadLibrary, LIBRARY_BYTES_MAX, Library};

/// Name of the user's own library in the data directory.
const OWN: &str = "cases.jsonl";

/// The user's own library in a data directory.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join(OWN)
}

/// The user's own cases; none when there is no file yet. The error is a line for people.
pub(crate) fn own(dir: &Path) -> Result<Library, String> {
    match read(&file(dir)) {
        Err(Unreadable { not_there: true, .. }) => Ok(Library::default()),
        other => other.map_err(|unreadable| unreadable.why),
    }
}

/// Shipped cases and the user's own.
pub(crate) fn all(dir: &Path) -> Result<Library, String> {
    Ok(Library::shipped().joined(own(dir)?))
}

/// Cases of a file. The error is a line for people.
pub(crate) fn of(file: &Path) -> Result<Library, String> {
    read(file).map_err(|unreadable| unreadable.why)
}

struct Unreadable {
    why: String,
    not_there: bool,
}

fn read(file: &Path) -> Result<Library, Unreadable> {
    let failed =
        |why: &dyn std::fmt::Display, not_there| Unreadable { why: format!("{}: {why}", file.display()), not_there };
    let mut bytes = Vec::new();
    // One byte more than may be there tells that it is too large, wherever in a character that one is.
    let opened = File::open(file).and_then(|file| file.take(LIBRARY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    opened.map_err(|error| failed(&error, error.kind() == ErrorKind::NotFound))?;
    if LIBRARY_BYTES_MAX < bytes.len() {
        return Err(failed(&BadLibrary::TooLarge { bytes: bytes.len() }, false));
    }
    let text = String::from_utf8(bytes).map_err(|error| failed(&format_args!("it is not UTF-8: {error}"), false))?;
    Library::read(&text).map_err(|error| failed(&error, false))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn own_cases_join_the_shipped_ones_and_damage_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let shipped = Library::shipped().cases.len();
        assert_eq!(all(dir.path()).unwrap().cases.len(), shipped);
        let line = r#"{"id":"mine","pattern":"regex","program":"p","vector":{"c:regex":0.5}}"#;
        fs::write(file(dir.path()), line).unwrap();
        assert_eq!(all(dir.path()).unwrap().cases.len(), shipped + 1);
        fs::write(file(dir.path()), format!("{line}\n{{\n")).unwrap();
        let error = all(dir.path()).unwrap_err();
        assert!(error.contains("cases.jsonl: line 2: "), "{error}");
        fs::write(file(dir.path()), [0xff, 0xfe]).unwrap();
        let error = own(dir.path()).unwrap_err();
        assert!(error.contains("UTF-8"), "{error}");
        assert!(of(&dir.path().join("nowhere")).unwrap_err().contains("No such file"));
    }
}
