//! Writing answers as JSON, element by element, straight from the values.

use homeostat_model::Labels;

use super::{
    limits::NOTES_SHOWN_MAX,
    stream::{Gone, Writer},
};

/// What an answer tells beside its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remarks {
    /// The result may be wrong.
    pub(crate) warnings: Vec<String>,
    /// The result is right, the query may not be.
    pub(crate) infos: Vec<String>,
}

impl Remarks {
    /// The list was cut at the limit that the client set.
    pub(crate) fn truncated(&mut self) {
        self.warnings.push("results truncated due to limit".to_owned());
    }

    /// Keeps the first few of each level, and says how many were left out, in the words of Prometheus.
    pub(crate) fn shortened(mut self) -> Self {
        for (list, level) in [(&mut self.warnings, "warning"), (&mut self.infos, "info")] {
            let over = list.len().saturating_sub(NOTES_SHOWN_MAX);
            if over > 0 {
                list.truncate(NOTES_SHOWN_MAX);
                list.push(format!("{over} more {level} annotations omitted"));
            }
        }
        self
    }
}

/// Writes the envelope of a success around `data`.
pub(crate) fn success(
    writer: &mut Writer,
    remarks: &Remarks,
    data: impl FnOnce(&mut Writer) -> Result<(), Gone>,
) -> Result<(), Gone> {
    writer.buffer.extend_from_slice(br#"{"status":"success","data":"#);
    data(writer)?;
    for (name, texts) in [("warnings", &remarks.warnings), ("infos", &remarks.infos)] {
        if !texts.is_empty() {
            writer.buffer.push(b',');
            push_text(&mut writer.buffer, name);
            writer.buffer.push(b':');
            list(writer, texts, |out, text| push_text(out, text))?;
        }
    }
    writer.buffer.push(b'}');
    Ok(())
}

/// Writes a list, with a checkpoint behind every element.
pub(crate) fn list<T>(
    writer: &mut Writer,
    elements: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) -> Result<(), Gone> {
    writer.buffer.push(b'[');
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            writer.buffer.push(b',');
        }
        push(&mut writer.buffer, element);
        writer.checkpoint()?;
    }
    writer.buffer.push(b']');
    Ok(())
}

/// Appends an object of label names and values.
pub(crate) fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_text(out, name);
        out.push(b':');
        push_text(out, value);
    }
    out.push(b'}');
}

/// Appends a JSON text.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(text.as_bytes().get(plain_from..at).unwrap_or_default());
        plain_from = at + 1;
        push_escape(out, byte);
    }
    out.extend_from_slice(text.as_bytes().get(plain_from..).unwrap_or_default());
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digit = |nibble: u8| HEX.get(usize::from(nibble & 0xf)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back_as_they_were() {
        for text in ["", "plain", "q\"uo\\te", "line\nline\ttab\r", "\u{0}\u{1f}", "ü→𝄞", "\u{7f}</script>"] {
            let mut out = Vec::new();
            push_text(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn more_remarks_than_anybody_reads_are_counted() {
        let warnings = (0..13).map(|n| n.to_string()).collect();
        let shortened = Remarks { warnings, infos: vec!["one".to_owned()] }.shortened();
        assert_eq!((shortened.warnings.len(), shortened.infos.len()), (11, 1));
        assert_eq!(shortened.warnings[10], "3 more warning annotations omitted");
    }
}
