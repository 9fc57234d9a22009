//! Fields of HTTP/2 heads: HPACK, by who may have joined late.
//!
//! Fields that came before are named by how long ago they came, so an index means the same to whoever has seen all since. One
//! that is older than what was seen is [`Text::Unseen`]: nobody can know it from the bytes. Of fields that nobody asks for
//! only the size is kept, which says when others are forgotten.
//!
//! Source: RFC 7541.

use std::collections::VecDeque;

use super::huffman;

/// Bytes that a table may have at most, as the standard counts them. Connections use 4096; a peer that uses more than this
/// sends indices that are too old for us.
const TABLE_BYTES_MAX: usize = 16 << 10;
/// What the standard adds for each field.
const FIELD_BYTES: usize = 32;
/// Bytes of a value that are kept: paths are cut sooner.
const VALUE_BYTES_MAX: usize = 1024;

/// Names that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Method,
    Path,
    Status,
    GrpcStatus,
    ContentType,
    Other,
    /// Came before anybody looked.
    Unseen,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Known(Box<[u8]>),
    /// Came before anybody looked.
    Unseen,
}

/// A field; values of other names are empty.
pub(crate) type Field = (Name, Text);

/// What one side has sent.
#[derive(Debug)]
pub(crate) struct Table {
    /// Newest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Name,
    name_len: usize,
    value: Text,
    bytes: usize,
}

/// Lengths of the names of the standard's own table, from 1 on.
const STATIC_LEN: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4,
    4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];

/// A block that is not one, or is longer than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadBlock;

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max: 4096 }
    }
}

impl Table {
    /// Forgets what was seen: something in between was not.
    pub(crate) fn forget(&mut self) {
        (self.entries, self.bytes) = (VecDeque::new(), 0);
    }

    /// Reads the fields of a head that somebody may ask for.
    pub(crate) fn read(&mut self, mut block: &[u8]) -> Result<Vec<Field>, BadBlock> {
        let mut fields = Vec::new();
        while let Some(&first) = block.first() {
            let field = match first {
                0x80.. => {
                    let index = number(&mut block, 7)?;
                    self.entry(index)?
                }
                0x40.. => {
                    let entry = self.literal(&mut block, 6)?;
                    self.insert(entry.clone());
                    entry
                }
                0x20.. => {
                    let wanted = number(&mut block, 5)?;
                    self.bytes_max = wanted.min(TABLE_BYTES_MAX);
                    self.shrink();
                    continue;
                }
                _ => self.literal(&mut block, 4)?,
            };
            if field.name != Name::Other {
                fields.push((field.name, field.value));
            }
        }
        Ok(fields)
    }

    fn literal(&self, block: &mut &[u8], bits: u32) -> Result<Entry, BadBlock> {
        let index = number(block, bits)?;
        let (name, name_len) = if index == 0 {
            let text = string(block)?;
            (Name::of(&text), text.len())
        } else {
            let entry = self.entry(index)?;
            (entry.name, entry.name_len)
        };
        let text = string(block)?;
        let bytes = name_len + text.len() + FIELD_BYTES;
        Ok(Entry { name, name_len, value: name.keep(text), bytes })
    }

    /// The field of an index.
    fn entry(&self, index: usize) -> Result<Entry, BadBlock> {
        let at = index.checked_sub(1).ok_or(BadBlock)?;
        if let Some(len) = STATIC_LEN.get(at) {
            let (name, value): (Name, &[u8]) = match index {
                2 => (Name::Method, b"GET"),
                3 => (Name::Method, b"POST"),
                4 => (Name::Path, b"/"),
                5 => (Name::Path, b"/index.html"),
                8 => (Name::Status, b"200"),
                9 => (Name::Status, b"204"),
                10 => (Name::Status, b"206"),
                11 => (Name::Status, b"304"),
                12 => (Name::Status, b"400"),
                13 => (Name::Status, b"404"),
                14 => (Name::Status, b"500"),
                31 => (Name::ContentType, b""),
                _ => (Name::Other, b""),
            };
            return Ok(Entry { name, name_len: usize::from(*len), value: Text::Known(value.into()), bytes: 0 });
        }
        let unseen = Entry { name: Name::Unseen, name_len: 0, value: Text::Unseen, bytes: FIELD_BYTES };
        Ok(self.entries.get(at - STATIC_LEN.len()).cloned().unwrap_or(unseen))
    }

