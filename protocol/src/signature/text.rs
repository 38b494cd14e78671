//! A signature as text: `a: f32[n,k], b: f32[k,m] -> c: f32[n,m]`.
//!
//! ```text
//! signature: args "->" args            args: nothing, or arg {"," arg}
//! arg:       [name ":"] type "[" (".." or dims) "]"
//! type:      an element type, `any`, or a symbol that begins with a capital letter
//! dim:       "?" or term {"+" term}    term: factor {"*" factor}    factor: a number or a symbol
//! ```

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::{Arg, ArgType, Dim, MAX_FACTORS, MAX_TERMS, Signature, Term};
use crate::{
    frame::{MAX_ARGS, MAX_NAME},
    tensor::{DType, MAX_RANK},
};

/// Most bytes of a signature's text.
pub const MAX_TEXT: usize = 64 << 10;

/// Why a text is no signature. Places are counted in bytes from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Something else was expected there.
    #[error("at byte {at} of the signature stands {found}, where {expected} is expected")]
    Expected {
        /// Where.
        at: usize,
        /// What would be right.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// There is no such element type.
    #[error("at byte {at} of the signature: {why}, `any`, and symbols, which begin with a capital letter")]
    NoType {
        /// Where.
        at: usize,
        /// What it is not, and what there is.
        why: String,
    },
    /// A symbol of an output, or of a sum, stands for nothing.
    #[error(
        "symbol {symbol:?} stands for nothing: name it as the type, or as a whole dimension, of an input as well, or \
         write `any` or `?`"
    )]
    Unbound {
        /// The symbol.
        symbol: String,
    },
    /// More of something than there may be.
    #[error("the signature has more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
}

impl Signature {
    /// Reads a signature: inputs, `->`, outputs. A dimension is a number, a symbol, a sum of products of such, or `?` for any
    /// length; `[..]` is any number of dimensions and `[]` none. The type is an element type, `any`, or a symbol that begins
    /// with a capital letter. Every argument may have a name before a colon.
    ///
    /// # Errors
    ///
    /// If the text is no signature, or if an output, or a sum, has a symbol that no input binds.
    pub fn symbolic(text: &str) -> Result<Self, SignatureError> {
        if text.len() > MAX_TEXT {
            return Err(SignatureError::TooMany { what: "bytes", most: MAX_TEXT });
        }
        let mut rest = Rest { text, at: 0 };
        let inputs = rest.args()?;
        rest.expect("->", "`,` and another input, or `->`")?;
        let outputs = rest.args()?;
        rest.skip_space();
        if rest.at < text.len() {
            return rest.unexpected("`,` and another output, or the end");
        }
        let signature = Self { inputs, outputs };
        signature.check_bound()?;
        Ok(signature)
    }

    /// Whether every symbol that is used is bound by an input.
    fn check_bound(&self) -> Result<(), SignatureError> {
        let (mut types, mut lengths) = (BTreeSet::new(), BTreeSet::new());
        for arg in &self.inputs {
            if let ArgType::Symbol(name) = &arg.dtype {
                types.insert(name.as_str());
            }
            lengths.extend(arg.dims.iter().flatten().filter_map(|dim| match dim {
                Dim::Symbol(name) => Some(name.as_str()),
                Dim::Fixed(_) | Dim::Sum(_) | Dim::Any => None,
            }));
        }
        for arg in self.inputs.iter().chain(&self.outputs) {
            let symbol = match &arg.dtype {
                ArgType::Symbol(name) if !types.contains(name.as_str()) => Some(name),
                _ => arg.dims.iter().flatten().flat_map(symbols).find(|name| !lengths.contains(name.as_str())),
            };
            if let Some(symbol) = symbol {
                return Err(SignatureError::Unbound { symbol: symbol.clone() });
            }
        }
        Ok(())
    }
}

fn symbols(dim: &Dim) -> Vec<&String> {
    match dim {
        Dim::Symbol(name) => vec![name],
        Dim::Sum(terms) => terms.iter().flat_map(|term| &term.symbols).collect(),
        Dim::Fixed(_) | Dim::Any => Vec::new(),
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        Self::symbolic(text)
    }
}

