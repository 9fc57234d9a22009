//! Label names and values of a block, sorted, each value with the list of its series.
//!
//! A pair of name and value has a number: pairs are counted in the order of their names and, within a name, of their
//! values, so comparing the numbers of two series' labels one by one compares their labels.
//!
//! ```text
//! names page   n, n × (shared with the name before, length of the rest, rest, number of values)
//! values page  n, n × (shared with the value before, length of the rest, rest, list)
//! list         len << 1, bytes of `postings`, or 1, offset of the page with the list, its length
//! ```
//!
//! A value page begins at some pair and goes on across names; the first value of a page and of a name shares nothing. An
//! empty list means that nobody has the label any more.
//!
//! Not here: which page holds which pair (`footer`).

use super::{
    frame::PageRef,
    reader::{Malformed, Reader},
};
use crate::varint::put;

/// Longest name or value that is read: a store's limit for one series with room to spare.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// A label name of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its text.
    pub text: String,
    /// The number of its first pair.
    pub first_pair: u32,
    /// The number of its values.
    pub values: u32,
}

/// Appends the page of all names, which are sorted; each with the number of its values.
pub fn encode_names<'a>(names: impl ExactSizeIterator<Item = (&'a str, u32)>, out: &mut Vec<u8>) {
    put(names.len() as u64, out);
    let mut before = "";
    for (name, values) in names {
        put_text(before, name, out);
        put(values.into(), out);
        before = name;
    }
}

/// Reads the page of all names.
pub fn decode_names(page: &[u8]) -> Result<Vec<Name>, Malformed> {
    let mut reader = Reader::new(page);
    let mut names: Vec<Name> = Vec::new();
    let (mut text, mut next_pair) = (Vec::new(), 0_u32);
    for _ in 0..reader.count()? {
        let error = reader.error("names that do not ascend, or count too many values");
        let name = take_text(&mut reader, &mut text)?.to_owned();
        let values = reader.small()?;
        if names.last().is_some_and(|before| name <= before.text) || name.is_empty() {
            return Err(error);
        }
        names.push(Name { text: name, first_pair: next_pair, values });
        next_pair = next_pair.checked_add(values).ok_or(error)?;
    }
    reader.end()?;
    Ok(names)
}

/// The list of a value's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List<'a> {
    /// Here.
    Inline(&'a [u8]),
    /// In a page of its own.
    At(PageRef),
}

/// Collects a page of values.
#[derive(Debug, Default)]
pub struct ValuesBuilder {
    count: u64,
    before: String,
    bytes: Vec<u8>,
}

impl ValuesBuilder {
    /// Adds a value; `first` says that it is the first one of its name.
    pub fn add(&mut self, value: &str, first: bool, list: List<'_>) {
        if first {
            self.before.clear();
        }
        put_text(&self.before, value, &mut self.bytes);
        match list {
            List::Inline(list) => {
                put((list.len() as u64) << 1, &mut self.bytes);
                self.bytes.extend_from_slice(list);
            }
            List::At(page) => {
                put(1, &mut self.bytes);
                put(page.offset, &mut self.bytes);
                put(page.len.into(), &mut self.bytes);
            }
        }
        value.clone_into(&mut self.before);
        self.count += 1;
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns true when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends the page and begins a new one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        put(self.count, out);
        out.extend_from_slice(&self.bytes);
        self.bytes.clear();
        self.before.clear();
        self.count = 0;
    }
}

/// Visits the values of a page in order; ends early when `visit` says false.
pub fn for_each_value<'a>(page: &'a [u8], mut visit: impl FnMut(&str, List<'a>) -> bool) -> Result<(), Malformed> {
    let mut reader = Reader::new(page);
    let mut text = Vec::new();
    for _ in 0..reader.count()? {
        let value = take_text(&mut reader, &mut text)?;
        let tag = reader.number()?;
        let list = if tag & 1 == 0 {
            List::Inline(reader.bytes(usize::try_from(tag >> 1).map_err(|_| reader.error("a list is too long"))?)?)
        } else {
            List::At(PageRef { offset: reader.number()?, len: reader.small()? })
        };
        if !visit(value, list) {
            return Ok(());
        }
    }
    reader.end()
}

/// Appends a text by what it shares with the one before.
fn put_text(before: &str, text: &str, out: &mut Vec<u8>) {
    let shared = before.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
    put(shared as u64, out);
    put((text.len() - shared) as u64, out);
    out.extend_from_slice(text.as_bytes().get(shared..).unwrap_or_default());
}

/// Turns `text`, the one before, into the next one.
fn take_text<'t>(reader: &mut Reader<'_>, text: &'t mut Vec<u8>) -> Result<&'t str, Malformed> {
    let error = reader.error("a text is none");
    let shared = usize::try_from(reader.number()?).ok().filter(|shared| *shared <= text.len()).ok_or(error)?;
    let len = usize::try_from(reader.number()?)
        .ok()
        .filter(|len| *len <= TEXT_BYTES_MAX.saturating_sub(shared))
        .ok_or(error)?;
    text.truncate(shared);
    text.extend_from_slice(reader.bytes(len)?);
    std::str::from_utf8(text).map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_every_cut_is_noticed() {
        let mut page = Vec::new();
        let names = [("__name__", 3), ("é", 0), ("ê", 7)];
        encode_names(names.into_iter(), &mut page);
        let back = decode_names(&page).unwrap();
        assert_eq!(back.iter().map(|n| (n.text.as_str(), n.values)).collect::<Vec<_>>(), names);
        assert_eq!(back.iter().map(|n| n.first_pair).collect::<Vec<_>>(), [0, 3, 3]);
        for cut in 0..page.len() {
            assert!(decode_names(&page[..cut]).is_err(), "cut at {cut}");
        }
        let mut descending = Vec::new();
        encode_names([("b", 1), ("a", 1)].into_iter(), &mut descending);
        assert!(decode_names(&descending).is_err());
    }

    /// Found by fuzzing: the sum of both lengths wrapped.
    #[test]
    fn a_text_as_long_as_numbers_go_is_refused() {
        let mut page = vec![2, 0, 2, b'a', b'b', 0, 1];
        put(u64::MAX, &mut page);
        page.extend([b'c'; 9]);
        assert!(for_each_value(&page, |_, _| true).is_err());
        assert!(decode_names(&page).is_err());
    }

    #[test]
    fn values_come_back_and_every_cut_is_noticed() {
        let at = PageRef { offset: 1 << 40, len: 77 };
        let values = [("10.0.0.1:80", true, List::Inline(&[1, 2][..])), ("10.0.0.2:80", false, List::At(at))];
        let mut builder = ValuesBuilder::default();
        for (value, first, list) in values {
            builder.add(value, first, list);
        }
        let mut page = Vec::new();
        builder.finish(&mut page);
        assert!(page.len() < 40 && builder.is_empty());
        let mut back = Vec::new();
        for_each_value(&page, |value, list| {
            back.push((value.to_owned(), list));
            true
        })
        .unwrap();
        assert_eq!(back, values.map(|(value, _, list)| (value.to_owned(), list)));
        for cut in 0..page.len() {
            assert!(for_each_value(&page[..cut], |_, _| true).is_err(), "cut at {cut}");
        }
    }
}
