//! What is known of a tensor before its data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DType, Shape};

/// Element type and shape.
///
/// ```text
/// dtype u8 | shape [u64]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorMetadata {
    /// The type of the elements.
    pub dtype: DType,
    /// The lengths of the dimensions.
    pub shape: Shape,
}

impl TensorMetadata {
    /// Element type and shape together.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Self {
        Self { dtype, shape: shape.into() }
    }

    /// Bytes of the data; `None` if that is more than 2⁶⁴ − 1.
    pub fn size_bytes(&self) -> Option<u64> {
        self.shape.elements()?.checked_mul(self.dtype.size_bytes())
    }
}

impl fmt::Display for TensorMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}
