//! Products of matrices.

use std::num::Wrapping;

use half::{bf16, f16};
use ndarray::{
    ArrayView2, ArrayViewD, ArrayViewMut2, ArrayViewMutD, Ix2, IxDyn, LinalgScalar, Zip, linalg::general_mat_mul,
};
use remex_protocol::{
    ErrorCode,
    attrs::Attrs,
    tensor::{Element, Shape, Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome, check,
    make::{lengths, make, stretch},
    number::for_number,
};
use crate::programs::ProgramError;

pub(super) const OPS: &[BaseOp] = &[BaseOp { name: "matmul", inputs: (2, 2), attrs: &[], infer, run, shares: false }];

/// The lengths of the product's batch, and those of its matrix.
fn product(a: &TensorMetadata, b: &TensorMetadata) -> Outcome<(Vec<u64>, [u64; 2])> {
    let ([a_batch @ .., m, k], [b_batch @ .., k2, n]) = (a.shape.dims(), b.shape.dims()) else {
        return check::refuse(format!("inputs are {a} and {b}; both must have 2 dimensions or more"));
    };
    if k != k2 {
        let why = "the last length of the first must be the last but one of the second";
        return check::refuse(format!("inputs are {a} and {b}: {why}, but {k} is not {k2}"));
    }
    let batch = |dims: &[u64]| Shape::try_from(dims).map_err(ProgramError::invalid);
    let batch = check::broadcast(&[&batch(a_batch)?, &batch(b_batch)?])?;
    Ok((batch, [*m, *n]))
}

fn infer(inputs: &[TensorMetadata], _: &Attrs) -> Outcome<TensorMetadata> {
    let dtype = check::dtype(inputs, check::NUMBERS)?;
    let (mut dims, matrix) = product(&inputs[0], &inputs[1])?;
    dims.extend(matrix);
    check::output(dtype, dims)
}

fn run(inputs: &[Tensor], _: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let [a, b] = inputs else { return check::refuse("takes 2 inputs") };
    for_number!(output.dtype, T => {
        let (a, b, dims) = (a.view::<T>()?, b.view::<T>()?, lengths(&output));
        let (a_dims, b_dims) = (batched(&dims, a.shape()), batched(&dims, b.shape()));
        make::<T>(output, |array| each_matrix(stretch(&a, &a_dims)?, stretch(&b, &b_dims)?, array))
    })
}

/// The output's batch before an input's matrix.
fn batched(output: &IxDyn, input: &[usize]) -> IxDyn {
    let output = ndarray::Dimension::slice(output);
    let (batch, matrix) = (&output[..output.len() - 2], &input[input.len() - 2..]);
    IxDyn(&[batch, matrix].concat())
}

/// Multiplies matrix by matrix. All have the same batch.
fn each_matrix<T: Factor>(a: ArrayViewD<'_, T>, b: ArrayViewD<'_, T>, mut to: ArrayViewMutD<'_, T>) -> Outcome<()> {
    // No element is made, or each is the sum of nothing.
    if to.is_empty() || a.is_empty() {
        return Ok(());
    }
    if to.ndim() > 2 {
        let mut outcome = Ok(());
        Zip::from(a.outer_iter()).and(b.outer_iter()).and(to.outer_iter_mut()).for_each(|a, b, to| {
            if outcome.is_ok() {
                outcome = each_matrix(a, b, to);
            }
        });
        return outcome;
    }
    let bug = |error: ndarray::ShapeError| ProgramError::new(ErrorCode::Internal, error.to_string());
    let (a, b) = (a.into_dimensionality::<Ix2>().map_err(bug)?, b.into_dimensionality::<Ix2>().map_err(bug)?);
    T::multiply(a, b, to.view_mut().into_dimensionality::<Ix2>().map_err(bug)?);
    Ok(())
}

/// An element of matrices that are multiplied.
trait Factor: Element {
    /// `to` is zero.
    fn multiply(a: ArrayView2<'_, Self>, b: ArrayView2<'_, Self>, to: ArrayViewMut2<'_, Self>);
}

fn general<T: LinalgScalar>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, mut to: ArrayViewMut2<'_, T>) {
    general_mat_mul(T::one(), &a, &b, T::zero(), &mut to);
}

macro_rules! factors {
    ($($ty:ty: $multiply:expr;)*) => {$(
        impl Factor for $ty {
            fn multiply(a: ArrayView2<'_, Self>, b: ArrayView2<'_, Self>, to: ArrayViewMut2<'_, Self>) {
                ($multiply)(a, b, to)
            }
        }
    )*};
}

factors! {
    f32: general::<f32>;
    f64: general::<f64>;
    i32: wrapping;
    i64: wrapping;
    f16: |a, b, to| widened(a, b, to, f16::to_f32, f16::from_f32);
    bf16: |a, b, to| widened(a, b, to, bf16::to_f32, bf16::from_f32);
}

/// Integers wrap around: they are read as a type whose sums and products do.
fn wrapping<T: Element>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, to: ArrayViewMut2<'_, T>)
where
    Wrapping<T>: LinalgScalar + bytemuck::Pod,
{
    let (a_dim, b_dim, to_dim) = (a.raw_dim(), b.raw_dim(), to.raw_dim());
    // A tensor's matrices are contiguous, stretched batch or not.
    let (Some(a), Some(b), Some(to)) = (a.to_slice(), b.to_slice(), to.into_slice()) else { return };
    let a = ArrayView2::from_shape(a_dim, bytemuck::cast_slice(a));
    let b = ArrayView2::from_shape(b_dim, bytemuck::cast_slice(b));
    let to = ArrayViewMut2::from_shape(to_dim, bytemuck::cast_slice_mut(to));
    if let (Ok(a), Ok(b), Ok(to)) = (a, b, to) {
        general::<Wrapping<T>>(a, b, to);
    }
}

fn widened<T: Element>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    to: ArrayViewMut2<'_, T>,
    wide: fn(T) -> f32,
    narrow: fn(f32) -> T,
) {
    let product = a.mapv(wide).dot(&b.mapv(wide));
    Zip::from(to).and(&product).for_each(|to, &x| *to = narrow(x));
}
