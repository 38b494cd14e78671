//! Element types.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! dtypes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $size:literal;)*) => {
        /// The type of a tensor's elements. Travels as its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "u8", try_from = "u8")]
        #[non_exhaustive]
        pub enum DType {
            $($(#[$doc])* $name = $number,)*
        }

        impl DType {
            /// Every type, in the order of the numbers.
            pub const ALL: &'static [DType] = &[$(DType::$name,)*];

            /// The short name: `f32`.
            pub fn name(self) -> &'static str {
                match self { $(DType::$name => $text,)* }
            }

            /// Bytes of one element.
            pub fn size_bytes(self) -> u64 {
                match self { $(DType::$name => $size,)* }
            }
        }

        impl TryFrom<u8> for DType {
            type Error = String;

            fn try_from(number: u8) -> Result<Self, String> {
                match number {
                    $($number => Ok(DType::$name),)*
                    _ => Err(format!("{number} is not the number of an element type")),
                }
            }
        }
    };
}

dtypes! {
    /// One byte, 0 or 1.
    Bool = 1, "bool", 1;
    /// Signed, 8 bits.
    I8 = 2, "i8", 1;
    /// Unsigned, 8 bits.
    U8 = 3, "u8", 1;
    /// Signed, 16 bits.
    I16 = 4, "i16", 2;
    /// Unsigned, 16 bits.
    U16 = 5, "u16", 2;
    /// Signed, 32 bits.
    I32 = 6, "i32", 4;
    /// Unsigned, 32 bits.
    U32 = 7, "u32", 4;
    /// Signed, 64 bits.
    I64 = 8, "i64", 8;
    /// Unsigned, 64 bits.
    U64 = 9, "u64", 8;
    /// IEEE 754 half precision.
    F16 = 10, "f16", 2;
    /// bfloat16: the upper half of an `f32`.
    Bf16 = 11, "bf16", 2;
    /// IEEE 754 single precision.
    F32 = 12, "f32", 4;
    /// IEEE 754 double precision.
    F64 = 13, "f64", 8;
}

impl From<DType> for u8 {
    fn from(dtype: DType) -> u8 {
        dtype as u8
    }
}

impl FromStr for DType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        DType::ALL.iter().copied().find(|dtype| dtype.name() == text).ok_or_else(|| {
            let names: Vec<_> = DType::ALL.iter().map(|dtype| dtype.name()).collect();
            format!("{text:?} is not an element type; there are {}", names.join(" "))
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_go_both_ways() {
        for &dtype in DType::ALL {
            assert_eq!(DType::try_from(u8::from(dtype)), Ok(dtype));
            assert_eq!(dtype.name().parse(), Ok(dtype));
        }
        assert!(DType::try_from(0).is_err() && DType::try_from(14).is_err());
        assert!("float".parse::<DType>().unwrap_err().contains("f32"));
    }
}