/// What is still to be read.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn left(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.left().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.left().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn expect(&mut self, token: &str, expected: &'static str) -> Result<(), SignatureError> {
        if self.take(token) { Ok(()) } else { self.unexpected(expected) }
    }

    fn unexpected<T>(&self, expected: &'static str) -> Result<T, SignatureError> {
        let found = self.left().chars().next().map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
        Err(SignatureError::Expected { at: self.at, expected, found })
    }

    /// The longest piece of such characters from here on.
    fn run(&mut self, is_of: impl Fn(char) -> bool) -> &'a str {
        self.skip_space();
        let left = self.left();
        let len = left.find(|c| !is_of(c)).unwrap_or(left.len());
        self.at += len;
        &left[..len]
    }

    fn word(&mut self, expected: &'static str) -> Result<&'a str, SignatureError> {
        self.skip_space();
        if !self.left().starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return self.unexpected(expected);
        }
        let word = self.run(|c| c.is_alphanumeric() || c == '_' || c == '.');
        limited("bytes in a name", MAX_NAME, word.len()).map(|()| word)
    }

    fn args(&mut self) -> Result<Vec<Arg>, SignatureError> {
        let mut args = Vec::new();
        self.skip_space();
        if self.left().is_empty() || self.left().starts_with("->") {
            return Ok(args);
        }
        loop {
            args.push(self.arg()?);
            limited("inputs or outputs", MAX_ARGS, args.len())?;
            if !self.take(",") {
                return Ok(args);
            }
        }
    }

    fn arg(&mut self) -> Result<Arg, SignatureError> {
        self.skip_space();
        let mut at = self.at;
        let (mut name, mut word) = ("", self.word("an element type, as in `f32[n]`")?);
        if self.take(":") {
            self.skip_space();
            at = self.at;
            (name, word) = (word, self.word("an element type, as in `f32[n]`")?);
        }
        let dtype = match word {
            "any" => ArgType::Any,
            symbol if symbol.starts_with(char::is_uppercase) => ArgType::Symbol(symbol.to_owned()),
            other => other.parse::<DType>().map(ArgType::Fixed).map_err(|why| SignatureError::NoType { at, why })?,
        };
        self.expect("[", "`[` and the dimensions, `[]` for a scalar")?;
        Ok(Arg { name: name.to_owned(), dtype, dims: self.dims()? })
    }

    /// The dimensions, and what ends them.
    fn dims(&mut self) -> Result<Option<Vec<Dim>>, SignatureError> {
        if self.take("..") {
            return self.expect("]", "`]`").map(|()| None);
        }
        let mut dims = Vec::new();
        if self.take("]") {
            return Ok(Some(dims));
        }
        loop {
            dims.push(self.dim()?);
            limited("dimensions of an argument", MAX_RANK, dims.len())?;
            if !self.take(",") {
                self.expect("]", "`,` and another dimension, or `]`")?;
                return Ok(Some(dims));
            }
        }
    }

    fn dim(&mut self) -> Result<Dim, SignatureError> {
        if self.take("?") {
            return Ok(Dim::Any);
        }
        let mut terms = vec![self.term()?];
        while self.take("+") {
            terms.push(self.term()?);
            limited("terms of a length", MAX_TERMS, terms.len())?;
        }
        // The simplest form of the same: what is equal reads equal.
        Ok(match &mut terms[..] {
            [Term { factor, symbols }] if symbols.is_empty() => Dim::Fixed(*factor),
            [Term { factor: 1, symbols }] if symbols.len() == 1 => Dim::Symbol(std::mem::take(&mut symbols[0])),
            _ => Dim::Sum(terms),
        })
    }

    fn term(&mut self) -> Result<Term, SignatureError> {
        let (mut factor, mut symbols) = (1u64, Vec::new());
        loop {
            self.skip_space();
            if self.left().starts_with(|c: char| c.is_ascii_digit()) {
                let at = self.at;
                let digits = self.run(|c| c.is_ascii_digit());
                let product = digits.parse().ok().and_then(|number| factor.checked_mul(number));
                factor = product.ok_or_else(|| SignatureError::Expected {
                    at,
                    expected: "a number of at most 64 bits",
                    found: digits.chars().take(24).collect(),
                })?;
            } else {
                symbols.push(self.word("a length: a number, a symbol or `?`")?.to_owned());
                limited("symbols of a term", MAX_FACTORS, symbols.len())?;
            }
            if !self.take("*") {
                return Ok(Term { factor, symbols });
            }
        }
    }
}