    fn insert(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.entries.push_front(entry);
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.bytes_max < self.bytes {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= oldest.bytes;
        }
    }
}

impl Name {
    fn of(text: &[u8]) -> Self {
        match text {
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":status" => Self::Status,
            b"grpc-status" => Self::GrpcStatus,
            b"content-type" => Self::ContentType,
            _ => Self::Other,
        }
    }

    /// A value as far as it is kept: not at all where nobody asks for it.
    fn keep(self, text: Vec<u8>) -> Text {
        match self {
            Self::Other => Text::Known(Box::default()),
            Self::Unseen => Text::Unseen,
            _ => Text::Known(text.get(..VALUE_BYTES_MAX).unwrap_or(&text).into()),
        }
    }
}

/// A number that begins with so many bits of a byte (section 5.1). More than 2^28 is none.
fn number(block: &mut &[u8], bits: u32) -> Result<usize, BadBlock> {
    let (first, mut rest) = block.split_first().ok_or(BadBlock)?;
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        for shift in [0, 7, 14, 21] {
            let (next, behind) = rest.split_first().ok_or(BadBlock)?;
            rest = behind;
            value += usize::from(next & 0x7f) << shift;
            if next & 0x80 == 0 {
                *block = rest;
                return Ok(value);
            }
        }
        return Err(BadBlock);
    }
    *block = rest;
    Ok(value)
}

/// A text, coded or not (section 5.2).
fn string(block: &mut &[u8]) -> Result<Vec<u8>, BadBlock> {
    let is_coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = number(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(BadBlock)?;
    *block = rest;
    if is_coded { huffman::decode(text).ok_or(BadBlock) } else { Ok(text.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    fn known(name: Name, value: &str) -> Field {
        (name, Text::Known(value.as_bytes().into()))
    }

    /// RFC 7541, appendix C.6: answers with a table of 256 bytes, in which the first entries are forgotten.
    #[test]
    fn answers_of_the_standard_are_read() {
        let mut table = Table { bytes_max: 256, ..Table::default() };
        let first = "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3";
        assert_eq!(table.read(&bytes(first)).unwrap(), [known(Name::Status, "302")]);
        assert_eq!(table.bytes, 222);
        assert_eq!(table.read(&bytes("4883640effc1c0bf")).unwrap(), [known(Name::Status, "307")]);
        let third = "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007";
        assert_eq!(table.read(&bytes(third)).unwrap(), [known(Name::Status, "200")]);
        assert_eq!((table.bytes, table.entries.len()), (215, 3));
    }

    #[test]
    fn what_came_before_is_unseen_and_what_comes_after_is_known() {
        let mut table = Table::default();
        // Indices 62 and 63 were said to somebody else.
        let unseen = (Name::Unseen, Text::Unseen);
        assert_eq!(table.read(&[0xbe, 0xbf]).unwrap(), [unseen.clone(), unseen.clone()]);
        let mut said = vec![0x44, 2];
        said.extend(b"/a");
        assert_eq!(table.read(&said).unwrap(), [known(Name::Path, "/a")]);
        assert_eq!(table.read(&[0xbe, 0xbf]).unwrap(), [known(Name::Path, "/a"), unseen.clone()]);
        table.forget();
        assert_eq!(table.read(&[0xbe]).unwrap(), [unseen]);
    }

    #[test]
    fn secrets_are_not_kept() {
        let mut table = Table::default();
        let mut said = vec![0x57, 6]; // authorization
        said.extend(b"secret");
        assert_eq!(table.read(&said).unwrap(), []);
        assert!(!format!("{table:?}").contains(&format!("{:?}", b"secret")), "{table:?}");
        assert_eq!(table.bytes, 13 + 6 + FIELD_BYTES);
    }

    #[test]
    fn bad_blocks_are_refused() {
        for bad in [&[0x80][..], &[0x40], &[0x44, 5, b'x'], &[0x44, 0x81, 0x00], &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01]]
        {
            assert_eq!(Table::default().read(bad), Err(BadBlock), "{bad:?}");
        }
    }
}
