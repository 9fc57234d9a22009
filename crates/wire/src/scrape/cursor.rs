//! A place in a text, and errors that name it.

use super::{ScrapeError, ScrapeFault};

/// Characters of what was found that an error shows.
const SHOWN_MAX: usize = 40;

/// The body as text, or where it stops being one.
pub(super) fn text_of(body: &[u8]) -> Result<&str, ScrapeError> {
    str::from_utf8(body).map_err(|error| {
        let valid = body.get(..error.valid_up_to()).unwrap_or_default();
        let (line, column) = place(&String::from_utf8_lossy(valid), valid.len());
        ScrapeError::Text { line, column, fault: ScrapeFault::Encoding }
    })
}

/// A fault and the byte where it is.
#[derive(Debug)]
pub(super) struct At {
    pub(super) offset: usize,
    pub(super) fault: ScrapeFault,
}

impl At {
    /// The error that names line and column in `text`.
    pub(super) fn in_text(self, text: &str) -> ScrapeError {
        let (line, column) = place(text, self.offset);
        ScrapeError::Text { line, column, fault: self.fault }
    }
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..text.floor_char_boundary(offset)).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// A place in a text. Copies are cheap: one stays where something begins while another goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, offset: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// What lies ahead.
    #[inline]
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    #[inline]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.offset..).unwrap_or_default()
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    /// Goes past bytes that were looked at with [`Cursor::rest`].
    #[inline]
    pub(super) fn skip(&mut self, len: usize) {
        self.offset += len;
    }

    /// Goes past `byte` if it is next. Only for ASCII.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.offset += usize::from(found);
        found
    }

    /// Goes past `word` if it is next.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.bytes().starts_with(word.as_bytes());
        self.offset += if found { word.len() } else { 0 };
        found
    }

    /// Goes past all bytes that `is` says yes to; it must say the same to all bytes beyond ASCII.
    #[inline]
    pub(super) fn take_while(&mut self, is: impl Fn(u8) -> bool) -> &'a str {
        let bytes = self.bytes();
        let len = bytes.iter().position(|byte| !is(*byte)).unwrap_or(bytes.len());
        let start = self.offset;
        self.offset += len;
        self.since(start)
    }

    /// Goes to the first of three bytes, or to the end. Only for ASCII.
    #[inline]
    pub(super) fn take_until(&mut self, a: u8, b: u8, c: u8) -> Option<u8> {
        let bytes = self.bytes();
        self.offset += memchr::memchr3(a, b, c, bytes).unwrap_or(bytes.len());
        self.peek()
    }

    /// Goes past blanks and tabs; returns true when there were some.
    #[inline]
    pub(super) fn take_blanks(&mut self) -> bool {
        let start = self.offset;
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.offset += 1;
        }
        start < self.offset
    }

    /// Goes past the rest of the line and its end.
    pub(super) fn take_line(&mut self) -> &'a str {
        let bytes = self.bytes();
        let start = self.offset;
        self.offset += memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
        let line = self.since(start);
        self.take(b'\n');
        line
    }

    /// The text from an earlier place to here.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.offset).unwrap_or_default()
    }

    /// A quoted text: what lies between the quotes, and whether something in it is escaped. Stands on the opening quote.
    pub(super) fn take_quoted(&mut self, may_break: bool) -> Result<(&'a str, bool), At> {
        let open = *self;
        if !self.take(b'"') {
            return Err(self.expected("a quote"));
        }
        let start = self.offset;
        let mut escaped = false;
        loop {
            match self.take_until(b'"', b'\\', b'\n') {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.offset += 1;
                    // An escaped character of several bytes: the others pass as ordinary ones.
                    self.offset += usize::from(self.peek().is_some_and(|byte| byte != b'\n' || may_break));
                    self.offset = self.text.ceil_char_boundary(self.offset);
                }
                Some(b'\n') if may_break => self.offset += 1,
                _ => return Err(open.fault(ScrapeFault::OpenQuote)),
            }
        }
        let inside = self.since(start);
        self.take(b'"');
        Ok((inside, escaped))
    }

    /// Something else was to come here.
    #[cold]
    pub(super) fn expected(&self, expected: &'static str) -> At {
        let line = self.rest().split('\n').next().unwrap_or_default();
        let mut found: String = line.chars().take(SHOWN_MAX).collect();
        if found.len() < line.len() {
            found.push('…');
        }
        let found = match (found.is_empty(), self.rest().is_empty()) {
            (false, _) => format!("{found:?}"),
            (true, false) => "the end of the line".to_owned(),
            (true, true) => "the end of the body".to_owned(),
        };
        self.fault(ScrapeFault::Expected { expected, found })
    }

    /// Something is wrong here.
    #[cold]
    pub(super) fn fault(&self, fault: ScrapeFault) -> At {
        At { offset: self.offset, fault }
    }
}
