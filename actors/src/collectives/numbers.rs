//! Arithmetic on the elements of a chunk. Pure.

use bytemuck::Pod;
use half::{bf16, f16};
use remex_protocol::{
    collective::Reduction,
    tensor::{AlignedBuf, DType, Element},
};

/// An element that can be reduced. Partial results are `Acc`, which for the short floats is wider than they are, so that
/// they are rounded once, at the end.
pub(super) trait Number: Element {
    /// What partial results are.
    type Acc: Pod + Send + Sync;
    /// Whether partial results are wider than elements.
    const IS_WIDENED: bool;

    fn widen(self) -> Self::Acc;
    fn narrow(acc: Self::Acc) -> Self;
    fn add(a: Self::Acc, b: Self::Acc) -> Self::Acc;
    fn mul(a: Self::Acc, b: Self::Acc) -> Self::Acc;
    fn min(a: Self::Acc, b: Self::Acc) -> Self::Acc;
    fn max(a: Self::Acc, b: Self::Acc) -> Self::Acc;
    /// The part of one of `members`; of integers rounded toward zero.
    fn divide(a: Self::Acc, members: u16) -> Self::Acc;
}

macro_rules! floats {
    ($($ty:ty as $acc:ty, $widened:literal, $widen:expr, $narrow:expr;)*) => {$(
        impl Number for $ty {
            type Acc = $acc;
            const IS_WIDENED: bool = $widened;

            #[inline]
            fn widen(self) -> $acc {
                $widen(self)
            }
            #[inline]
            fn narrow(acc: $acc) -> Self {
                $narrow(acc)
            }
            #[inline]
            fn add(a: $acc, b: $acc) -> $acc {
                a + b
            }
            #[inline]
            fn mul(a: $acc, b: $acc) -> $acc {
                a * b
            }
            // A NaN on either side is the result: `f32::min` would pass over it.
            #[inline]
            fn min(a: $acc, b: $acc) -> $acc {
                if a < b || a.is_nan() { a } else { b }
            }
            #[inline]
            fn max(a: $acc, b: $acc) -> $acc {
                if a > b || a.is_nan() { a } else { b }
            }
            #[inline]
            fn divide(a: $acc, members: u16) -> $acc {
                a / <$acc>::from(members)
            }
        }
    )*};
}

floats! {
    f32 as f32, false, |x| x, |x| x;
    f64 as f64, false, |x| x, |x| x;
    f16 as f32, true, f16::to_f32, f16::from_f32;
    bf16 as f32, true, bf16::to_f32, bf16::from_f32;
}

macro_rules! integers {
    ($($ty:ty, $wide:ty;)*) => {$(
        impl Number for $ty {
            type Acc = $ty;
            const IS_WIDENED: bool = false;

            #[inline]
            fn widen(self) -> $ty {
                self
            }
            #[inline]
            fn narrow(acc: $ty) -> Self {
                acc
            }
            #[inline]
            fn add(a: $ty, b: $ty) -> $ty {
                a.wrapping_add(b)
            }
            #[inline]
            fn mul(a: $ty, b: $ty) -> $ty {
                a.wrapping_mul(b)
            }
            #[inline]
            fn min(a: $ty, b: $ty) -> $ty {
                Ord::min(a, b)
            }
            #[inline]
            fn max(a: $ty, b: $ty) -> $ty {
                Ord::max(a, b)
            }
            // The number of members need not fit the type; a part is never larger than the whole.
            #[inline]
            fn divide(a: $ty, members: u16) -> $ty {
                (<$wide>::from(a) / <$wide>::from(members)) as $ty
            }
        }
    )*};
}

integers! {
    i8, i32; u8, i32;
    i16, i32; u16, i32;
    i32, i64; u32, i64;
    i64, i64; u64, u64;
}

/// Evaluates an expression with `$T` as the type of a [`DType`]'s elements; `None` if they cannot be reduced.
macro_rules! with_number {
    ($dtype:expr, $T:ident => $result:expr) => {{
        use remex_protocol::tensor::DType;
        macro_rules! with {
            ($ty:ty) => {{
                type $T = $ty;
                Some($result)
            }};
        }
        match $dtype {
            DType::I8 => with!(i8),
            DType::U8 => with!(u8),
            DType::I16 => with!(i16),
            DType::U16 => with!(u16),
            DType::I32 => with!(i32),
            DType::U32 => with!(u32),
            DType::I64 => with!(i64),
            DType::U64 => with!(u64),
            DType::F16 => with!(half::f16),
            DType::Bf16 => with!(half::bf16),
            DType::F32 => with!(f32),
            DType::F64 => with!(f64),
            _ => None,
        }
    }};
}
pub(super) use with_number;

/// A buffer's bytes as numbers.
pub(super) fn numbers<T: Pod>(buf: &mut AlignedBuf) -> &mut [T] {
    // Its first byte is aligned for any number, and its makers count in numbers.
    bytemuck::cast_slice_mut(buf.as_mut_slice())
}

/// A member's own elements as the first partial result. The slices are of one length, here and below: the caller has
/// checked.
pub(super) fn widen<T: Number>(own: &[T], into: &mut [T::Acc]) {
    into.iter_mut().zip(own).for_each(|(acc, &x)| *acc = x.widen());
}

