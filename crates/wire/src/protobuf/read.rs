//! Fields off the beginning of a message.

use crate::varint::{self, VARINT_BYTES_MAX};

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufFault {
    /// It ends within a field.
    #[error("the message ends within a field")]
    CutShort,
    /// A number with more than 64 bits.
    #[error("a number has more than 64 bits")]
    Varint,
    /// Field number zero, or above 2^29 - 1.
    #[error("there is no field number {number}")]
    FieldNumber {
        /// As read.
        number: u64,
    },
    /// A group, or a wire type that does not exist.
    #[error("wire type {wire_type} is not part of proto3")]
    WireType {
        /// As read.
        wire_type: u8,
    },
    /// A known field in the form of another type.
    #[error("field {field} has another type than expected: is this another message?")]
    FieldType {
        /// Its number.
        field: u32,
    },
}

/// A message that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {fault}")]
pub struct ProtobufError {
    /// Where, counted from the beginning of the outermost message.
    pub offset: usize,
    /// What is wrong there.
    pub fault: ProtobufFault,
}

/// A field's content, by how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Integers, booleans and enums.
    Varint(u64),
    /// `double`, `fixed64`, `sfixed64`.
    Fixed64(u64),
    /// Texts, bytes, messages and packed numbers.
    Bytes(Reader<'a>),
    /// `float`, `fixed32`, `sfixed32`.
    Fixed32(u32),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number, 1 to 2^29 - 1.
    pub number: u32,
    /// Its content.
    pub value: Value<'a>,
    /// Where its content begins.
    pub offset: usize,
}

/// Reads a message from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Where the message ends, counted from the beginning of the outermost one.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Fields 1 and 2 of a message that holds two numbers; 0 where one is missing.
    pub(crate) fn two_numbers(mut self) -> Result<(u64, u64), ProtobufError> {
        let (mut first, mut second) = (0, 0);
        while let Some(field) = self.field()? {
            match field.number {
                1 => first = field.uint()?,
                2 => second = field.uint()?,
                _ => {}
            }
        }
        Ok((first, second))
    }

    /// Reads an outermost message.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message, end: message.len() }
    }

    /// Reads a message that begins `offset` bytes after the beginning of what errors count from.
    pub fn at_offset(message: &'a [u8], offset: usize) -> Self {
        Self { rest: message, end: offset + message.len() }
    }

    /// What has not been read.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns true at the end.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Where the reader stands, counted from the beginning of the outermost message.
    pub fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// The next field; `None` at the end.
    #[expect(clippy::inline_always, reason = "measured: saves a fifth of decoding remote write")]
    #[inline(always)]
    pub fn field(&mut self) -> Result<Option<Field<'a>>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.offset();
        let key = self.varint()?;
        let offset = self.offset();
        let number = key >> 3;
        if number == 0 || (1 << 29) <= number {
            return Err(ProtobufError { offset: start, fault: ProtobufFault::FieldNumber { number } });
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.delimited()?),
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => {
                let fault = ProtobufFault::WireType { wire_type: other as u8 };
                return Err(ProtobufError { offset: start, fault });
            }
        };
        Ok(Some(Field { number: number as u32, value, offset }))
    }

    /// The next number of a packed field or the length in front of a message.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, ProtobufError> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    /// Unlike [`varint::take`], overlong forms pass: protobuf allows them.
    fn long_varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().enumerate().take(VARINT_BYTES_MAX) {
            if index == VARINT_BYTES_MAX - 1 && 1 < byte {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        let cut = self.rest.len() < VARINT_BYTES_MAX;
        Err(self.error(if cut { ProtobufFault::CutShort } else { ProtobufFault::Varint }))
    }

    /// The next eight bytes of packed doubles.
    #[inline]
    pub fn double(&mut self) -> Result<f64, ProtobufError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// The next eight bytes of packed fixed numbers.
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, ProtobufError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A message with its length in front, as streams of messages have it.
    #[inline]
    pub fn delimited(&mut self) -> Result<Reader<'a>, ProtobufError> {
        let len = self.varint()?;
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((inside, rest)) = split else { return Err(self.error(ProtobufFault::CutShort)) };
        self.rest = rest;
        Ok(Reader { rest: inside, end: self.end - rest.len() })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.error(ProtobufFault::CutShort));
        };
        self.rest = rest;
        Ok(*array)
    }

    fn error(&self, fault: ProtobufFault) -> ProtobufError {
        ProtobufError { offset: self.offset(), fault }
    }
}

