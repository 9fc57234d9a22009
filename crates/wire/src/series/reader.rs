//! Walks over bytes that should follow a format, and says where they do not.

use thiserror::Error;

use crate::varint;

/// Bytes that do not follow their format although their checksum fits: another program, or a fault of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what} at byte {at}")]
pub struct Malformed {
    /// Offset in the record or page.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// What is left of some bytes.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    whole: usize,
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { whole: bytes.len(), rest: bytes }
    }

    pub(crate) fn error(&self, what: &'static str) -> Malformed {
        Malformed { at: self.whole - self.rest.len(), what }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.rest.split_first().ok_or(self.error("a byte is missing"))?;
        self.rest = rest;
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        varint::take(&mut self.rest).ok_or(self.error("a number is none"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Malformed> {
        self.number().map(varint::unzigzag)
    }

    /// A number that must be below 2^32.
    pub(crate) fn small(&mut self) -> Result<u32, Malformed> {
        let error = self.error("a number is too large");
        u32::try_from(self.number()?).map_err(|_| error)
    }

    /// A number of things of which each takes a byte at least.
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.number()?;
        if (self.rest.len() as u64) < count {
            return Err(self.error("more entries than bytes"));
        }
        Ok(count as usize)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(self.error("bytes are missing"))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A length, and so many bytes of text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let error = self.error("a text is none");
        let len = usize::try_from(self.number()?).map_err(|_| error)?;
        std::str::from_utf8(self.bytes(len)?).map_err(|_| error)
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("bytes behind the end")) }
    }
}
