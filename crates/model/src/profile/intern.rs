//! Texts, each once.

use std::{collections::BTreeMap, sync::Arc};

/// A text of one [`Strings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(u32);

impl Text {
    /// The empty text, in every table.
    pub const EMPTY: Self = Self(0);

    /// Its place in the table, from 0 and without gaps.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Texts with small ids; id 0 is the empty one.
#[derive(Clone, Debug)]
pub struct Strings {
    texts: Vec<Arc<str>>,
    ids: BTreeMap<Arc<str>, Text>,
    bytes: usize,
}

impl Default for Strings {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self { texts: vec![Arc::clone(&empty)], ids: [(empty, Text::EMPTY)].into(), bytes: 0 }
    }
}

impl Strings {
    /// Keeps a text and gives its id.
    pub fn intern(&mut self, text: &str) -> Text {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        // Four billion texts do not fit into memory.
        let id = Text(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        let text: Arc<str> = Arc::from(text);
        self.bytes += text.len();
        self.texts.push(Arc::clone(&text));
        self.ids.insert(text, id);
        id
    }

    /// The id of a text that is there.
    pub fn find(&self, text: &str) -> Option<Text> {
        self.ids.get(text).copied()
    }

    /// A text; the empty one for an id of another table.
    pub fn get(&self, id: Text) -> &str {
        self.texts.get(id.index()).map_or("", |text| text)
    }

    /// All texts by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.texts.iter().map(AsRef::as_ref)
    }

    /// Bytes of all texts together.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "the empty text is always there")]
    pub fn len(&self) -> usize {
        self.texts.len()
    }
}
