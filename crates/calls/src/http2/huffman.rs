//! The Huffman code of HPACK. It is canonical: the lengths of its words are the whole code.
//!
//! Source: RFC 7541, appendix B and section 5.2.

/// Bits of each byte's word; the last is that of the end of the text.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];
/// The longest word, in bits.
const BITS_MAX: usize = 30;
const END: u16 = 256;

/// Symbols by the length of their word and their number, with the first word and the number of words of each length.
struct Code {
    symbols: [u16; 257],
    first: [u32; BITS_MAX + 1],
    count: [u32; BITS_MAX + 1],
}

static CODE: Code = Code::new();

impl Code {
    #[expect(clippy::indexing_slicing, reason = "done by the compiler, which stops at a wrong index")]
    const fn new() -> Self {
        let mut code = Self { symbols: [0; 257], first: [0; BITS_MAX + 1], count: [0; BITS_MAX + 1] };
        let (mut bits, mut word, mut placed) = (1, 0_u32, 0);
        while bits <= BITS_MAX {
            word <<= 1;
            code.first[bits] = word;
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == bits {
                    code.symbols[placed] = symbol as u16;
                    code.count[bits] += 1;
                    placed += 1;
                    word += 1;
                }
                symbol += 1;
            }
            bits += 1;
        }
        code
    }
}

/// The text of a coded one; `None` when it is none.
pub(crate) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 8 / 5);
    let (mut word, mut bits, mut before) = (0_u32, 0_usize, 0_u32);
    for byte in coded {
        for at in (0..8).rev() {
            word = word << 1 | u32::from(byte >> at & 1);
            bits += 1;
            let (first, count) = (*CODE.first.get(bits)?, *CODE.count.get(bits)?);
            if let Some(place) = word.checked_sub(first).filter(|place| *place < count) {
                let symbol = *CODE.symbols.get((before + place) as usize)?;
                if symbol == END {
                    return None;
                }
                text.push(symbol as u8);
                (word, bits, before) = (0, 0, 0);
            } else {
                before += count;
            }
        }
    }
    // What is left fills the last byte: ones, fewer than eight.
    (bits < 8 && word.count_ones() as usize == bits).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn examples_of_the_standard_are_read() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode(&coded).unwrap(), b"www.example.com");
        assert_eq!(decode(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
        assert_eq!(decode(&[0x64, 0x02]).unwrap(), b"302");
        assert_eq!(decode(&[]).unwrap(), b"");
    }

    #[test]
    fn what_does_not_end_well_is_none() {
        assert_eq!(decode(&[0x00]), None, "filled with zeros");
        assert_eq!(decode(&[0xff]), None, "eight bits of filling");
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None, "the end of the text is no text");
    }
}
