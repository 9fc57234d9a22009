//! Keys of labels: two series have the same key when some of their labels are the same.
//!
//! A key is text in a buffer that is used again and again, so that finding the group of a series allocates nothing.

use homeostat_model::{Labels, labels::METRIC_NAME};

/// Which labels count.
#[derive(Clone, Debug)]
enum Counted {
    Only(Vec<String>),
    Without(Vec<String>),
}

/// Makes keys of the labels that count.
#[derive(Clone, Debug)]
pub(super) struct LabelKey {
    counted: Counted,
    buffer: String,
}

impl LabelKey {
    /// These labels count.
    pub(super) fn only(labels: &[String]) -> Self {
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        labels.dedup();
        Self { counted: Counted::Only(labels), buffer: String::new() }
    }

    /// All labels count but these and the metric's name.
    pub(super) fn without_and_name(labels: &[String]) -> Self {
        let mut labels = labels.to_vec();
        labels.push(METRIC_NAME.to_owned());
        Self { counted: Counted::Without(labels), buffer: String::new() }
    }

    /// The key of a series.
    pub(super) fn of(&mut self, labels: &Labels) -> &str {
        self.buffer.clear();
        match &self.counted {
            Counted::Only(names) => {
                // Both are sorted by name: one pass over the labels finds all.
                let mut names = names.iter().enumerate().peekable();
                for (name, value) in labels {
                    while names.next_if(|(_, wanted)| wanted.as_str() < name).is_some() {}
                    if let Some((at, _)) = names.next_if(|(_, wanted)| wanted.as_str() == name) {
                        push_len(&mut self.buffer, at);
                        push_text(&mut self.buffer, value);
                    }
                }
            }
            Counted::Without(names) => {
                for (name, value) in labels {
                    if !names.iter().any(|without| without == name) {
                        push_text(&mut self.buffer, name);
                        push_text(&mut self.buffer, value);
                    }
                }
            }
        }
        &self.buffer
    }

    /// The labels that count, as a set of their own.
    pub(super) fn labels(&self, labels: &Labels) -> Labels {
        match &self.counted {
            Counted::Only(names) => labels.filtered(|name| names.iter().any(|wanted| wanted == name)),
            Counted::Without(names) => labels.filtered(|name| !names.iter().any(|without| without == name)),
        }
    }
}

/// The length stands before the text, so that two texts cannot be mistaken for two others.
fn push_text(buffer: &mut String, text: &str) {
    push_len(buffer, text.len());
    buffer.push_str(text);
}

/// A number as characters of seven bits each; the last one is the first below 64.
fn push_len(buffer: &mut String, mut len: usize) {
    while len >= 64 {
        buffer.push(char::from((len % 64 + 64) as u8));
        len /= 64;
    }
    buffer.push(char::from(len as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &mut LabelKey, labels: &[(&str, &str)]) -> String {
        key.of(&Labels::new(labels.iter().copied())).to_owned()
    }

    #[test]
    fn keys_are_equal_where_the_counted_labels_are() {
        let mut on = LabelKey::only(&["b".to_owned(), "a".to_owned()]);
        assert_eq!(key(&mut on, &[("a", "1"), ("x", "2")]), key(&mut on, &[("a", "1"), ("y", "3")]));
        assert_ne!(key(&mut on, &[("a", "1")]), key(&mut on, &[("b", "1")]));
        assert_ne!(key(&mut on, &[("a", "ab"), ("b", "c")]), key(&mut on, &[("a", "a"), ("b", "bc")]));
        let mut without = LabelKey::without_and_name(&["x".to_owned()]);
        assert_eq!(key(&mut without, &[("__name__", "m"), ("x", "1")]), "");
        let long = "v".repeat(100);
        assert_ne!(key(&mut without, &[("a", &long)]), key(&mut without, &[("a", &long[1..])]));
    }
}
