//! Stacks as text: folded (`a;b;c 12`) and lines (`a;b;c`, once for each sample).

use homeostat_model::profile::{Frame, LabelSet, Profile, Stack, Text, ValueType};

use crate::pprof::PprofLimits;

/// How stacks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// A stack, a space, a number.
    Folded,
    /// A stack; every line counts one.
    Lines,
}

/// Text that holds no stacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStacks {
    /// A line without a number.
    #[error(
        "line {line}: {text:?} is no folded stack; write functions with `;` between them, a space and a whole number"
    )]
    Line {
        /// Which, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// A limit is reached.
    #[error("line {line}: more than the {limit} {what} that are taken")]
    TooMany {
        /// Which, from 1.
        line: usize,
        /// Of what.
        what: &'static str,
        /// How many are taken.
        limit: u64,
    },
}

/// Reads stacks, outermost function first, into a profile with one column. What is no UTF-8 is replaced.
pub fn read_stacks(
    body: &[u8],
    format: TextFormat,
    counted: ValueType,
    factor: i64,
    limits: &PprofLimits,
) -> Result<Profile, BadStacks> {
    let mut profile = Profile::new(vec![counted]);
    for (index, line) in String::from_utf8_lossy(body).lines().enumerate() {
        let line_number = index + 1;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (stack, count) = match format {
            TextFormat::Lines => (line, 1),
            TextFormat::Folded => {
                let split = line.rsplit_once(' ').and_then(|(stack, count)| Some((stack, count.parse::<i64>().ok()?)));
                let text = || line.chars().take(100).collect();
                split.ok_or_else(|| BadStacks::Line { line: line_number, text: text() })?
            }
        };
        let mut at = Stack::EMPTY;
        for (depth, name) in stack.split(';').enumerate() {
            let limit = limits.stack_frames_max;
            if limit <= depth {
                return Err(BadStacks::TooMany { line: line_number, what: "frames of a stack", limit: limit as u64 });
            }
            let limit = limits.text_bytes_max;
            if limit < name.len() {
                return Err(BadStacks::TooMany { line: line_number, what: "bytes of a name", limit: limit as u64 });
            }
            let (function, none) = (profile.intern(name), Text::EMPTY);
            at = profile
                .push_frame(at, Frame { function, file: none, line: 0, module: none, address: 0, inlined: false });
        }
        if limits.stacks_max < profile.stacks().len() {
            return Err(BadStacks::TooMany { line: line_number, what: "stacks", limit: limits.stacks_max as u64 });
        }
        profile.add(at, LabelSet::NONE, &[count.saturating_mul(factor)]);
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: TextFormat) -> Result<(i64, usize), BadStacks> {
        let limits = PprofLimits { stack_frames_max: 4, stacks_max: 8, ..PprofLimits::default() };
        let profile = read_stacks(text.as_bytes(), format, ValueType::new("cpu", "nanoseconds"), 10, &limits)?;
        Ok((profile.total(0), profile.rows().len()))
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(read("main;a b;c 3\r\nmain 2\n\nmain;a b;c 1\n", TextFormat::Folded), Ok((60, 2)));
        assert_eq!(read("main;a 3\nmain\nmain", TextFormat::Lines), Ok((30, 2)));
        assert_eq!(read("", TextFormat::Folded), Ok((0, 0)));
        for bad in ["main", "main x", "main 1.5", "<html>"] {
            assert!(matches!(read(bad, TextFormat::Folded), Err(BadStacks::Line { line: 1, .. })), "{bad}");
        }
        let long = format!("{} 1", "x".repeat((64 << 10) + 1));
        assert!(matches!(read(&long, TextFormat::Folded), Err(BadStacks::TooMany { what: "bytes of a name", .. })));
        assert!(matches!(read("a;b;c;d;e 1", TextFormat::Folded), Err(BadStacks::TooMany { .. })));
        let many = (0..9).map(|n| format!("f{n} 1")).collect::<Vec<_>>().join("\n");
        assert!(matches!(read(&many, TextFormat::Folded), Err(BadStacks::TooMany { what: "stacks", .. })));
    }
}
