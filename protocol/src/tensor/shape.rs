//! The lengths of a tensor's dimensions.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use smallvec::SmallVec;

use crate::bounded;

/// Most dimensions of a tensor.
pub const MAX_RANK: usize = 32;

/// Lengths of the dimensions, the slowest first; none is a scalar. At most [`MAX_RANK`].
#[derive(Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Shape(SmallVec<[u64; 4]>);

impl Clone for Shape {
    // Not as its list does it, element by element: shapes are cloned several times in a call.
    fn clone(&self) -> Self {
        Self(SmallVec::from_slice(&self.0))
    }
}

impl Shape {
    /// The shape of a scalar.
    pub fn scalar() -> Self {
        Self::default()
    }

    /// The lengths, the slowest dimension first.
    pub fn dims(&self) -> &[u64] {
        &self.0
    }

    /// How many dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// How many elements; `None` if that is more than 2⁶⁴ − 1.
    pub fn elements(&self) -> Option<u64> {
        // A length of zero makes the product zero, whatever the others would overflow to.
        if self.0.contains(&0) {
            return Some(0);
        }
        self.0.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim))
    }
}

impl<'de> Deserialize<'de> for Shape {
    // Not as its list does it, which makes room for as many lengths as there are said to be.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded::lengths(deserializer).map(Self)
    }
}

impl TryFrom<SmallVec<[u64; 4]>> for Shape {
    type Error = String;

    fn try_from(dims: SmallVec<[u64; 4]>) -> Result<Self, String> {
        if dims.len() > MAX_RANK {
            return Err(format!("a shape has {} dimensions, at most {MAX_RANK} are allowed", dims.len()));
        }
        Ok(Self(dims))
    }
}

impl TryFrom<&[u64]> for Shape {
    type Error = String;

    fn try_from(dims: &[u64]) -> Result<Self, String> {
        Self::try_from(SmallVec::from_slice(dims))
    }
}

impl TryFrom<Vec<u64>> for Shape {
    type Error = String;

    fn try_from(dims: Vec<u64>) -> Result<Self, String> {
        Self::try_from(SmallVec::from_vec(dims))
    }
}

macro_rules! from_array {
    ($($n:literal)*) => {$(
        impl From<[u64; $n]> for Shape {
            fn from(dims: [u64; $n]) -> Self {
                Self(SmallVec::from_slice(&dims))
            }
        }
    )*};
}

from_array! { 0 1 2 3 4 5 6 }

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_counted_without_overflow() {
        fn check(dims: &[u64], expected: Option<u64>) {
            assert_eq!(Shape::try_from(dims).unwrap().elements(), expected, "{dims:?}");
        }
        check(&[], Some(1));
        check(&[2, 3], Some(6));
        check(&[u64::MAX, 2], None);
        check(&[u64::MAX, u64::MAX, 0], Some(0));
    }

    #[test]
    fn too_many_dimensions_are_refused() {
        assert!(Shape::try_from(vec![1; MAX_RANK]).is_ok());
        assert!(Shape::try_from(vec![1; MAX_RANK + 1]).unwrap_err().contains("33 dimensions"));
    }

    #[test]
    fn no_room_is_made_for_more_dimensions_than_there_may_be() {
        // The count alone, of 2^32 - 1 lengths that are not there, is enough.
        let error = crate::decode::<Shape>(&[0xdd, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!(error.0, "more than 32 dimensions in one list");
    }
}
