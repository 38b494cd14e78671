//! Numbers that are computed with: as they are stored, and as they are computed in.

use half::{bf16, f16};
use ndarray::{ArrayD, ArrayViewD, Axis, LinalgScalar};
use remex_protocol::tensor::Element;

/// A type that is computed in. Integers wrap around.
pub(super) trait Wide: Element + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    /// Not above any number.
    const LEAST: Self;
    /// Not below any number.
    const MOST: Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// Fails with the reason if there is no quotient, or the integer has no place for it.
    fn over(self, other: Self) -> Result<Self, &'static str>;
    /// Fails with the reason for an integer with a negative exponent.
    fn power(self, exponent: Self) -> Result<Self, &'static str>;
    fn negative(self) -> Self;
    fn absolute(self) -> Self;
    fn is_nan(self) -> bool;

    /// The smaller one, or the one that is not a number.
    fn least(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }

    /// The larger one, or the one that is not a number.
    fn most(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }
}

/// A type that is computed in and has fractions.
pub(super) trait Real: Wide {
    fn e_to(self) -> Self;
    fn logarithm(self) -> Self;
    fn root(self) -> Self;
    fn hyperbolic_tangent(self) -> Self;
    /// The nearest number.
    fn of_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;

    /// `1 / (1 + e^-x)`.
    fn logistic(self) -> Self {
        Self::ONE.over(Self::ONE.plus(self.negative().e_to())).unwrap_or(Self::ZERO)
    }
}

macro_rules! reals {
    ($($ty:ident)*) => {$(
        impl Wide for $ty {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LEAST: Self = $ty::NEG_INFINITY;
            const MOST: Self = $ty::INFINITY;
            fn plus(self, other: Self) -> Self { self + other }
            fn minus(self, other: Self) -> Self { self - other }
            fn times(self, other: Self) -> Self { self * other }
            fn over(self, other: Self) -> Result<Self, &'static str> { Ok(self / other) }
            fn power(self, exponent: Self) -> Result<Self, &'static str> { Ok(self.powf(exponent)) }
            fn negative(self) -> Self { -self }
            fn absolute(self) -> Self { self.abs() }
            fn is_nan(self) -> bool { self.is_nan() }
        }

        impl Real for $ty {
            fn e_to(self) -> Self { self.exp() }
            fn logarithm(self) -> Self { self.ln() }
            fn root(self) -> Self { self.sqrt() }
            fn hyperbolic_tangent(self) -> Self { self.tanh() }
            fn of_f64(x: f64) -> Self { x as $ty }
            fn to_f64(self) -> f64 { self.into() }
        }
    )*};
}

macro_rules! integers {
    ($($ty:ident)*) => {$(
        impl Wide for $ty {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LEAST: Self = $ty::MIN;
            const MOST: Self = $ty::MAX;
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn over(self, other: Self) -> Result<Self, &'static str> {
                self.checked_div(other).ok_or(match other {
                    0 => "an integer cannot be divided by zero",
                    _ => "the quotient is larger than any integer of the type",
                })
            }
            fn negative(self) -> Self { self.wrapping_neg() }
            fn absolute(self) -> Self { self.wrapping_abs() }
            fn is_nan(self) -> bool { false }

            // By squaring: the standard library's takes exponents of 32 bits only.
            fn power(self, exponent: Self) -> Result<Self, &'static str> {
                if exponent < 0 {
                    return Err("to a negative exponent there is no integer power");
                }
                let (mut square, mut left, mut product) = (self, exponent, 1 as $ty);
                while left > 0 {
                    if left & 1 == 1 {
                        product = product.wrapping_mul(square);
                    }
                    square = square.wrapping_mul(square);
                    left >>= 1;
                }
                Ok(product)
            }
        }
    )*};
}

reals!(f32 f64);
integers!(i32 i64);