/// A partial result that came, with a member's own elements.
pub(super) fn combine<T: Number>(reduction: Reduction, came: &[u8], own: &[T], into: &mut [T::Acc]) {
    match bytemuck::try_cast_slice(came) {
        Ok(came) => with_reduction::<T>(reduction, came, own, into),
        // It begins at an odd address: moved once.
        Err(_) => with_reduction::<T>(reduction, &bytemuck::pod_collect_to_vec(came), own, into),
    }
}

/// One loop for each reduction, over three slices and without a branch inside, which the compiler turns into vectors.
fn with_reduction<T: Number>(reduction: Reduction, came: &[T::Acc], own: &[T], into: &mut [T::Acc]) {
    fn each<T: Number>(came: &[T::Acc], own: &[T], into: &mut [T::Acc], f: impl Fn(T::Acc, T::Acc) -> T::Acc) {
        into.iter_mut().zip(came).zip(own).for_each(|((acc, &a), &b)| *acc = f(a, b.widen()));
    }
    match reduction {
        Reduction::Min => each(came, own, into, T::min),
        Reduction::Max => each(came, own, into, T::max),
        Reduction::Prod => each(came, own, into, T::mul),
        // A mean is a sum until its end; what this version does not know was refused at the start.
        _ => each(came, own, into, T::add),
    }
}

/// The last partial result becomes what is answered, but for its type: divided for a mean.
pub(super) fn finish<T: Number>(reduction: Reduction, members: u16, acc: &mut [T::Acc]) {
    if reduction == Reduction::Mean {
        acc.iter_mut().for_each(|x| *x = T::divide(*x, members));
    }
}

/// Rounds what was widened.
pub(super) fn narrow<T: Number>(acc: &[T::Acc], into: &mut [T]) {
    into.iter_mut().zip(acc).for_each(|(element, &x)| *element = T::narrow(x));
}

/// The names of the types that can be reduced.
pub(super) fn reducible() -> String {
    let names = DType::ALL.iter().filter(|dtype| with_number!(**dtype, T => T::IS_WIDENED).is_some());
    names.map(|dtype| dtype.name()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduce<T: Number>(reduction: Reduction, all: &[&[T]]) -> Vec<T> {
        let mut acc = vec![T::widen(all[0][0]); all[0].len()];
        widen(all[0], &mut acc);
        for own in &all[1..] {
            // At an odd address, as a payload may be.
            let bytes = [&[0], bytemuck::cast_slice::<T::Acc, u8>(&acc)].concat();
            combine(reduction, &bytes[1..], own, &mut acc);
        }
        finish::<T>(reduction, all.len() as u16, &mut acc);
        let mut elements = all[0].to_vec();
        narrow(&acc, &mut elements);
        elements
    }

    /// TFRT §3.5-3: the mean of -9 over 3 members was 1431655762, since it was divided as an unsigned number.
    #[test]
    fn an_integer_mean_rounds_toward_zero() {
        assert_eq!(reduce(Reduction::Mean, &[&[-3i32, 7], &[-3, 1], &[-3, 0]]), [-3, 2]);
        assert_eq!(reduce(Reduction::Mean, &[&[-7i64], &[0]]), [-3]);
        assert_eq!(reduce(Reduction::Mean, &[&[-7i8], &[0]]), [-3]);
        assert_eq!(reduce(Reduction::Mean, &[&[u64::MAX], &[0]]), [u64::MAX / 2]);
    }

    #[test]
    fn integers_wrap_around() {
        assert_eq!(reduce(Reduction::Sum, &[&[i32::MAX], &[1]]), [i32::MIN]);
        assert_eq!(reduce(Reduction::Prod, &[&[200u8], &[2]]), [144]);
    }

    #[test]
    fn a_nan_on_either_side_is_the_least_and_the_greatest() {
        for reduction in [Reduction::Min, Reduction::Max] {
            for all in [[&[f32::NAN, 1.0][..], &[2.0, f32::NAN]], [&[2.0, f32::NAN], &[f32::NAN, 1.0]]] {
                assert!(reduce(reduction, &all).iter().all(|x| x.is_nan()), "{reduction:?}");
            }
        }
        assert_eq!(reduce(Reduction::Min, &[&[1.0f64, -2.0], &[0.5, f64::INFINITY]]), [0.5, -2.0]);
    }

    #[test]
    fn short_floats_are_rounded_once() {
        // In f16 a sum of 2048 and 1 is 2048, however often.
        let parts: Vec<[f16; 1]> = std::iter::once(2048.0).chain([1.0; 8]).map(|x| [f16::from_f32(x)]).collect();
        let parts: Vec<&[f16]> = parts.iter().map(|part| &part[..]).collect();
        assert_eq!(reduce(Reduction::Sum, &parts), [f16::from_f32(2056.0)]);
        // The sum overflows f16, the mean does not.
        let large = [f16::from_f32(60_000.0)];
        assert_eq!(reduce(Reduction::Mean, &[&large[..], &large]), large);
    }

    #[test]
    fn what_can_be_reduced_is_everything_but_bool() {
        assert_eq!(reducible(), "i8 u8 i16 u16 i32 u32 i64 u64 f16 bf16 f32 f64");
    }
}
