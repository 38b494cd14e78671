//! A type and a length of an argument, as they are written down and as they travel.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{bounded, tensor::DType};

/// Most terms of a sum.
pub const MAX_TERMS: usize = 8;
/// Most symbols that are multiplied in a term.
pub const MAX_FACTORS: usize = 8;

/// The type of an argument's elements. Travels as an integer, a string or nil.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ArgType {
    /// This one.
    Fixed(DType),
    /// The same as that of every other argument with this symbol in the same call.
    Symbol(String),
    /// Any.
    #[default]
    Any,
}

/// The length of a dimension. Travels as an integer, a string, an array of terms or nil.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// So long.
    Fixed(u64),
    /// As long as every other dimension of that name in the same call.
    Symbol(String),
    /// As long as these terms together, whose symbols are lengths of other dimensions; at most [`MAX_TERMS`].
    Sum(Vec<Term>),
    /// Any length.
    Any,
}

/// A product: a number times lengths.
///
/// ```text
/// [factor u64, symbols [str]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Term {
    /// The number; alone if there are no symbols.
    pub factor: u64,
    /// The lengths that it is multiplied by, by name; at most [`MAX_FACTORS`], and one may be there more than once.
    #[serde(deserialize_with = "crate::bounded::symbols")]
    pub symbols: Vec<String>,
}

impl ArgType {
    /// The type, if there is only one.
    pub fn fixed(&self) -> Option<DType> {
        match self {
            ArgType::Fixed(dtype) => Some(*dtype),
            ArgType::Symbol(_) | ArgType::Any => None,
        }
    }
}

impl From<DType> for ArgType {
    fn from(dtype: DType) -> Self {
        ArgType::Fixed(dtype)
    }
}

impl Serialize for ArgType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ArgType::Fixed(dtype) => dtype.serialize(serializer),
            ArgType::Symbol(name) => serializer.serialize_str(name),
            ArgType::Any => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for ArgType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ArgType;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of an element type, a symbol or nil")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ArgType, E> {
                let small = u8::try_from(number).map_err(|_| format!("{number} is not the number of an element type"));
                small.and_then(DType::try_from).map(ArgType::Fixed).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<ArgType, E> {
                bounded::checked_name(name.to_owned()).map(ArgType::Symbol)
            }

            fn visit_unit<E: de::Error>(self) -> Result<ArgType, E> {
                Ok(ArgType::Any)
            }

            fn visit_none<E: de::Error>(self) -> Result<ArgType, E> {
                Ok(ArgType::Any)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Dim::Fixed(len) => serializer.serialize_u64(*len),
            Dim::Symbol(name) => serializer.serialize_str(name),
            Dim::Sum(terms) => terms.serialize(serializer),
            Dim::Any => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Dim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Dim;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length, a symbol, a sum of products or nil")
            }

            fn visit_u64<E: de::Error>(self, len: u64) -> Result<Dim, E> {
                Ok(Dim::Fixed(len))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Dim, E> {
                bounded::checked_name(name.to_owned()).map(Dim::Symbol)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, terms: A) -> Result<Dim, A::Error> {
                bounded::terms(de::value::SeqAccessDeserializer::new(terms)).map(Dim::Sum)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Dim, E> {
                Ok(Dim::Any)
            }

            fn visit_none<E: de::Error>(self) -> Result<Dim, E> {
                Ok(Dim::Any)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl fmt::Display for ArgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgType::Fixed(dtype) => dtype.fmt(f),
            ArgType::Symbol(name) => f.write_str(name),
            ArgType::Any => f.write_str("any"),
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(len) => len.fmt(f),
            Dim::Symbol(name) => f.write_str(name),
            Dim::Sum(terms) if terms.is_empty() => f.write_str("0"),
            Dim::Sum(terms) => terms.iter().enumerate().try_for_each(|(i, term)| {
                let plus = if i > 0 { "+" } else { "" };
                write!(f, "{plus}{term}")
            }),
            Dim::Any => f.write_str("?"),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = (self.factor != 1 || self.symbols.is_empty()).then(|| self.factor.to_string());
        let parts: Vec<_> = number.iter().chain(&self.symbols).map(String::as_str).collect();
        f.write_str(&parts.join("*"))
    }
}
