//! Attributes of an op: names with typed values, which a call carries beside its inputs.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
    ser::SerializeTuple,
};

use crate::{
    bounded,
    frame::{MAX_ATTR_LEN, MAX_ATTRS, MAX_ATTRS_TOTAL, MAX_NAME},
    tensor::{DType, Shape},
};

macro_rules! attrs {
    ($($number:literal $variant:ident($type:ty as $read:ty) $getter:ident $getter_or:ident $what:literal, $len:expr;)*) => {
        /// The value of an attribute. Travels as a number for its type, and the value.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Attr {
            $(#[doc = concat!("Type ", stringify!($number), ": ", $what, ".")] $variant($type),)*
        }

        impl Attr {
            fn kind(&self) -> u8 {
                match self { $(Attr::$variant(_) => $number,)* }
            }

            /// What it is, in words.
            pub fn what(&self) -> &'static str {
                match self { $(Attr::$variant(_) => $what,)* }
            }

            /// How many elements, or bytes of text, it has.
            fn len(&self) -> usize {
                match self { $(Attr::$variant(value) => { let len: fn(&$type) -> usize = $len; len(value) })* }
            }

            fn encode<S: SerializeTuple>(&self, tuple: &mut S) -> Result<(), S::Error> {
                match self { $(Attr::$variant(value) => tuple.serialize_element(value),)* }
            }

            fn decode<'de, A: SeqAccess<'de>>(kind: u8, seq: &mut A) -> Result<Option<Self>, A::Error> {
                match kind {
                    $($number => seq.next_element::<$read>().map(|value| value.map(|read| Attr::$variant(read.into()))),)*
                    _ => Err(A::Error::custom(format!("{kind} is not the number of a type of attribute"))),
                }
            }
        }

        impl Attrs {
            $(
                #[doc = concat!("The attribute of this name, which must be there and be ", $what, ".")]
                pub fn $getter(&self, name: &str) -> Result<&$type, AttrError> {
                    match self.get(name) {
                        Some(Attr::$variant(value)) => Ok(value),
                        found => Err(AttrError::new(name, $what, found)),
                    }
                }

                #[doc = concat!("The attribute of this name, or `default` if it is not there; if it is, it must be ", $what, ".")]
                pub fn $getter_or<'a>(&'a self, name: &str, default: &'a $type) -> Result<&'a $type, AttrError> {
                    if self.get(name).is_none() { Ok(default) } else { self.$getter(name) }
                }
            )*
        }

        $(impl From<$type> for Attr {
            fn from(value: $type) -> Self {
                Attr::$variant(value)
            }
        })*
    };
}

attrs! {
    1 Int(i64 as i64) int int_or "an integer", Weight::weight;
    2 Float(f64 as f64) float float_or "a number", Weight::weight;
    3 Bool(bool as bool) bool bool_or "true or false", Weight::weight;
    4 Str(String as String) str str_or "a text", String::len;
    5 DType(DType as DType) dtype dtype_or "an element type", Weight::weight;
    6 Shape(Shape as Shape) shape shape_or "a shape", Shape::rank;
    7 Ints(Vec<i64> as Counted<i64>) ints ints_or "a list of integers", |list| all(list);
    8 Floats(Vec<f64> as Counted<f64>) floats floats_or "a list of numbers", |list| all(list);
    9 Bools(Vec<bool> as Counted<bool>) bools bools_or "a list of true and false", |list| all(list);
    10 Strs(Vec<String> as Counted<String>) strs strs_or "a list of texts", |list| all(list);
    11 DTypes(Vec<DType> as Counted<DType>) dtypes dtypes_or "a list of element types", |list| all(list);
    12 Shapes(Vec<Shape> as Counted<Shape>) shapes shapes_or "a list of shapes", |list| all(list);
}

/// What an element of a list counts for.
trait Weight {
    fn weight(&self) -> usize {
        1
    }
}

impl Weight for i64 {}
impl Weight for f64 {}
impl Weight for bool {}
impl Weight for DType {}

impl Weight for String {
    fn weight(&self) -> usize {
        self.len() + 1
    }
}

impl Weight for Shape {
    fn weight(&self) -> usize {
        self.rank() + 1
    }
}

fn all<T: Weight>(list: &[T]) -> usize {
    list.iter().map(Weight::weight).sum()
}

/// A list whose elements are counted while they are read.
struct Counted<T>(Vec<T>);

impl<T> From<Counted<T>> for Vec<T> {
    fn from(Counted(list): Counted<T>) -> Self {
        list
    }
}

impl<'de, T: Deserialize<'de> + Weight> Deserialize<'de> for Counted<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded::elements(deserializer, T::weight).map(Self)
    }
}

