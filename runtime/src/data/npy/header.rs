//! The header of an NPY file: a Python dictionary of three literals.
//!
//! The parser accepts what `ast.literal_eval` would for these three keys: any order, either kind of
//! quotes, spaces anywhere, a trailing comma or none, and integers with the suffix `L` of Python 2.

use std::io::Read;

use super::super::bytes::{Endian, Input};
use crate::error::{Error, Result};

/// The longest header that is read. NumPy itself refuses headers of more than 10,000 bytes by default.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// The most axes an array may have, as in NumPy 2.
const MAX_AXES: usize = 64;

/// Which axis runs fastest in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The last.
    C,
    /// The first.
    Fortran,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// NumPy's code of the element type without the byte order: `f4`.
    pub(super) code: String,
    pub(super) endian: Endian,
    pub(super) order: Order,
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Reads everything before the elements.
    pub(super) fn read(input: &mut Input<impl Read>) -> Result<Self> {
        let mut magic = [0; 6];
        input.fill(&mut magic, "magic number")?;
        if magic != *b"\x93NUMPY" {
            return Err(Error::format(format!(
                "not an NPY file: it starts with {magic:02x?}"
            )));
        }
        let mut version = [0; 2];
        input.fill(&mut version, "version")?;
        let len = match version {
            [1, _] => {
                let mut len = [0; 2];
                input.fill(&mut len, "header length")?;
                usize::from(u16::from_le_bytes(len))
            }
            [2 | 3, _] => {
                let mut len = [0; 4];
                input.fill(&mut len, "header length")?;
                usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX)
            }
            [major, minor] => {
                let message = format!("NPY version {major}.{minor}, expected 1.0, 2.0 or 3.0");
                return Err(Error::format(message));
            }
        };
        if len > MAX_HEADER_BYTES {
            let message = format!("a header of {len} bytes, expected at most {MAX_HEADER_BYTES}");
            return Err(Error::format(message));
        }
        let mut header = vec![0; len];
        input.fill(&mut header, "header")?;
        Parser { text: &header, at: 0 }.header()
    }
}

/// Everything before the elements, padded so that they start at a multiple of 64 bytes.
pub(super) fn encode(descr: &str, order: Order, shape: &[usize]) -> Vec<u8> {
    let order = match order {
        Order::C => "False",
        Order::Fortran => "True",
    };
    let shape = match shape {
        [size] => format!("({size},)"),
        sizes => format!(
            "({})",
            sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
        ),
    };
    let dictionary = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    let padded = |n_before: usize| (n_before + dictionary.len() + 1).next_multiple_of(64) - n_before;
    let mut bytes = b"\x93NUMPY".to_vec();
    let len = match u16::try_from(padded(10)) {
        Ok(len) => {
            bytes.extend_from_slice(&[1, 0]);
            bytes.extend_from_slice(&len.to_le_bytes());
            usize::from(len)
        }
        // A dictionary of 64 KiB needs thousands of axes; version 2 has room for it.
        Err(_) => {
            let len = padded(12);
            bytes.extend_from_slice(&[2, 0]);
            bytes.extend_from_slice(&(len as u32).to_le_bytes());
            len
        }
    };
    bytes.extend_from_slice(dictionary.as_bytes());
    bytes.resize(bytes.len() + len - dictionary.len() - 1, b' ');
    bytes.push(b'\n');
    bytes
}

