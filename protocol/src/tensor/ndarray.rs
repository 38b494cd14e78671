//! Conversion from and to `ndarray`, under the feature of that name.

use ndarray::{ArrayRef, ArrayViewD, Dimension, IxDyn};

use super::{AlignedBuf, Element, Shape, Tensor, TensorError, TensorMetadata};

impl Tensor {
    /// A tensor of an array's elements, copied once. An array of any memory layout (transposed, sliced, reversed,
    /// broadcast) gives the elements in its logical order. Takes `&Array`, `&ArrayView` and the like.
    ///
    /// Fails for an array of more than [`MAX_RANK`](super::MAX_RANK) dimensions, and when there is no memory.
    pub fn from_array<T: Element, D: Dimension>(array: &ArrayRef<T, D>) -> Result<Self, TensorError> {
        let dims: Vec<u64> = array.shape().iter().map(|&len| len as u64).collect();
        let shape = Shape::try_from(dims).map_err(TensorError::Shape)?;
        if let Some(elements) = array.as_slice() {
            return Self::from_slice(shape, elements);
        }
        let metadata = TensorMetadata::new(T::DTYPE, shape);
        // A broadcast array may have more elements than there is memory.
        let size = metadata.size_bytes().unwrap_or(u64::MAX);
        let no_memory = TensorError::OutOfMemory(size);
        let len = usize::try_from(size).map_err(|_| no_memory.clone())?;
        let mut buf = AlignedBuf::zeroed(len).ok_or(no_memory)?;
        let row_major: &mut [T] = bytemuck::cast_slice_mut(buf.as_mut_slice());
        for (to, from) in row_major.iter_mut().zip(array) {
            *to = *from;
        }
        Self::from_bytes(metadata, buf.freeze())
    }

    /// The elements as an array, without a copy.
    ///
    /// Fails if they are not of type `T`, and for an empty tensor whose other lengths multiply to more than an array
    /// can have.
    pub fn view<T: Element>(&self) -> Result<ArrayViewD<'_, T>, TensorError> {
        let unfit = |why: String| TensorError::Shape(format!("{} does not fit an array: {why}", self.metadata()));
        let dims: Result<Vec<usize>, _> = self.shape().dims().iter().map(|&len| usize::try_from(len)).collect();
        let dims = dims.map_err(|e| unfit(e.to_string()))?;
        ArrayViewD::from_shape(IxDyn(&dims), self.elements()?).map_err(|e| unfit(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, Array2, ArrayD, Axis, Slice, arr0, array};

    use super::*;
    use crate::tensor::{Bool, DType};

    #[test]
    fn an_array_of_any_layout_becomes_row_major() {
        fn check<D: Dimension>(array: &ArrayRef<i32, D>, dims: &[u64], elements: &[i32]) {
            let tensor = Tensor::from_array(array).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape().dims()), (DType::I32, dims));
            assert_eq!(tensor.elements::<i32>().unwrap(), elements);
            assert_eq!(tensor.view::<i32>().unwrap(), array.to_owned().into_dyn());
        }
        let a = array![[1, 2, 3], [4, 5, 6]];
        check(&a, &[2, 3], &[1, 2, 3, 4, 5, 6]);
        check(&a.t(), &[3, 2], &[1, 4, 2, 5, 3, 6]);
        check(&a.slice_axis(Axis(1), Slice::new(0, None, -1)), &[2, 3], &[3, 2, 1, 6, 5, 4]);
        check(&a.index_axis(Axis(1), 2), &[2], &[3, 6]);
        check(&a.slice_axis(Axis(1), Slice::new(0, None, 2)), &[2, 2], &[1, 3, 4, 6]);
        check(&array![7, 8].broadcast((2, 2)).unwrap(), &[2, 2], &[7, 8, 7, 8]);
        check(&arr0(9), &[], &[9]);
        check(&Array2::zeros((0, 3)), &[0, 3], &[]);
    }

    #[test]
    fn the_view_shares_the_bytes() {
        let tensor = Tensor::from_slice([2, 2], &[1.0f32, 2.0, 3.0, 4.0]).unwrap();
        let view = tensor.view::<f32>().unwrap();
        assert_eq!(view[[1, 0]], 3.0);
        assert_eq!(view.as_ptr().cast(), tensor.bytes().as_ptr());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let tensor = Tensor::scalar(1u8).unwrap();
        assert_eq!(tensor.view::<i8>().unwrap_err().to_string(), "the tensor holds u8, not i8");
        let deep = ArrayD::<u8>::zeros(vec![1; 33]);
        let error = Tensor::from_array(&deep).unwrap_err().to_string();
        assert!(error.contains("33 dimensions"), "{error}");
        let error = Tensor::from_array(&array![Bool(1), Bool(3)]).unwrap_err();
        assert_eq!(error, TensorError::NotBool { index: 1, value: 3 });
        let huge = TensorMetadata::new(DType::U8, [0, u64::MAX, 2]);
        let error = Tensor::zeros(huge).unwrap().view::<u8>().unwrap_err().to_string();
        assert!(error.contains("does not fit an array"), "{error}");
        let all = Array::from_elem((), 1u64);
        let all = all.broadcast((1 << 30, 1 << 29)).unwrap();
        assert!(matches!(Tensor::from_array(&all), Err(TensorError::OutOfMemory(_))));
    }
}
