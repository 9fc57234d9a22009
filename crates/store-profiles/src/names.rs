//! Names of objects: which shard, and which records of which log.
//!
//! ```text
//! shards/0001763715600000/LOG-FIRST-LAST.profiles       begin of the shard in ms since 1970; log, first and last record in hex
//! ```

use crate::limits::SHARD_MS;

/// Folder of all shards within the place.
pub(crate) const SHARDS: &str = "shards";
const ENDING: &str = ".profiles";

/// What an object's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockName {
    /// When its shard begins.
    pub(crate) start_ms: i64,
    /// Whose records it holds.
    pub(crate) log: u64,
    /// The first of them.
    pub(crate) first: u64,
    /// The last one.
    pub(crate) last: u64,
}

impl BlockName {
    /// The name within the place.
    pub(crate) fn path(self) -> String {
        let Self { start_ms, log, first, last } = self;
        format!("{SHARDS}/{start_ms:016}/{log:016x}-{first:016x}-{last:016x}{ENDING}")
    }

    /// Reads the last two parts of a name; `None` for what is no block of ours.
    pub(crate) fn parse(folder: &str, file: &str) -> Option<Self> {
        let start_ms = folder.parse().ok().filter(|start_ms| is_start(*start_ms))?;
        let mut numbers = file.strip_suffix(ENDING)?.split('-').map(|part| u64::from_str_radix(part, 16));
        let mut next = || numbers.next()?.ok();
        let name = Self { start_ms, log: next()?, first: next()?, last: next()? };
        name.path().ends_with(file).then_some(name)
    }

    /// When its shard ends.
    pub(crate) const fn end_ms(self) -> i64 {
        self.start_ms.saturating_add(SHARD_MS)
    }
}

const fn is_start(ms: i64) -> bool {
    0 <= ms && ms % SHARD_MS == 0
}

/// The shard of a time.
pub(crate) const fn shard_of(ms: i64) -> i64 {
    ms - ms.rem_euclid(SHARD_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_not_ours() {
        let name = BlockName { start_ms: shard_of(1_763_715_612_345), log: u64::MAX, first: 1, last: 77 };
        let path = name.path();
        let parts: Vec<&str> = path.split('/').collect();
        assert_eq!(BlockName::parse(parts[1], parts[2]), Some(name));
        assert!(BlockName::parse(parts[1], &format!("{}#1", parts[2])).is_none());
        assert!(BlockName::parse("1", parts[2]).is_none() && BlockName::parse(parts[1], "x").is_none());
        assert!(BlockName::parse(parts[1], "1-2-3.profiles").is_none(), "one object has one name");
        assert_eq!((shard_of(-1), shard_of(0), shard_of(SHARD_MS - 1)), (-SHARD_MS, 0, 0));
    }
}