/// A type that numbers are stored in.
pub(super) trait Number: Element {
    /// What they are computed in.
    type Wide: Wide;
    fn wide(self) -> Self::Wide;
    fn narrow(wide: Self::Wide) -> Self;
    /// The sum over some axes, in ascending order.
    fn sum(array: ArrayViewD<'_, Self>, axes: &[usize]) -> ArrayD<Self::Wide>;
    /// The mean over some axes, of `count` elements, of which there is at least one. Integers are added without overflow
    /// and rounded toward zero.
    fn mean(array: ArrayViewD<'_, Self>, axes: &[usize], count: usize) -> ArrayD<Self::Wide>;
}

macro_rules! stored {
    ($ty:ty, $wide:ty, $to:expr, $from:expr, $sum:expr, $mean:expr) => {
        impl Number for $ty {
            type Wide = $wide;

            fn wide(self) -> $wide {
                $to(self)
            }

            fn narrow(wide: $wide) -> Self {
                $from(wide)
            }

            fn sum(array: ArrayViewD<'_, Self>, axes: &[usize]) -> ArrayD<$wide> {
                $sum(array, axes)
            }

            fn mean(array: ArrayViewD<'_, Self>, axes: &[usize], count: usize) -> ArrayD<$wide> {
                $mean(array, axes, count)
            }
        }
    };
}

macro_rules! stored_real {
    ($($ty:ty)*) => {$(
        // ndarray's own sums: several partial sums each, which lose less than one after the other.
        stored!($ty, $ty, std::convert::identity, std::convert::identity, sum_by_axis, |array, axes, count| {
            sum_by_axis(array, axes) / (count as $ty)
        });
    )*};
}

macro_rules! stored_half {
    ($($ty:ident)*) => {$(
        stored!($ty, f32, $ty::to_f32, $ty::from_f32, |array, axes| {
            fold(array, axes, 0.0, |sum, x: $ty| sum + x.to_f32(), |a, b| a + b)
        }, |array, axes, count| <$ty as Number>::sum(array, axes) / (count as f32));
    )*};
}

macro_rules! stored_integer {
    ($($ty:ty)*) => {$(
        stored!($ty, $ty, std::convert::identity, std::convert::identity, |array, axes| {
            fold(array, axes, 0, <$ty>::wrapping_add, <$ty>::wrapping_add)
        }, |array, axes, count| {
            let sum = fold(array, axes, 0i128, |sum, x: $ty| sum + i128::from(x), |a, b| a + b);
            // Between the least and the largest element, so it has a place in the type.
            sum.mapv(|sum| (sum / (count as i128)) as $ty)
        });
    )*};
}

stored_real!(f32 f64);
stored_half!(f16 bf16);
stored_integer!(i32 i64);

fn sum_by_axis<T: LinalgScalar>(array: ArrayViewD<'_, T>, axes: &[usize]) -> ArrayD<T> {
    let Some((&last, rest)) = axes.split_last() else { return array.to_owned() };
    rest.iter().rev().fold(array.sum_axis(Axis(last)), |sum, &axis| sum.sum_axis(Axis(axis)))
}

/// Folds elements over some axes, in ascending order: `step` takes elements in, `join` brings what is folded together.
pub(super) fn fold<T: Copy, A: Copy>(
    array: ArrayViewD<'_, T>,
    axes: &[usize],
    init: A,
    step: impl Fn(A, T) -> A,
    join: impl Fn(A, A) -> A,
) -> ArrayD<A> {
    let Some((&last, rest)) = axes.split_last() else { return array.mapv(|x| step(init, x)) };
    rest.iter().rev().fold(along(array, last, init, step), |folded, &axis| along(folded.view(), axis, init, &join))
}

fn along<T: Copy, A: Copy>(array: ArrayViewD<'_, T>, axis: usize, init: A, step: impl Fn(A, T) -> A) -> ArrayD<A> {
    // Lane by lane where a lane's elements are neighbours, else all lanes at once.
    if array.stride_of(Axis(axis)) == 1 {
        array.map_axis(Axis(axis), |lane| lane.fold(init, |folded, &x| step(folded, x)))
    } else {
        array.fold_axis(Axis(axis), init, |&folded, &x| step(folded, x))
    }
}

/// `for_types!(dtype, { F32 => f32, … }, T => block)`: the block with `T` as the Rust type of a dtype that has been checked to
/// be one of those.
macro_rules! for_types {
    ($dtype:expr, { $($variant:ident => $type:ty),* $(,)? }, $T:ident => $body:expr) => {
        match $dtype {
            $(remex_protocol::tensor::DType::$variant => {
                type $T = $type;
                $body
            })*
            other => $crate::ops::base::check::refuse(format!("is not defined for {other}")),
        }
    };
}

/// [`for_types!`] over the types that are computed with.
macro_rules! for_number {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::ops::base::number::for_types!(
            $dtype,
            { I32 => i32, I64 => i64, F16 => half::f16, Bf16 => half::bf16, F32 => f32, F64 => f64 },
            $T => $body
        )
    };
}

/// [`for_types!`] over those that have fractions.
macro_rules! for_real {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::ops::base::number::for_types!(
            $dtype,
            { F16 => half::f16, Bf16 => half::bf16, F32 => f32, F64 => f64 },
            $T => $body
        )
    };
}

/// [`for_types!`] over all types.
macro_rules! for_every {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::ops::base::number::for_types!(
            $dtype,
            {
                Bool => remex_protocol::tensor::Bool,
                I8 => i8, U8 => u8, I16 => i16, U16 => u16, I32 => i32, U32 => u32, I64 => i64, U64 => u64,
                F16 => half::f16, Bf16 => half::bf16, F32 => f32, F64 => f64,
            },
            $T => $body
        )
    };
}
pub(super) use {for_every, for_number, for_real, for_types};
