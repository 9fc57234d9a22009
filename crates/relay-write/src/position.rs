//! Where a lane stands, on disk: up to which record everything was answered, and up to which it is being sent.
//!
//! A small text file a lane, `lane-3`, replaced as a whole: `answered 120 sending 133`.

use std::{io, path::Path};

use homeostat_store_wal::{Disk, disk::replace};

/// Numbers of records; 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Everything up to here was answered.
    pub(crate) answered: u64,
    /// Everything up to here is on its way; at least `answered`.
    pub(crate) sending: u64,
}

/// Bytes of the largest such file.
const FILE_BYTES_MAX: u64 = 128;

fn file_name(lane: usize) -> String {
    format!("lane-{lane}")
}

impl Position {
    /// Reads a lane's; a file that is missing means the beginning.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path, lane: usize) -> io::Result<Self> {
        let path = dir.join(file_name(lane));
        match disk.read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Self::parse(&text).ok_or_else(|| {
                    let text =
                        format!("{} holds {text:?}, which is no position; remove it to send all again", path.display());
                    io::Error::new(io::ErrorKind::InvalidData, text)
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes a lane's, durably.
    pub(crate) fn write(self, disk: &dyn Disk, dir: &Path, lane: usize) -> io::Result<()> {
        let text = format!("answered {} sending {}\n", self.answered, self.sending);
        replace(disk, dir, &file_name(lane), text.as_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let mut number = |name: &str| (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten();
        let (answered, sending) = (number("answered")?, number("sending")?);
        (answered <= sending && words.next().is_none()).then_some(Self { answered, sending })
    }
}

#[cfg(test)]
mod tests {
    use homeostat_store_wal::SimDisk;

    use super::*;

    #[test]
    fn positions_come_back_and_nonsense_is_told() {
        let (disk, dir) = (SimDisk::default(), Path::new("/q"));
        disk.make_dir(dir).unwrap();
        assert_eq!(Position::read(&disk, dir, 3).unwrap(), Position::default());
        let position = Position { answered: 5, sending: 9 };
        position.write(&disk, dir, 3).unwrap();
        assert_eq!(Position::read(&disk, dir, 3).unwrap(), position);
        for bad in ["", "answered 5", "answered 5 sending 4\n", "answered x sending 4", "answered 1 sending 2 3"] {
            disk.edit(&dir.join("lane-3"), |bytes| *bytes = bad.as_bytes().to_vec()).unwrap();
            assert!(Position::read(&disk, dir, 3).unwrap_err().to_string().contains("no position"), "{bad}");
        }
    }
}
