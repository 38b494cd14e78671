//! A tensor.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{AlignedBuf, DType, Element, Shape, TensorMetadata};

/// Contiguous, row-major, little-endian bytes with an element type and a shape. Clones share all of it: a tensor is as large as
/// a pointer.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    metadata: TensorMetadata,
    data: Bytes,
}

/// The parts do not make a tensor, or not the one that was asked for. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The bytes are not as many as dtype and shape say.
    #[error("a tensor {metadata} has {expected} bytes, but {actual} were given")]
    SizeMismatch {
        /// What the bytes should have been.
        metadata: TensorMetadata,
        /// How many bytes that is (saturated at 2⁶⁴ − 1).
        expected: u64,
        /// How many there were.
        actual: u64,
    },
    /// The elements are read as another type than they are.
    #[error("the tensor holds {actual}, not {expected}")]
    TypeMismatch {
        /// The type that was asked for.
        expected: DType,
        /// The type of the elements.
        actual: DType,
    },
    /// A byte of a bool tensor is neither 0 nor 1.
    #[error("element {index} of a bool tensor is {value}, not 0 or 1")]
    NotBool {
        /// The element, counted from 0.
        index: usize,
        /// Its byte.
        value: u8,
    },
    /// The shape has too many dimensions.
    #[error("{0}")]
    Shape(String),
    /// The system has not so much memory.
    #[error("no memory for a tensor of {0} bytes")]
    OutOfMemory(u64),
}

impl Tensor {
    /// A tensor of bytes that are there already; shares them. Data that is not aligned to [`super::ALIGNMENT`] is
    /// copied once, so that it can be read as elements.
    pub fn from_bytes(metadata: TensorMetadata, data: Bytes) -> Result<Self, TensorError> {
        let expected = metadata.size_bytes();
        if expected != Some(data.len() as u64) {
            let expected = expected.unwrap_or(u64::MAX);
            return Err(TensorError::SizeMismatch { metadata, expected, actual: data.len() as u64 });
        }
        if metadata.dtype == DType::Bool
            && let Some(index) = data.iter().position(|&b| b > 1)
        {
            return Err(TensorError::NotBool { index, value: data[index] });
        }
        let aligned = data.is_empty() || (data.as_ptr() as usize).is_multiple_of(super::ALIGNMENT);
        let data = if aligned { data } else { copy_aligned(&data)? };
        Ok(Self(Arc::new(Inner { metadata, data })))
    }

    /// A tensor of elements, copied, in row-major order.
    pub fn from_slice<T: Element>(shape: impl Into<Shape>, elements: &[T]) -> Result<Self, TensorError> {
        let metadata = TensorMetadata::new(T::DTYPE, shape);
        let bytes: &[u8] = bytemuck::cast_slice(elements);
        if metadata.size_bytes() != Some(bytes.len() as u64) {
            let expected = metadata.size_bytes().unwrap_or(u64::MAX);
            return Err(TensorError::SizeMismatch { metadata, expected, actual: bytes.len() as u64 });
        }
        Self::from_bytes(metadata, copy_aligned(bytes)?)
    }

    /// A tensor without dimensions.
    pub fn scalar<T: Element>(value: T) -> Result<Self, TensorError> {
        Self::from_slice(Shape::scalar(), &[value])
    }

    /// A tensor of zeros.
    pub fn zeros(metadata: TensorMetadata) -> Result<Self, TensorError> {
        let size = metadata.size_bytes().unwrap_or(u64::MAX);
        let len = usize::try_from(size).map_err(|_| TensorError::OutOfMemory(size))?;
        let data = AlignedBuf::zeroed(len).ok_or(TensorError::OutOfMemory(size))?.freeze();
        Ok(Self(Arc::new(Inner { metadata, data })))
    }

    /// Element type and shape.
    pub fn metadata(&self) -> &TensorMetadata {
        &self.0.metadata
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.0.metadata.dtype
    }

    /// The lengths of the dimensions.
    pub fn shape(&self) -> &Shape {
        &self.0.metadata.shape
    }

    /// Bytes of the data.
    pub fn size_bytes(&self) -> u64 {
        self.0.data.len() as u64
    }

    /// The data.
    pub fn bytes(&self) -> &Bytes {
        &self.0.data
    }

    /// The elements in row-major order, without a copy.
    pub fn elements<T: Element>(&self) -> Result<&[T], TensorError> {
        if T::DTYPE != self.dtype() {
            return Err(TensorError::TypeMismatch { expected: T::DTYPE, actual: self.dtype() });
        }
        if self.0.data.is_empty() {
            // No bytes have no alignment: they may point anywhere.
            return Ok(&[]);
        }
        // Construction saw to the alignment and to the length; nothing else makes a tensor.
        Ok(bytemuck::try_cast_slice(&self.0.data).expect("a tensor's bytes are aligned and a whole number of elements"))
    }

    /// The same bytes in another shape of as many elements.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self, TensorError> {
        Self::from_bytes(TensorMetadata::new(self.dtype(), shape), self.0.data.clone())
    }
}

fn copy_aligned(bytes: &[u8]) -> Result<Bytes, TensorError> {
    let mut buf = AlignedBuf::zeroed(bytes.len()).ok_or(TensorError::OutOfMemory(bytes.len() as u64))?;
    buf.as_mut_slice().copy_from_slice(bytes);
    Ok(buf.freeze())
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}, {} bytes)", self.0.metadata, self.0.data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back() {
        let tensor = Tensor::from_slice([2, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        assert_eq!(tensor.metadata().to_string(), "f32[2,3]");
        assert_eq!(tensor.elements::<f32>().unwrap()[5], 6.0);
        assert_eq!(tensor.size_bytes(), 24);
    }

    #[test]
    fn the_wrong_type_is_an_error() {
        let tensor = Tensor::scalar(1i32).unwrap();
        let error = tensor.elements::<f32>().unwrap_err();
        assert_eq!(error.to_string(), "the tensor holds i32, not f32");
    }

    #[test]
    fn a_wrong_number_of_bytes_is_an_error() {
        let metadata = TensorMetadata::new(DType::F32, [2]);
        assert!(Tensor::from_bytes(metadata.clone(), Bytes::from_static(&[0; 7])).is_err());
        assert!(Tensor::from_slice([3], &[0u8; 2]).is_err());
        assert!(Tensor::from_bytes(TensorMetadata::new(DType::F32, [u64::MAX, 2]), Bytes::new()).is_err());
    }

    #[test]
    fn misaligned_bytes_are_copied() {
        let bytes = Bytes::from(vec![0u8; 9]).slice(1..);
        let tensor = Tensor::from_bytes(TensorMetadata::new(DType::F64, [1]), bytes).unwrap();
        assert_eq!(tensor.elements::<f64>().unwrap(), [0.0]);
    }

    #[test]
    fn a_bool_is_0_or_1() {
        let metadata = TensorMetadata::new(DType::Bool, [2]);
        let error = Tensor::from_bytes(metadata, Bytes::from_static(&[1, 2])).unwrap_err();
        assert_eq!(error, TensorError::NotBool { index: 1, value: 2 });
    }

    #[test]
    fn empty_tensors_have_no_elements() {
        let tensor = Tensor::from_slice::<f64>([0, 3], &[]).unwrap();
        assert!(tensor.elements::<f64>().unwrap().is_empty());
    }
}
