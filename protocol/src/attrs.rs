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
    7 Ints(Vec<i64> as Counted<i64>) ints ints_or "a list of integers", all;
    8 Floats(Vec<f64> as Counted<f64>) floats floats_or "a list of numbers", all;
    9 Bools(Vec<bool> as Counted<bool>) bools bools_or "a list of true and false", all;
    10 Strs(Vec<String> as Counted<String>) strs strs_or "a list of texts", all;
    11 DTypes(Vec<DType> as Counted<DType>) dtypes dtypes_or "a list of element types", all;
    12 Shapes(Vec<Shape> as Counted<Shape>) shapes shapes_or "a list of shapes", all;
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

fn all<T: Weight>(list: &Vec<T>) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn all() -> Attrs {
        Attrs::new()
            .with("int", -5i64)
            .with("float", 0.5)
            .with("bool", true)
            .with("str", "x")
            .with("dtype", DType::F32)
            .with("shape", Shape::from([2, 3]))
            .with("ints", vec![1i64, -2])
            .with("floats", vec![f64::INFINITY])
            .with("bools", vec![false])
            .with("strs", vec!["a".to_owned(), String::new()])
            .with("dtypes", vec![DType::Bool])
            .with("shapes", vec![Shape::scalar()])
    }

    fn round(attrs: &Attrs) -> Result<Attrs, String> {
        let mut bytes = Vec::new();
        codec::encode(&mut bytes, attrs).unwrap();
        codec::decode(&bytes).map_err(|error| error.0)
    }

    #[test]
    fn every_type_comes_back() {
        let attrs = all();
        assert_eq!(round(&attrs).unwrap(), attrs);
        assert_eq!((attrs.int("int"), attrs.str("str").map(|s| &**s), attrs.len()), (Ok(&-5), Ok("x"), 12));
        assert_eq!(attrs.int_or("axis", &7), Ok(&7));
        assert!(attrs.check().is_ok() && !attrs.is_empty());
    }

    #[test]
    fn a_missing_attribute_and_one_of_another_type_are_told_apart() {
        let error = all().int("axis").unwrap_err();
        assert_eq!(error.to_string(), "attribute \"axis\" must be an integer, it is not given");
        let error = all().float_or("int", &1.0).unwrap_err();
        assert_eq!(error.to_string(), "attribute \"int\" must be a number, it is an integer");
    }

    #[test]
    fn what_is_over_a_limit_or_malformed_is_refused() {
        let many = |n: usize| (0..n).map(|i| (format!("a{i}"), Attr::Int(0))).collect::<Attrs>();
        assert!(round(&many(MAX_ATTRS)).is_ok());
        assert!(round(&many(MAX_ATTRS + 1)).unwrap_err().contains("more than 64 attributes"));
        assert!(many(MAX_ATTRS + 1).check().is_err());
        let long = |n: usize| Attrs::new().with("x", vec![0i64; n]);
        assert!(round(&long(MAX_ATTR_LEN)).is_ok());
        let error = round(&long(MAX_ATTR_LEN + 1)).unwrap_err();
        assert!(error.contains("attribute \"x\": more than 4096 elements of an attribute"), "{error}");
        assert!(long(MAX_ATTR_LEN + 1).check().unwrap_err().contains("has 4097 elements, at most 4096"));
        let text = |n: usize| Attrs::new().with("x", "n".repeat(n));
        assert!(round(&text(MAX_ATTR_LEN)).is_ok());
        assert!(round(&text(MAX_ATTR_LEN + 1)).unwrap_err().contains("has 4097 elements, at most 4096"));
        assert!(round(&Attrs::new().with("n".repeat(MAX_NAME + 1), 1i64)).unwrap_err().contains("257 bytes"));
        assert!(round(&Attrs::new().with("", 1i64)).is_err());
        for (bytes, words) in [
            (&[0x91, 0x93, 0xa1, b'x', 99, 0][..], "99 is not the number"),
            (&[0x92, 0x93, 0xa1, b'x', 1, 0, 0x93, 0xa1, b'x', 1, 0], "stands twice"),
            (&[0x91, 0x92, 0xa1, b'x', 1], "length"),
            (&[0x91, 0x93, 0xa1, b'x', 5, 77], "77"),
        ] {
            let error = codec::decode::<Attrs>(bytes).unwrap_err();
            assert!(error.0.contains(words), "{error:?}");
        }
    }

    #[test]
    fn a_long_list_is_not_read_to_its_end() {
        // The count alone is enough: the elements need not be there.
        for kind in 7..=12u8 {
            let bytes = [&[0x91, 0x93, 0xa1, b'x', kind][..], &[0xdd, 0xff, 0xff, 0xff, 0xff]].concat();
            let error = codec::decode::<Attrs>(&bytes).unwrap_err();
            assert!(error.0.contains("more than 4096 elements of an attribute"), "{kind}: {error:?}");
        }
        // Nor is one of which few elements are too much already: texts and shapes count for what is in them. The last
        // element is none of that kind, and would be refused for that.
        let mut texts = vec![0x91, 0x93, 0xa1, b'x', 10, 0x93];
        for _ in 0..2 {
            texts.extend_from_slice(&[0xda, 0x0f, 0xff]);
            texts.extend_from_slice(&[b'n'; 0xfff]);
        }
        texts.push(0xc0);
        let error = codec::decode::<Attrs>(&texts).unwrap_err();
        assert!(error.0.contains("more than 4096 elements of an attribute"), "{error:?}");
        let shapes = |n: usize| Attrs::new().with("x", vec![Shape::try_from(vec![1; 31]).unwrap(); n]);
        assert!(round(&shapes(128)).is_ok());
        assert!(round(&shapes(129)).unwrap_err().contains("more than 4096 elements of an attribute"));
    }

    #[test]
    fn all_attributes_together_have_a_limit() {
        let lists = |n: usize| {
            let whole = (0..n).map(|i| (format!("a{i}"), Attr::Bools(vec![true; MAX_ATTR_LEN])));
            whole.collect::<Attrs>()
        };
        let full = MAX_ATTRS_TOTAL / MAX_ATTR_LEN;
        assert!(round(&lists(full)).is_ok() && lists(full).check().is_ok());
        let over = lists(full).with("one", true);
        for error in [round(&over).unwrap_err(), over.check().unwrap_err()] {
            assert!(error.contains("16385 elements together, at most 16384 are allowed"), "{error}");
        }
        // Those that come after the limit is passed are not read: the last of these is malformed.
        let mut bytes = Vec::new();
        codec::encode(&mut bytes, &lists(full + 1)).unwrap();
        bytes[0] += 1;
        bytes.push(0xc0);
        let error = codec::decode::<Attrs>(&bytes).unwrap_err();
        assert!(error.0.contains("elements together"), "{error:?}");
    }
}
