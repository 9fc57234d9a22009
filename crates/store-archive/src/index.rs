//! The index of a backup: which files it consists of.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// The format written and read here.
pub const FORMAT: u32 = 1;
/// Longest index that is read: a hundred thousand files.
pub(crate) const INDEX_BYTES_MAX: u64 = 64 << 20;

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// [`FORMAT`].
    pub format: u32,
    /// Its files, sorted by path.
    pub files: Vec<IndexedFile>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexedFile {
    /// Its path within the directory that was backed up, with `/` between parts.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its contents, in hexadecimal digits: the object's name.
    pub sha256: String,
    /// SHA-256 of its last 64 KiB: a file of the same path, length and end is not read again by the next backup.
    pub end_sha256: String,
}

impl Index {
    /// Reads an index; says what is wrong with it.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        let index: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if index.format != FORMAT {
            return Err(format!("format {} is not known here, only {FORMAT} is", index.format));
        }
        match index.files.iter().find(|file| !file.is_sound()) {
            Some(file) => Err(format!("`{}` is no file of a backup", file.path)),
            None => Ok(index),
        }
    }
}

impl IndexedFile {
    /// An index comes from outside: its paths must not lead out of the directory, its names must be checksums.
    fn is_sound(&self) -> bool {
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        let is_sum = |sum: &str| sum.len() == 64 && sum.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        !self.path.is_empty()
            && !self.path.contains(['\\', '\0'])
            && Path::new(&self.path).components().all(is_plain)
            && is_sum(&self.sha256)
            && is_sum(&self.end_sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_from_outside_are_checked() {
        let sum = "a".repeat(64);
        let read = |path: &str, sha256: &str| {
            let file = IndexedFile { path: path.into(), bytes: 1, sha256: sha256.into(), end_sha256: sum.clone() };
            Index::read(&serde_json::to_vec(&Index { format: FORMAT, files: vec![file] }).unwrap())
        };
        assert!(read("blocks/00000001.block", &sum).is_ok());
        for path in ["", "/etc/passwd", "../x", "blocks/../../x", "a\\b"] {
            assert!(read(path, &sum).is_err(), "{path}");
        }
        assert!(read("x", "../../x").is_err() && read("x", &"A".repeat(64)).is_err());
        assert!(Index::read(b"{\"format\":2,\"files\":[]}").unwrap_err().contains("format 2"));
    }
}