impl<'a> Field<'a> {
    /// `int64`, `uint64`, `int32`, `uint32`, `bool` or an enum: narrow it as the type demands.
    #[inline]
    pub fn uint(&self) -> Result<u64, ProtobufError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.type_error()),
        }
    }

    /// `sint32` or `sint64`.
    #[inline]
    pub fn sint(&self) -> Result<i64, ProtobufError> {
        self.uint().map(varint::unzigzag)
    }

    /// `double`.
    #[inline]
    pub fn double(&self) -> Result<f64, ProtobufError> {
        self.fixed64().map(f64::from_bits)
    }

    /// `fixed64` or `sfixed64`.
    #[inline]
    pub fn fixed64(&self) -> Result<u64, ProtobufError> {
        match self.value {
            Value::Fixed64(bits) => Ok(bits),
            _ => Err(self.type_error()),
        }
    }

    /// A message or packed numbers.
    #[inline]
    pub fn message(&self) -> Result<Reader<'a>, ProtobufError> {
        match self.value {
            Value::Bytes(reader) => Ok(reader),
            _ => Err(self.type_error()),
        }
    }

    /// `bytes`, and texts whose encoding the caller checks.
    #[inline]
    pub fn bytes(&self) -> Result<&'a [u8], ProtobufError> {
        self.message().map(|reader| reader.rest)
    }

    /// Hands each number of a repeated varint field to `each`, packed or not.
    #[inline]
    pub fn uints(&self, mut each: impl FnMut(u64)) -> Result<(), ProtobufError> {
        match self.value {
            Value::Varint(value) => each(value),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(packed.varint()?);
                }
            }
            _ => return Err(self.type_error()),
        }
        Ok(())
    }

    /// Hands each number of a repeated `fixed64` or `double` field to `each`, packed or not.
    #[inline]
    pub fn fixed64s(&self, mut each: impl FnMut(u64)) -> Result<(), ProtobufError> {
        match self.value {
            Value::Fixed64(bits) => each(bits),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(packed.fixed64()?);
                }
            }
            _ => return Err(self.type_error()),
        }
        Ok(())
    }

    fn type_error(&self) -> ProtobufError {
        ProtobufError { offset: self.offset, fault: ProtobufFault::FieldType { field: self.number } }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protobuf::{put_double, put_message, put_text, put_uint};

    fn fault(bytes: &[u8]) -> Option<(usize, ProtobufFault)> {
        let mut reader = Reader::new(bytes);
        loop {
            match reader.field() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some((error.offset, error.fault)),
            }
        }
    }

    #[test]
    fn faults_name_their_byte() {
        assert_eq!(fault(&[0x08, 0x01]), None);
        assert_eq!(fault(&[0x08]), Some((1, ProtobufFault::CutShort)));
        assert_eq!(fault(&[0x08, 0x80]), Some((1, ProtobufFault::CutShort)));
        assert_eq!(fault(&[0x0a, 0x02, 0x00]), Some((2, ProtobufFault::CutShort)));
        assert_eq!(fault(&[0x09, 0, 0, 0]), Some((1, ProtobufFault::CutShort)));
        assert_eq!(fault(&[0x08, 0x01, 0x0b]), Some((2, ProtobufFault::WireType { wire_type: 3 })));
        assert_eq!(fault(&[0x00]), Some((0, ProtobufFault::FieldNumber { number: 0 })));
        assert_eq!(fault(&[&[0x08][..], &[0xff; 10]].concat()), Some((1, ProtobufFault::Varint)));
    }

    #[test]
    fn overlong_numbers_pass() {
        let mut reader = Reader::new(&[0x88, 0x00, 0x81, 0x80, 0x00]);
        assert_eq!(reader.field().unwrap().unwrap().uint(), Ok(1));
        assert!(reader.is_empty());
    }

    #[test]
    fn offsets_count_from_the_outermost_message() {
        let mut out = Vec::new();
        put_uint(1, 300, &mut out);
        put_message(2, &mut out, |out| {
            put_message(3, out, |out| put_text(4, "x", out));
        });
        let mut reader = Reader::new(&out);
        reader.field().unwrap();
        let mut middle = reader.field().unwrap().unwrap().message().unwrap();
        assert_eq!(middle.offset(), 5);
        let mut inner = middle.field().unwrap().unwrap().message().unwrap();
        assert_eq!(inner.offset(), 7);
        let text = inner.field().unwrap().unwrap();
        let wrong = ProtobufError { offset: 8, fault: ProtobufFault::FieldType { field: 4 } };
        assert_eq!((text.bytes(), text.uint()), (Ok(&b"x"[..]), Err(wrong)));
    }

    proptest! {
        #[test]
        fn fields_come_back(number in 1_u32..1 << 29, uint: u64, bits: u64, text in ".{0,300}") {
            let mut out = Vec::new();
            put_uint(number, uint, &mut out);
            put_double(number, f64::from_bits(bits), &mut out);
            put_text(number, &text, &mut out);
            let mut reader = Reader::new(&out);
            let mut next = || reader.field().unwrap().unwrap();
            prop_assert_eq!(next().uint(), Ok(uint));
            prop_assert_eq!(next().fixed64(), Ok(bits));
            let last = next();
            prop_assert_eq!((last.number, last.bytes()), (number, Ok(text.as_bytes())));
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(field)) = reader.field() {
                prop_assert!(field.offset <= reader.offset());
            }
        }
    }
}
