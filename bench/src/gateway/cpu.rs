//! CPU time of a process and its children, as the kernel counts it in `/proc`.

use std::{fs, time::Duration};

use crate::Failed;

/// The kernel shows times in hundredths of a second on every architecture (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time so far of a process with all its threads, and of the children that it has now.
pub(crate) fn time_of(pid: u32) -> Result<Duration, Failed> {
    let mut ticks = stat(pid)?.ticks;
    for entry in fs::read_dir("/proc")? {
        let child = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        // A process that ended while we looked is nobody's child any more.
        if let Some(Ok(child)) = child.map(stat)
            && child.parent == pid
        {
            ticks += child.ticks;
        }
    }
    Ok(TICK * u32::try_from(ticks)?)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u64,
}

fn stat(pid: u32) -> Result<Stat, Failed> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&text).ok_or_else(|| format!("/proc/{pid}/stat cannot be understood: {text}").into())
}

/// The name stands in parentheses and may hold anything, so fields are counted from the last one.
fn parse(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u64 = fields.nth(9)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Stat { parent, ticks: user + system })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 150 25 9 9 20 0 1 0 100";
        assert_eq!(parse(text), Some(Stat { parent: 7, ticks: 175 }));
        assert_eq!(parse("42 (a S 7"), None);
    }

    #[test]
    fn this_process_has_a_parent_and_a_time() {
        assert!(stat(std::process::id()).unwrap().parent > 0);
        time_of(std::process::id()).unwrap();
    }
}
