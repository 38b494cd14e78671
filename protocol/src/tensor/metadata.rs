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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec, tensor::MAX_RANK};

    /// TFRT §3.1-2: metadata that is cut short, too long or wrong is an error that says so; nothing is read past its end.
    #[test]
    fn metadata_that_is_damaged_is_an_error() {
        let mut bytes = Vec::new();
        codec::encode(&mut bytes, &TensorMetadata::new(DType::F32, [2, 300, 70_000])).unwrap();
        assert!(codec::decode::<TensorMetadata>(&bytes).is_ok());
        for end in 0..bytes.len() {
            codec::decode::<TensorMetadata>(&bytes[..end]).unwrap_err();
        }
        let check = |bytes: &[u8], expected: &str| {
            let error = codec::decode::<TensorMetadata>(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&[&bytes[..], &[0]].concat(), "left over");
        check(&[0x92, 0xcc, 0xfe, 0x90], "254");
        let dims = MAX_RANK as u8 + 1;
        let shape = [&[0x92, DType::F32.into(), 0xdc, 0, dims][..], &vec![1; dims.into()]].concat();
        check(&shape, "more than 32 dimensions");
    }
}
