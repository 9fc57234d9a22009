//! Model values as text for a terminal: pure functions, tested against expected pages.

pub(crate) mod evidence;
pub(crate) mod incident;
pub(crate) mod lists;
pub(crate) mod profiles;
pub(crate) mod sparkline;

use std::io::{self, IsTerminal as _};

use homeostat_model::{Span, Timestamp};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Columns, 40 to 200.
    pub(crate) width: usize,
    /// Whether colours are wanted.
    pub(crate) color: bool,
    /// Whether rows of tables stay whole although they are wider: a program reads them, not a person.
    pub(crate) whole_rows: bool,
}

/// A meaning that has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Strong,
    Good,
    Bad,
    Dim,
}

impl Style {
    /// Finds out: the terminal's width, and colour unless NO_COLOR is set or the output goes elsewhere.
    pub(crate) fn of_terminal() -> Self {
        let stdout = io::stdout();
        let columns = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| usize::from(size.ws_col));
        let width = if columns == 0 { 100 } else { columns.clamp(40, 200) };
        let no_color = super::environment("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = stdout.is_terminal();
        Self { width, color: terminal && !no_color, whole_rows: !terminal }
    }

    /// The text in its tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            // Blue and orange rather than green and red: told apart by everybody.
            Tone::Good => "38;5;33",
            Tone::Bad => "1;38;5;208",
            Tone::Dim => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Prints a page.
pub(crate) fn print(page: &str) {
    super::say::out(format_args!("{page}"));
}

/// `2026-11-20 23:00:00.123 UTC`.
pub(crate) fn utc(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(at.unix_ns())).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string()
}

/// Distance from a beginning: `+120 ms`, `+2.5 s`, `-10 min`.
pub(crate) fn offset(at: Timestamp, beginning: Timestamp) -> String {
    if beginning <= at {
        format!("+{}", duration(at.since(beginning)))
    } else {
        format!("-{}", duration(beginning.since(at)))
    }
}

/// `120 ms`, `2.5 s`, `10 min`, `3.0 h`, `2.0 d`.
pub(crate) fn duration(span: Span) -> String {
    let secs = span.secs_f64();
    match span.ms() {
        0..=9_999 if secs < 1.0 => format!("{} ms", span.ms()),
        0..=119_999 => format!("{secs:.1} s"),
        120_000..=7_199_999 => format!("{:.0} min", secs / 60.0),
        7_200_000..=172_799_999 => format!("{:.1} h", secs / 3_600.0),
        _ => format!("{:.1} d", secs / 86_400.0),
    }
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share as percent with two significant digits or so: `35.5 %`, `0.10 %`, `0 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        0.0 => "0 %".to_owned(),
        p if p < 10.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// Text from outside, harmless in a terminal: no control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Breaks a text into lines of at most `width` characters, at spaces where possible; each begins with `indent`.
pub(crate) fn wrap(text: &str, indent: &str, width: usize) -> String {
    let room = width.saturating_sub(indent.chars().count()).max(20);
    let mut out = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            out.push('\n');
            used = 0;
        }
        if used == 0 {
            out.push_str(indent);
        } else {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out.push('\n');
    out
}

/// Columns aligned to the left; the last one is cut to fit the width. Nothing at all for no rows.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>], style: Style) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
        })
        .collect();
    let columns = if style.whole_rows { usize::MAX } else { style.width };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count().min(*width))))
            .collect();
        let line: String = padded.join("  ").trim_end().chars().take(columns).collect();
        line
    };
    let mut out = style.paint(Tone::Dim, &line(&mut head.iter().copied()));
    out.push('\n');
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([percent(0.0), percent(0.001), percent(0.355)], ["0 %", "0.10 %", "35.5 %"]);
        let at = Timestamp::from_unix_ms(1_000_000);
        assert_eq!(offset(at, at), "+0 ms");
        assert_eq!(offset(at, at + Span::from_mins(10)), "-10 min");
        for (span, shown) in [
            (Span::from_ms(999), "999 ms"),
            (Span::from_ms(1_500), "1.5 s"),
            (Span::from_hours(3), "3.0 h"),
            (Span::from_days(2), "2.0 d"),
        ] {
            assert_eq!(duration(span), shown);
        }
        assert_eq!(utc(Timestamp::from_unix_ms(1_750_000_000_123)), "2025-06-15 15:06:40.123 UTC");
    }

    #[test]
    fn text_from_outside_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }

    #[test]
    fn lines_are_broken_and_tables_cut_at_the_width() {
        assert_eq!(wrap("one two three four five six seven", "  ", 24), "  one two three four\n  five six seven\n");
        let style = Style { width: 40, color: false, whole_rows: false };
        let rows = vec![vec!["v1".to_owned(), "x".repeat(60)], vec!["longer".to_owned(), "y".to_owned()]];
        let page = table(&["A", "B"], &rows, style);
        assert_eq!(page, format!("A       B\nv1      {}\nlonger  y\n", "x".repeat(32)));
        let colored = Style { width: 40, color: true, whole_rows: false };
        assert!(colored.paint(Tone::Bad, "x").contains("\u{1b}[") && !style.paint(Tone::Bad, "x").contains('\u{1b}'));
    }
}
