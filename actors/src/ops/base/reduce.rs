//! Sums, means, extremes and products over axes.

use ndarray::{ArrayD, Axis, Zip};
use remex_protocol::{
    attrs::Attrs,
    tensor::{DType, Element, Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome,
    attributes::{Attribute, Kind, optional, required},
    check,
    make::make,
    number::{Number, Wide, fold, for_number},
};
use crate::programs::ProgramError;

const AXES: &[Attribute] = &[optional("axes", Kind::Ints), optional("keepdims", Kind::Bool)];

macro_rules! reductions {
    ($($name:literal $run:ident $infer:ident $empty:ident |$T:ident, $array:ident, $axes:ident| $result:expr;)*) => {
        const REDUCTIONS: &[BaseOp] = &[
            $(BaseOp { name: $name, inputs: (1, 1), attrs: AXES, infer: $infer, run: $run, shares: false },)*
        ];

        $(fn $run(inputs: &[Tensor], attrs: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
            let [input] = inputs else { return check::refuse("takes 1 input") };
            let $axes = &axes(input.metadata(), attrs)?[..];
            for_number!(output.dtype, $T => {
                if input.size_bytes() == 0 {
                    // Not by way of arrays that may be longer than input and output.
                    let nothing = <$T as Number>::Wide::$empty;
                    return fill(output, $T::narrow(nothing));
                }
                let $array = input.view::<$T>()?;
                write(output, $result, |wide| $T::narrow(wide))
            })
        })*
    };
}

reductions! {
    "sum" sum any ZERO |T, array, axes| T::sum(array, axes);
    "prod" prod any ONE |T, array, axes| {
        fold(array, axes, <T as Number>::Wide::ONE, |product, x: T| product.times(x.wide()), Wide::times)
    };
    "min" min some MOST |T, array, axes| {
        fold(array, axes, <T as Number>::Wide::MOST, |least, x: T| least.least(x.wide()), Wide::least)
    };
    "max" max some LEAST |T, array, axes| {
        fold(array, axes, <T as Number>::Wide::LEAST, |most, x: T| most.most(x.wide()), Wide::most)
    };
    "mean" mean some ZERO |T, array, axes| {
        let count = axes.iter().map(|&axis| array.len_of(Axis(axis))).product();
        T::mean(array, axes, count)
    };
}

pub(super) const OPS: &[BaseOp] = &[
    REDUCTIONS[0],
    REDUCTIONS[1],
    REDUCTIONS[2],
    REDUCTIONS[3],
    REDUCTIONS[4],
    BaseOp {
        name: "argmax",
        inputs: (1, 1),
        attrs: &[required("axis", Kind::Int), optional("keepdims", Kind::Bool)],
        infer: where_,
        run: argmax,
        shares: false,
    },
];

/// The axes that are reduced, in ascending order: all if none are named.
fn axes(input: &TensorMetadata, attrs: &Attrs) -> Outcome<Vec<usize>> {
    let rank = input.shape.rank();
    match attrs.get("axes") {
        None => Ok((0..rank).collect()),
        Some(_) => check::axes(attrs.ints("axes")?, rank),
    }
}

fn any(inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    let dtype = check::dtype(inputs, check::NUMBERS)?;
    reduced(&inputs[0], dtype, &axes(&inputs[0], attrs)?, attrs)
}

/// Like [`any`], of at least one element each.
fn some(inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    let output = any(inputs, attrs)?;
    not_empty(&inputs[0], &axes(&inputs[0], attrs)?)?;
    Ok(output)
}

fn where_(inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    check::dtype(inputs, check::NUMBERS)?;
    let axis = check::axis(*attrs.int("axis")?, inputs[0].shape.rank())?;
    not_empty(&inputs[0], &[axis])?;
    reduced(&inputs[0], DType::I64, &[axis], attrs)
}

fn not_empty(input: &TensorMetadata, axes: &[usize]) -> Outcome<()> {
    match axes.iter().find(|axis| input.shape.dims()[**axis] == 0) {
        None => Ok(()),
        Some(axis) => check::refuse(format!("input 0 is {input}: of no elements along axis {axis} there is no result")),
    }
}

fn reduced(input: &TensorMetadata, dtype: DType, axes: &[usize], attrs: &Attrs) -> Outcome<TensorMetadata> {
    let keep = *attrs.bool_or("keepdims", &false)?;
    let dims = input.shape.dims().iter().enumerate().filter_map(|(axis, &len)| match axes.contains(&axis) {
        false => Some(len),
        true => keep.then_some(1),
    });
    check::output(dtype, dims.collect())
}

fn argmax(inputs: &[Tensor], attrs: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let [input] = inputs else { return check::refuse("takes 1 input") };
    let axis = Axis(check::axis(*attrs.int("axis")?, input.shape().rank())?);
    for_number!(input.dtype(), T => {
        let first = |lane: ndarray::ArrayView1<'_, T>| {
            let numbered = lane.indexed_iter().map(|(at, x)| (at as i64, x.wide()));
            numbered.reduce(|best, next| if exceeds(next.1, best.1) { next } else { best }).map_or(0, |best| best.0)
        };
        write(output, input.view::<T>()?.map_axis(axis, first), std::convert::identity)
    })
}

/// What is not a number counts as the largest.
fn exceeds<W: Wide>(a: W, b: W) -> bool {
    a > b || (a.is_nan() && !b.is_nan())
}

fn fill<T: Element>(output: TensorMetadata, nothing: T) -> Outcome<Tensor> {
    make::<T>(output, |mut array| {
        array.fill(nothing);
        Ok(())
    })
}

/// The output has as many elements as the result, and perhaps axes of length 1 more.
fn write<W: Copy, T: Element>(output: TensorMetadata, result: ArrayD<W>, narrow: impl Fn(W) -> T) -> Outcome<Tensor> {
    make::<T>(output, |array| {
        let unfit =
            |error: ndarray::ShapeError| ProgramError::new(remex_protocol::ErrorCode::Internal, error.to_string());
        let array = array.into_shape_with_order(result.raw_dim()).map_err(unfit)?;
        Zip::from(array).and(&result).for_each(|to, &x| *to = narrow(x));
        Ok(())
    })
}
