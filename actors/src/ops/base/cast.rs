//! Conversion of elements from any type to any.

use half::{bf16, f16};
use ndarray::Zip;
use remex_protocol::{
    attrs::Attrs,
    tensor::{Bool, Element, Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome,
    attributes::{Kind, required},
    check,
    make::make,
    number::for_every,
};

pub(super) const OPS: &[BaseOp] =
    &[BaseOp { name: "cast", inputs: (1, 1), attrs: &[required("dtype", Kind::DType)], infer, run, shares: false }];

fn infer(inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    check::output(*attrs.dtype("dtype")?, inputs[0].shape.dims().to_vec())
}

fn run(inputs: &[Tensor], _: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let input = &inputs[0];
    if input.dtype() == output.dtype {
        return Ok(input.clone());
    }
    for_every!(input.dtype(), T => for_every!(output.dtype, U => convert::<T, U>(input, output)))
}

fn convert<T: Cast, U: Cast>(input: &Tensor, output: TensorMetadata) -> Outcome<Tensor> {
    // As one row: the shape does not matter, and rows are gone through with the least code.
    let row = input.elements::<T>()?;
    make::<U>(output, |array| {
        let Some(to) = array.into_slice() else { return check::refuse("the output is not contiguous") };
        let (to, from) = (ndarray::ArrayViewMut1::from(to), ndarray::ArrayView1::from(row));
        Zip::from(to).and(from).for_each(|to, from| *to = U::from_any(from.to_any()));
        Ok(())
    })
}

/// Any number, exactly: what all types are converted through.
enum Any {
    Int(i128),
    Float(f64),
}

/// An element that can be converted.
trait Cast: Element {
    fn to_any(self) -> Any;
    /// An integer wraps around in a narrower one. A number with a fraction is cut off toward zero, and one that is out
    /// of range becomes the nearest integer, and what is not a number zero. To a type with fractions it is the nearest.
    fn from_any(any: Any) -> Self;
}

macro_rules! casts {
    ($($ty:ty: |$x:ident| $to:expr, |$int:ident| $from_int:expr, |$float:ident| $from_float:expr;)*) => {$(
        impl Cast for $ty {
            fn to_any(self) -> Any {
                let $x = self;
                $to
            }

            fn from_any(any: Any) -> Self {
                match any {
                    Any::Int($int) => $from_int,
                    Any::Float($float) => $from_float,
                }
            }
        }
    )*};
}

macro_rules! integers {
    ($($ty:ty)*) => { casts! { $($ty: |x| Any::Int(x.into()), |int| int as $ty, |float| float as $ty;)* } };
}

integers!(i8 u8 i16 u16 i32 u32 i64 u64);

casts! {
    Bool: |x| Any::Int(x.0.into()), |int| (int != 0).into(), |float| (float != 0.0).into();
    f16: |x| Any::Float(x.into()), |int| f16::from_f64(int as f64), |float| f16::from_f64(float);
    bf16: |x| Any::Float(x.into()), |int| bf16::from_f64(int as f64), |float| bf16::from_f64(float);
    f32: |x| Any::Float(x.into()), |int| int as f32, |float| float as f32;
    f64: |x| Any::Float(x), |int| int as f64, |float| float;
}