impl From<&str> for Attr {
    fn from(text: &str) -> Self {
        Attr::Str(text.to_owned())
    }
}

/// An attribute that is not there, or is of another type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("attribute {name:?} must be {expected}, it {found}")]
pub struct AttrError {
    /// Which.
    pub name: String,
    /// What it must be.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

impl AttrError {
    fn new(name: &str, expected: &'static str, found: Option<&Attr>) -> Self {
        let found = found.map_or_else(|| "is not given".to_owned(), |attr| format!("is {}", attr.what()));
        Self { name: name.to_owned(), expected, found }
    }
}

/// The attributes of an op, in the order in which they were given; a name stands once.
///
/// ```text
/// [[name str, type u8, value]]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Attrs(Vec<Named>);

#[derive(Clone, Debug, PartialEq)]
struct Named(String, Attr);

impl Attrs {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an attribute, or gives one another value.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Attr>) -> Self {
        self.set(name, value);
        self
    }

    /// Adds an attribute, or gives one another value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Attr>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|named| named.0 == name) {
            Some(named) => named.1 = value,
            None => self.0.push(Named(name, value)),
        }
    }

    /// The attribute of this name.
    pub fn get(&self, name: &str) -> Option<&Attr> {
        self.0.iter().find(|named| named.0 == name).map(|named| &named.1)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attr)> {
        self.0.iter().map(|named| (&*named.0, &named.1))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why they would be refused on the wire, if they would.
    pub fn check(&self) -> Result<(), String> {
        if self.len() > MAX_ATTRS {
            return Err(format!("{} attributes, at most {MAX_ATTRS} are allowed", self.len()));
        }
        self.0.iter().try_for_each(|Named(name, attr)| check(name, attr))?;
        together(self.0.iter().map(|Named(_, attr)| attr.len()).sum())
    }
}

fn together(total: usize) -> Result<(), String> {
    if total > MAX_ATTRS_TOTAL {
        return Err(format!("the attributes have {total} elements together, at most {MAX_ATTRS_TOTAL} are allowed"));
    }
    Ok(())
}

fn check(name: &str, attr: &Attr) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("an attribute whose name has {} bytes, 1 to {MAX_NAME} are allowed", name.len()));
    }
    if attr.len() > MAX_ATTR_LEN {
        return Err(format!("attribute {name:?} has {} elements, at most {MAX_ATTR_LEN} are allowed", attr.len()));
    }
    Ok(())
}

impl<N: Into<String>> FromIterator<(N, Attr)> for Attrs {
    fn from_iter<I: IntoIterator<Item = (N, Attr)>>(attrs: I) -> Self {
        attrs.into_iter().fold(Self::new(), |all, (name, value)| all.with(name, value))
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(&self.0)?;
        tuple.serialize_element(&self.1.kind())?;
        self.1.encode(&mut tuple)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Three;
        impl<'de> Visitor<'de> for Three {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, the number of a type, and a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Named, A::Error> {
                let missing = |at| A::Error::invalid_length(at, &self);
                let name: String = seq.next_element()?.ok_or_else(|| missing(0))?;
                let kind = seq.next_element()?.ok_or_else(|| missing(1))?;
                let attr = Attr::decode(kind, &mut seq)
                    .map_err(|error| A::Error::custom(format!("attribute {name:?}: {error}")))?
                    .ok_or_else(|| missing(2))?;
                check(&name, &attr).map_err(A::Error::custom)?;
                match seq.next_element::<IgnoredAny>()? {
                    None => Ok(Named(name, attr)),
                    Some(_) => Err(missing(4)),
                }
            }
        }
        deserializer.deserialize_tuple(3, Three)
    }
}

impl<'de> Deserialize<'de> for Attrs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Attrs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_ATTRS} attributes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Attrs, A::Error> {
                let too_many = || A::Error::custom(format!("more than {MAX_ATTRS} attributes in one list"));
                if seq.size_hint() > Some(MAX_ATTRS) {
                    return Err(too_many());
                }
                let (mut attrs, mut total) = (Attrs::new(), 0);
                while let Some(Named(name, attr)) = seq.next_element()? {
                    total += attr.len();
                    together(total).map_err(A::Error::custom)?;
                    if attrs.len() == MAX_ATTRS {
                        return Err(too_many());
                    }
                    if attrs.get(&name).is_some() {
                        return Err(A::Error::custom(format!("attribute {name:?} stands twice")));
                    }
                    attrs.0.push(Named(name, attr));
                }
                Ok(attrs)
            }
        }
        deserializer.deserialize_seq(All)
    }
}
