//! Configuration files as text, and places in them.
//!
//! A [`Place`] is what every value of the configuration carries from the YAML reader to the last check, so that each
//! problem can point at the characters that cause it.
//!
//! Here is the only I/O of the config room: [`Sources::read`] finds and reads files within limits. A file that cannot
//! be read is a problem like any other, so that the problems of its neighbours are still reported.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::problem::Problem;

/// Bytes of one file at most. A route with its service takes about 300 bytes of YAML: 1 MiB holds more than 3,000 of
/// them, three times what the gateway's cells allow.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Files of one directory at most; one per service of a large installation. With [`FILE_BYTES_MAX`] this bounds the
/// memory of a load by 256 MiB of text.
pub const FILES_MAX: usize = 256;

/// Where something stands: a range of characters on one line of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Index of the file in [`Sources`].
    pub file: u16,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// Characters, at least 1; a longer value counts up to the end of its first line.
    pub width: u32,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T> At<T> {
    /// A value at a place.
    pub(crate) const fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// One file: its name as shown to people, and its text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As given on the command line, or joined to the directory given there.
    pub name: String,
    /// The whole text, without byte order mark.
    pub text: String,
}

impl Source {
    /// The characters of line `line` (counted from 1) without line end; empty beyond the last line.
    pub(crate) fn line(&self, line: u32) -> &str {
        let index = (line as usize).saturating_sub(1);
        self.text.split('\n').nth(index).unwrap_or("").trim_end_matches('\r')
    }
}

/// The files of one configuration, in the order in which they are compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(pub Vec<Source>);

impl Sources {
    /// One text that did not come from a file.
    pub(crate) fn of_text(name: &str, text: &str) -> Self {
        Self(vec![Source { name: name.to_owned(), text: without_mark(text).to_owned() }])
    }

    /// Reads a file, or all `*.yaml` and `*.yml` files directly in a directory, ascending by name, hidden ones left out.
    /// Returns what could be read, the paths found, and what went wrong.
    pub(crate) fn read(path: &Path) -> (Self, Vec<PathBuf>, Vec<Problem>) {
        let mut problems = Vec::new();
        let paths = match find(path) {
            Ok(paths) => paths,
            Err(problem) => return (Self::default(), Vec::new(), vec![problem]),
        };
        let mut sources = Vec::new();
        for path in &paths {
            match read_file(path) {
                Ok(text) => sources.push(Source { name: path.display().to_string(), text }),
                Err(problem) => problems.push(problem),
            }
        }
        (Self(sources), paths, problems)
    }

    /// The file a place lies in.
    pub(crate) fn get(&self, file: u16) -> Option<&Source> {
        self.0.get(usize::from(file))
    }
}

fn find(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let shown = path.display();
    let unreadable = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::error(format!("there is no file or directory `{shown}`"))
            .help("give the path with `-c PATH`, or write a starter configuration with `homeostat init PATH`"),
        _ => Problem::error(format!("cannot read `{shown}`: {error}"))
            .help("make it readable for the user that runs homeostat"),
    };
    if !fs::metadata(path).map_err(|e| unreadable(&e))?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| unreadable(&e))? {
        let path = entry.map_err(|e| unreadable(&e))?.path();
        if is_yaml(&path) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(Problem::error(format!("the directory `{shown}` holds no `*.yaml` or `*.yml` file"))
            .help("write a starter configuration with `homeostat init PATH`"));
    }
    if FILES_MAX < paths.len() {
        return Err(Problem::error(format!("`{shown}` holds {} files, the limit is {FILES_MAX}", paths.len()))
            .help("put several documents into one file, divided by lines of `---`"));
    }
    Ok(paths)
}

fn is_yaml(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}

fn read_file(path: &Path) -> Result<String, Problem> {
    let shown = path.display();
    let unreadable = |error: io::Error| {
        Problem::error(format!("cannot read `{shown}`: {error}"))
            .help("make it readable for the user that runs homeostat")
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too large" from "just fits" without reading a huge file.
    let mut limited = io::Read::take(fs::File::open(path).map_err(unreadable)?, FILE_BYTES_MAX as u64 + 1);
    io::Read::read_to_end(&mut limited, &mut bytes).map_err(unreadable)?;
    if FILE_BYTES_MAX < bytes.len() {
        return Err(too_large(&shown.to_string()));
    }
    String::from_utf8(bytes).map(|text| without_mark(&text).to_owned()).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count() + 1;
        Problem::error(format!("`{shown}` is not UTF-8 text: line {line} has a byte that no character begins with"))
            .help("save the file with the encoding UTF-8")
    })
}

/// The problem of a text beyond [`FILE_BYTES_MAX`].
pub(super) fn too_large(name: &str) -> Problem {
    Problem::error(format!("`{name}` is larger than {FILE_BYTES_MAX} bytes"))
        .help("divide it into several files of one directory")
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_yaml_files_sorted_and_reports_the_unreadable_ones() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("b.yml", &b"b: 1"[..]),
            ("a.yaml", b"\xef\xbb\xbfa: 1"),
            (".c.yaml", b"c"),
            ("d.txt", b"d"),
            ("e.yaml", b"x\n\xff"),
        ] {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let (sources, paths, problems) = Sources::read(dir.path());
        assert_eq!(sources.0.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(), ["a: 1", "b: 1"]);
        assert_eq!(paths.len(), 3);
        assert!(problems[0].message.ends_with("line 2 has a byte that no character begins with"), "{problems:?}");
    }

    #[test]
    fn sizes_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big.yaml");
        fs::write(&path, vec![b'#'; FILE_BYTES_MAX]).unwrap();
        assert!(Sources::read(&path).2.is_empty());
        fs::write(&path, vec![b'#'; FILE_BYTES_MAX + 1]).unwrap();
        assert!(Sources::read(&path).2[0].message.contains("larger than"));
    }

    #[test]
    fn missing_and_empty_places_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_path_buf(), dir.path().join("none.yaml")] {
            let (_, _, problems) = Sources::read(&path);
            assert!(problems[0].help.as_ref().unwrap().contains("homeostat init"), "{problems:?}");
        }
    }
}