fn limited(what: &'static str, most: usize, count: usize) -> Result<(), SignatureError> {
    if count <= most { Ok(()) } else { Err(SignatureError::TooMany { what, most }) }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args = |f: &mut fmt::Formatter<'_>, args: &[Arg]| {
            args.iter().enumerate().try_for_each(|(i, arg)| {
                let comma = if i > 0 { ", " } else { "" };
                let colon = if arg.name.is_empty() { "" } else { ": " };
                write!(f, "{comma}{}{colon}{arg}", arg.name)
            })
        };
        args(f, &self.inputs)?;
        f.write_str(if self.inputs.is_empty() { "-> " } else { " -> " })?;
        args(f, &self.outputs)
    }
}

/// Its type and dimensions, without its name.
impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dtype.fmt(f)?;
        let Some(dims) = &self.dims else {
            return f.write_str("[..]");
        };
        let dims: Vec<_> = dims.iter().map(Dim::to_string).collect();
        write!(f, "[{}]", dims.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_written_as_it_is_read() {
        fn check(text: &str, expected: &str) {
            let signature = Signature::symbolic(text).unwrap();
            assert_eq!(signature.to_string(), expected);
            assert_eq!(expected.parse::<Signature>().unwrap(), signature, "{text}");
        }
        check("f32[n,k],f32[k,m]->f32[n,m]", "f32[n,k], f32[k,m] -> f32[n,m]");
        check(" a :T[ n ,?] , b: any[..] -> c.d: T[ 2*n + n*n*3+ 1 ]", "a: T[n,?], b: any[..] -> c.d: T[2*n+3*n*n+1]");
        check("-> f32[2*3], bool[]", "-> f32[6], bool[]");
        check("i64[1*n] ->", "i64[n] -> ");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        fn check(text: &str, expected: &str) {
            let error = Signature::symbolic(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        check("", "at byte 0 of the signature stands the end, where `,` and another input, or `->` is expected");
        check("f32[n]", "at byte 6 of the signature stands the end");
        check("f32 -> f32[]", "at byte 4 of the signature stands '-', where `[` and the dimensions, `[]` for a scalar");
        check("x: f33[n] -> f32[n]", "at byte 3 of the signature: \"f33\" is not an element type; there are bool");
        check("f32[n m] -> f32[n]", "at byte 6 of the signature stands 'm', where `,` and another dimension, or `]`");
        check("f32[n,] -> f32[n]", "stands ']', where a length: a number, a symbol or `?` is expected");
        check("f32[n-1] -> f32[n]", "stands '-'");
        check("f32[n] -> f32[n] f32[n]", "where `,` and another output, or the end is expected");
        check("f32[n] -> f32[n], ", "stands the end, where an element type");
        check("f32[n] -> f32[m]", "symbol \"m\" stands for nothing");
        check("f32[n] -> f32[n+m]", "symbol \"m\" stands for nothing");
        check("f32[n+1] -> f32[2]", "symbol \"n\" stands for nothing");
        check("f32[n] -> T[n]", "symbol \"T\" stands for nothing");
        check("f32[99999999999999999999] ->", "where a number of at most 64 bits is expected");
        check("f32[4294967296*4294967296] ->", "at byte 15");
        check(&format!("f32[{}] ->", ["1"; 33].join(",")), "more than 32 dimensions");
        check(&format!("{} ->", ["f32[]"; 1025].join(",")), "more than 1024 inputs or outputs");
        check(&format!("f32[n] -> f32[{}]", ["n"; 9].join("+")), "more than 8 terms");
        check(&format!("f32[n] -> f32[{}]", ["n"; 9].join("*")), "more than 8 symbols");
        check(&format!("f32[{}] ->", "n".repeat(257)), "more than 256 bytes in a name");
        check(&"f".repeat(MAX_TEXT + 1), "more than 65536 bytes");
        check("f32[é-] ->", "stands '-'");
    }
}
