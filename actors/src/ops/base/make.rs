//! Makes the output of an op: its bytes are allocated as a tensor's, and written as an array.

use ndarray::{ArrayViewD, ArrayViewMutD, IxDyn};
use remex_protocol::{
    ErrorCode,
    tensor::{AlignedBuf, DType, Element, Tensor, TensorMetadata},
};

use super::Outcome;
use crate::programs::ProgramError;

/// The lengths as an array has them.
pub(super) fn lengths(tensor: &TensorMetadata) -> IxDyn {
    // Checked: an array's lengths are those of something in memory.
    IxDyn(&tensor.shape.dims().iter().map(|&len| usize::try_from(len).unwrap_or(usize::MAX)).collect::<Vec<_>>())
}

/// A tensor that `write` fills; it is zero before.
pub(super) fn make<T: Element>(
    output: TensorMetadata,
    write: impl FnOnce(ArrayViewMutD<'_, T>) -> Outcome<()>,
) -> Outcome<Tensor> {
    let size = output.size_bytes().unwrap_or(u64::MAX);
    let no_memory = || ProgramError::new(ErrorCode::ResourceExhausted, format!("no memory for {output}: {size} bytes"));
    let mut buf = usize::try_from(size).ok().and_then(AlignedBuf::zeroed).ok_or_else(no_memory)?;
    let elements = bytemuck::try_cast_slice_mut(buf.as_mut_slice());
    let array = elements
        .map_err(|error| error.to_string())
        .and_then(|elements| ArrayViewMutD::from_shape(lengths(&output), elements).map_err(|error| error.to_string()));
    match array {
        Ok(array) => write(array)?,
        Err(why) => return Err(ProgramError::new(ErrorCode::Internal, format!("{output} is not an array: {why}"))),
    }
    Ok(Tensor::from_bytes(output, buf.freeze())?)
}

/// The elements as an array of another shape, some of them repeated.
pub(super) fn stretch<'a, T: Element>(array: &'a ArrayViewD<'_, T>, to: &IxDyn) -> Outcome<ArrayViewD<'a, T>> {
    let unfit = || ProgramError::invalid(format!("{:?} cannot be broadcast to {to:?}", array.shape()));
    array.broadcast(to.clone()).ok_or_else(unfit)
}

/// The same bytes as unsigned integers: data is moved alike whatever it means, so there is one copy of the code for each
/// size and not for each type.
pub(super) fn as_bits(tensor: &Tensor) -> Outcome<Tensor> {
    as_dtype(tensor, bits_of(tensor.dtype()))
}

/// The same bytes as elements of another type of that size.
pub(super) fn as_dtype(tensor: &Tensor, dtype: DType) -> Outcome<Tensor> {
    let metadata = TensorMetadata { dtype, shape: tensor.shape().clone() };
    Ok(Tensor::from_bytes(metadata, tensor.bytes().clone())?)
}

/// The unsigned integer of an element's size.
pub(super) fn bits_of(dtype: DType) -> DType {
    match dtype.size_bytes() {
        1 => DType::U8,
        2 => DType::U16,
        4 => DType::U32,
        _ => DType::U64,
    }
}

/// Makes an output out of the inputs' bits: `for_bits!(inputs, output, |T, views, array| …)`, in which `views` are the
/// inputs as arrays of the unsigned integer `T`, and the block writes `array`.
macro_rules! for_bits {
    ($inputs:expr, $output:expr, |$T:ident, $views:ident, $array:ident| $body:expr) => {{
        let (output, inputs): (remex_protocol::tensor::TensorMetadata, &[remex_protocol::tensor::Tensor]) =
            ($output, $inputs);
        let dtype = output.dtype;
        let raw = inputs.iter().map($crate::ops::base::make::as_bits).collect::<Outcome<Vec<_>>>()?;
        let bits = $crate::ops::base::make::bits_of(dtype);
        let output = remex_protocol::tensor::TensorMetadata { dtype: bits, shape: output.shape };
        macro_rules! moved {
            ($type:ty) => {{
                type $T = $type;
                let $views = raw.iter().map(|tensor| tensor.view::<$T>()).collect::<Result<Vec<_>, _>>()?;
                $crate::ops::base::make::make::<$T>(output, |$array| $body)?
            }};
        }
        let moved = match bits {
            remex_protocol::tensor::DType::U8 => moved!(u8),
            remex_protocol::tensor::DType::U16 => moved!(u16),
            remex_protocol::tensor::DType::U32 => moved!(u32),
            _ => moved!(u64),
        };
        $crate::ops::base::make::as_dtype(&moved, dtype)
    }};
}
pub(super) use for_bits;