/// A cursor in the text of the dictionary.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn header(&mut self) -> Result<Header> {
        let (mut descr, mut order, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.accept(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            let repeated = match key.as_str() {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => order.replace(self.order()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => return Err(self.unexpected(&format!("a known key, not `{key}`"))),
            };
            if repeated {
                return Err(self.unexpected(&format!("the key `{key}` only once")));
            }
            if !self.accept(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        if self.peek().is_some() {
            return Err(self.unexpected("nothing after the dictionary"));
        }
        let missing = |key| Error::format(format!("the header lacks the key `{key}`"));
        let (endian, code) = descr.ok_or_else(|| missing("descr"))?;
        let order = order.ok_or_else(|| missing("fortran_order"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        Ok(Header {
            code,
            endian,
            order,
            shape,
        })
    }

    /// The element type: a byte order, then a letter and a width.
    fn descr(&mut self) -> Result<(Endian, String)> {
        if self.peek() == Some(b'[') {
            return Err(self.unexpected("a plain element type (structured arrays cannot be read)"));
        }
        let descr = self.string()?;
        let mut rest = descr.chars();
        let endian = match rest.next() {
            Some('<' | '|') => Endian::Little,
            Some('>') => Endian::Big,
            Some('=') if cfg!(target_endian = "big") => Endian::Big,
            Some('=') => Endian::Little,
            _ => return Err(self.unexpected(&format!("a byte order `<`, `>`, `|` or `=` in `{descr}`"))),
        };
        Ok((endian, rest.collect()))
    }

    fn order(&mut self) -> Result<Order> {
        self.skip_spaces();
        for (word, order) in [("False", Order::C), ("True", Order::Fortran)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(order);
            }
        }
        Err(self.unexpected("`True` or `False`"))
    }

    fn shape(&mut self) -> Result<Vec<usize>> {
        let mut shape = Vec::new();
        self.expect(b'(')?;
        while !self.accept(b')') {
            if shape.len() == MAX_AXES {
                return Err(self.unexpected(&format!("at most {MAX_AXES} axes")));
            }
            shape.push(self.integer()?);
            if !self.accept(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(shape)
    }

    fn integer(&mut self) -> Result<usize> {
        self.skip_spaces();
        let n_digits = self.text[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let digits = std::str::from_utf8(&self.text[self.at..self.at + n_digits]).unwrap_or_default();
        let size = digits
            .parse()
            .map_err(|_| self.unexpected("the size of an axis"))?;
        self.at += n_digits;
        self.accept(b'L');
        Ok(size)
    }

    /// A quoted string without escapes, which none of the three keys and no element type needs.
    fn string(&mut self) -> Result<String> {
        let quote = self.peek().filter(|byte| matches!(byte, b'\'' | b'"'));
        let quote = quote.ok_or_else(|| self.unexpected("a quoted string"))?;
        let start = self.at + 1;
        let len = self.text[start..].iter().position(|&byte| byte == quote);
        let len = len.ok_or_else(|| self.unexpected("a closing quote"))?;
        self.at = start + len + 1;
        Ok(String::from_utf8_lossy(&self.text[start..start + len]).into_owned())
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        match self.accept(byte) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("`{}`", byte as char))),
        }
    }

    /// Takes a byte after any spaces, if it is the next one.
    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        self.skip_spaces();
        self.text.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        self.at += self.text[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
    }

    fn unexpected(&self, expected: &str) -> Error {
        let end = self.text.len().min(self.at + 20);
        let found = String::from_utf8_lossy(&self.text[self.at.min(end)..end])
            .trim_end()
            .to_owned();
        Error::format(format!(
            "header, byte {}: expected {expected}, found `{found}`",
            self.at
        ))
        .hint("the file is damaged, or its header was not written by NumPy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Header> {
        Parser {
            text: text.as_bytes(),
            at: 0,
        }
        .header()
    }

    #[test]
    fn accepts_what_python_accepts() {
        let expected = Header {
            code: "f8".into(),
            endian: Endian::Big,
            order: Order::Fortran,
            shape: vec![2, 30],
        };
        for text in [
            "{'descr': '>f8', 'fortran_order': True, 'shape': (2, 30), }  \n",
            "{\"shape\":(2L,30L),\"fortran_order\":True,\"descr\":\">f8\"}",
            "{ 'shape' : ( 2 , 30 , ) , 'descr' : '>f8' , 'fortran_order' : True }",
        ] {
            assert_eq!(parse(text).unwrap(), expected);
        }
        let scalar = parse("{'descr': '|u1', 'fortran_order': False, 'shape': ()}").unwrap();
        assert!(scalar.shape.is_empty());
    }

    #[test]
    fn says_what_it_stumbled_over() {
        for (text, message) in [
            ("", "byte 0: expected `{`, found ``"),
            ("{'descr': '<f4', 'shape': (2,)}", "lacks the key `fortran_order`"),
            ("{'descr': 'f4'", "expected a byte order"),
            ("{'descr': [('x', '<f4')]", "structured arrays cannot be read"),
            (
                "{'descr': '<f4",
                "byte 10: expected a closing quote, found `'<f4`",
            ),
            ("{'fortran_order': 1", "expected `True` or `False`, found `1`"),
            ("{'shape': (-1,)", "expected the size of an axis, found `-1,)`"),
            (
                "{'shape': (99999999999999999999,)",
                "expected the size of an axis",
            ),
            ("{'shape': (1 2)", "expected `)`, found `2)`"),
            ("{'shape': (1,), 'shape': (1,)", "the key `shape` only once"),
            ("{'colour': 1}", "not `colour`"),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x",
                "nothing after the dictionary",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        let many = format!("{{'shape': ({})", "1,".repeat(65));
        assert!(parse(&many).unwrap_err().to_string().contains("at most 64 axes"));
    }
}
