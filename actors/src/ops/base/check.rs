//! What is checked before anything is computed.

use remex_protocol::{
    ErrorCode,
    frame::MAX_PAYLOAD,
    tensor::{DType, Shape, TensorMetadata},
};

use super::Outcome;
use crate::programs::ProgramError;

/// The types of numbers that are computed with.
pub(super) const NUMBERS: &[DType] = &[DType::I32, DType::I64, DType::F16, DType::Bf16, DType::F32, DType::F64];
/// Those that have fractions.
pub(super) const FLOATS: &[DType] = &[DType::F16, DType::Bf16, DType::F32, DType::F64];

/// An `InvalidArgument`.
pub(super) fn refuse<T>(message: impl Into<String>) -> Outcome<T> {
    Err(ProgramError::invalid(message))
}

/// An `OutOfRange`: the op has no result for this value.
pub(super) fn out_of_range<T>(message: impl Into<String>) -> Outcome<T> {
    Err(ProgramError::new(ErrorCode::OutOfRange, message))
}

/// Refuses an input that no array can be: an empty one whose other lengths multiply to more than there are addresses.
pub(super) fn array(input: usize, tensor: &TensorMetadata) -> Outcome<()> {
    match addresses(tensor) {
        Some(_) => Ok(()),
        None => refuse(format!("input {input} is {tensor}, whose lengths multiply to more than an array can have")),
    }
}

/// Bytes of a tensor, were its lengths of zero ones; `None` if there are not so many addresses.
fn addresses(tensor: &TensorMetadata) -> Option<isize> {
    let lengths = tensor.shape.dims().iter().filter(|len| **len != 0);
    let bytes = lengths.copied().try_fold(tensor.dtype.size_bytes(), u64::checked_mul)?;
    isize::try_from(bytes).ok()
}

/// The output of an op, whose size is below the limit.
pub(super) fn output(dtype: DType, dims: Vec<u64>) -> Outcome<TensorMetadata> {
    let shape = Shape::try_from(dims).map_err(ProgramError::invalid)?;
    let output = TensorMetadata { dtype, shape };
    let size = output.size_bytes().filter(|size| *size <= MAX_PAYLOAD);
    if size.is_none() || addresses(&output).is_none() {
        let message = format!("the output would be {output}, of more than {MAX_PAYLOAD} bytes");
        return Err(ProgramError::new(ErrorCode::ResourceExhausted, message));
    }
    Ok(output)
}

/// The type that all inputs have, which must be one of `allowed`.
pub(super) fn dtype(inputs: &[TensorMetadata], allowed: &[DType]) -> Outcome<DType> {
    let first = match inputs.first() {
        Some(input) => input.dtype,
        None => return refuse("takes 1 or more inputs, 0 were given"),
    };
    one_of(0, first, allowed)?;
    match inputs.iter().position(|input| input.dtype != first) {
        None => Ok(first),
        Some(other) => {
            let dtype = inputs[other].dtype;
            refuse(format!("input {other} is of {dtype} and input 0 of {first}; they must be of one type: cast one"))
        }
    }
}

/// Refuses an input that is not of one of these types.
pub(super) fn one_of(input: usize, dtype: DType, allowed: &[DType]) -> Outcome<()> {
    if allowed.contains(&dtype) {
        return Ok(());
    }
    let names: Vec<_> = allowed.iter().map(|dtype| dtype.name()).collect();
    refuse(format!("input {input} is of {dtype}, it must be of {}", names.join(", ")))
}

/// The shape that all of these are broadcast to: aligned at the last dimension, a length of 1 stands for any.
pub(super) fn broadcast(shapes: &[&Shape]) -> Outcome<Vec<u64>> {
    let mut dims: Vec<u64> = Vec::new();
    for shape in shapes {
        let given = shape.dims();
        if given.len() > dims.len() {
            dims.splice(0..0, std::iter::repeat_n(1, given.len() - dims.len()));
        }
        let offset = dims.len() - given.len();
        for (dim, &len) in dims[offset..].iter_mut().zip(given) {
            match (*dim, len) {
                (a, b) if a == b => {}
                (1, b) => *dim = b,
                (_, 1) => {}
                (a, b) => {
                    let all: Vec<_> = shapes.iter().map(|shape| shape.to_string()).collect();
                    let why = format!("lengths {a} and {b} differ and none is 1");
                    return refuse(format!("shapes {} cannot be broadcast together: {why}", all.join(" and ")));
                }
            }
        }
    }
    Ok(dims)
}

/// An axis as the caller names it, -1 for the last, counted from 0.
pub(super) fn axis(axis: i64, rank: usize) -> Outcome<usize> {
    let from_start = if axis < 0 { i128::from(axis) + rank as i128 } else { i128::from(axis) };
    match usize::try_from(from_start) {
        Ok(found) if found < rank => Ok(found),
        _ if rank == 0 => refuse(format!("axis {axis} is out of range: there are no axes")),
        _ => refuse(format!("axis {axis} is out of range: it must be in -{rank}..={}", rank - 1)),
    }
}

/// Axes as the caller names them, counted from 0, in ascending order.
pub(super) fn axes(named: &[i64], rank: usize) -> Outcome<Vec<usize>> {
    let mut axes = named.iter().map(|&named| axis(named, rank)).collect::<Outcome<Vec<_>>>()?;
    axes.sort_unstable();
    match axes.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(axes),
        Some(pair) => refuse(format!("axis {} is named twice in {named:?}", pair[0])),
    }
}
