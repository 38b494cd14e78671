//! The header: a Python dictionary, written out as text.
//!
//! ```text
//! {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
//! ```
//!
//! The parser takes what Python would take of such a dictionary: the keys in any order, either kind of quotes, blanks
//! anywhere, a comma behind the last entry or none.

use super::{MAGIC, MAX_PAYLOAD, NpyError};
use crate::tensor::{DType, Shape, TensorMetadata};

/// What a header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: TensorMetadata,
    pub(super) big_endian: bool,
    pub(super) fortran_order: bool,
}

impl Header {
    /// Bytes of the data, if a tensor may have so many.
    pub(super) fn size(&self) -> Result<u64, NpyError> {
        match self.metadata.size_bytes() {
            Some(size) if size <= MAX_PAYLOAD => Ok(size),
            _ => Err(NpyError::TooLarge(self.metadata.clone())),
        }
    }

    /// Whether the data are laid out as a tensor's.
    pub(super) fn is_plain(&self) -> bool {
        let swapped = self.big_endian && self.metadata.dtype.size_bytes() > 1;
        let turned = self.fortran_order && self.metadata.shape.rank() > 1;
        !swapped && !turned
    }

    pub(super) fn too_long(self, expected: u64) -> NpyError {
        NpyError::TooLong { metadata: self.metadata, expected }
    }
}

/// Everything that stands before the data; padded, so that the data begin at a multiple of 64 bytes.
pub(super) fn encode(metadata: &TensorMetadata) -> Result<Vec<u8>, NpyError> {
    let descr = descr(metadata.dtype).ok_or(NpyError::Unwritable(metadata.dtype))?;
    let mut shape = String::new();
    for dim in metadata.shape.dims() {
        shape.push_str(&format!("{dim}, "));
    }
    // (2, 3) but (2,): a tuple of one needs its comma.
    let shape = shape.trim_end_matches(if metadata.shape.rank() == 1 { " " } else { ", " });
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let len = (10 + text.len() + 1).next_multiple_of(64);
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&((len - 10) as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.resize(len - 1, b' ');
    out.push(b'\n');
    Ok(out)
}

fn descr(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Bool => "|b1",
        DType::I8 => "|i1",
        DType::U8 => "|u1",
        DType::I16 => "<i2",
        DType::U16 => "<u2",
        DType::I32 => "<i4",
        DType::U32 => "<u4",
        DType::I64 => "<i8",
        DType::U64 => "<u8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::Bf16 => return None,
    })
}

/// Reads `<f4` and the like: the byte order, then the type. No order, or "native", is taken as little-endian.
fn parse_descr(text: &str) -> Result<(DType, bool), NpyError> {
    let plain = text.trim_start_matches(['<', '>', '=', '|']);
    let plain = if plain == "?" { "b1" } else { plain };
    let dtype = DType::ALL.iter().copied().find(|&dtype| descr(dtype).is_some_and(|d| &d[1..] == plain));
    match dtype {
        Some(dtype) if text.len() <= plain.len() + 1 => Ok((dtype, text.starts_with('>'))),
        _ => Err(NpyError::Descr(text.chars().take(100).collect())),
    }
}

/// Reads the dictionary.
pub(super) fn parse(text: &[u8]) -> Result<Header, NpyError> {
    let mut parser = Parser { text, at: 0 };
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    parser.expect(b'{')?;
    while !parser.take(b'}') {
        let at = parser.at;
        let key = parser.string()?;
        parser.expect(b':')?;
        let repeated = match key {
            "descr" => descr.replace(parser.descr()?).is_some(),
            "fortran_order" => fortran_order.replace(parser.bool()?).is_some(),
            "shape" => shape.replace(parser.shape()?).is_some(),
            _ => {
                let keys = "the keys descr, fortran_order and shape";
                return Err(parser.wrong_at(at, format!("expected {keys}, found {:?}", cut(key))));
            }
        };
        if repeated {
            return Err(parser.wrong_at(at, format!("the key {key:?} stands twice")));
        }
        if !parser.take(b',') {
            parser.expect(b'}')?;
            break;
        }
    }
    parser.blanks();
    if parser.at != text.len() {
        return Err(parser.wrong("the end of the header"));
    }
    let missing = |key: &str| parser.wrong_at(parser.at, format!("the key {key:?} is missing"));
    let (dtype, big_endian) = descr.ok_or_else(|| missing("descr"))?;
    Ok(Header {
        metadata: TensorMetadata { dtype, shape: shape.ok_or_else(|| missing("shape"))? },
        big_endian,
        fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
    })
}

/// Reads Python literals from left to right.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn blanks(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Passes over `byte` if it is the next one that is not blank.
    fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), NpyError> {
        if self.take(byte) { Ok(()) } else { Err(self.wrong(&format!("{:?}", byte as char))) }
    }

    /// The bytes from here on that `part` accepts.
    fn run(&mut self, part: impl Fn(u8) -> bool) -> &'a str {
        self.blanks();
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|&b| !part(b)).unwrap_or(rest.len());
        match std::str::from_utf8(&rest[..len]) {
            Ok(run) => {
                self.at += len;
                run
            }
            Err(_) => "",
        }
    }

    fn string(&mut self) -> Result<&'a str, NpyError> {
        self.blanks();
        let Some(quote @ (b'\'' | b'"')) = self.peek() else {
            return Err(self.wrong("a string in quotes"));
        };
        self.at += 1;
        let text = self.run(|b| b != quote && b != b'\\' && b.is_ascii());
        if !self.take(quote) {
            return Err(self.wrong("the end of a plain string"));
        }
        Ok(text)
    }

    fn descr(&mut self) -> Result<(DType, bool), NpyError> {
        self.blanks();
        if self.peek() == Some(b'[') {
            return Err(NpyError::Descr("a record of several fields".to_owned()));
        }
        parse_descr(self.string()?)
    }

    fn bool(&mut self) -> Result<bool, NpyError> {
        self.blanks();
        let at = self.at;
        match self.run(|b| b.is_ascii_alphanumeric()) {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => {
                self.at = at;
                Err(self.wrong("True or False"))
            }
        }
    }

    fn shape(&mut self) -> Result<Shape, NpyError> {
        let at = self.at;
        self.expect(b'(')?;
        let mut dims = Vec::new();
        let mut comma = true;
        while !self.take(b')') {
            if !comma {
                return Err(self.wrong("',' or ')'"));
            }
            self.blanks();
            let digits = self.at;
            let len = self.run(|b| b.is_ascii_digit()).parse().map_err(|_| {
                self.at = digits;
                self.wrong("a length below 2^64")
            })?;
            // Python 2 wrote a long integer with an L.
            self.at += usize::from(self.peek() == Some(b'L'));
            dims.push(len);
            comma = self.take(b',');
        }
        if dims.len() == 1 && !comma {
            return Err(self.wrong_at(at, "(n) is a number, a shape of one dimension is (n,)".to_owned()));
        }
        Shape::try_from(dims).map_err(|why| self.wrong_at(at, why))
    }

    fn wrong(&self, expected: &str) -> NpyError {
        let found = match self.peek() {
            Some(byte) => format!("{:?}", byte as char),
            None => "the end".to_owned(),
        };
        self.wrong_at(self.at, format!("expected {expected}, found {found}"))
    }

    fn wrong_at(&self, at: usize, why: String) -> NpyError {
        NpyError::Header { at, why }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}
