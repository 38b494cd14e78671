//! Elements out of an attribute's values.

use half::{bf16, f16};
use remex_protocol::{
    attrs::Attr,
    tensor::{Bool, Element},
};

use super::{Outcome, check};

/// An element that can be written in an attribute. `None` if the type has no such value.
pub(super) trait Literal: Element {
    fn of_int(int: i64) -> Option<Self>;
    fn of_float(float: f64) -> Option<Self>;
    fn of_bool(truth: bool) -> Option<Self>;
}

macro_rules! literals {
    ($($ty:ty: |$int:ident| $of_int:expr, |$float:ident| $of_float:expr, |$truth:ident| $of_bool:expr;)*) => {$(
        impl Literal for $ty {
            fn of_int($int: i64) -> Option<Self> { $of_int }
            fn of_float($float: f64) -> Option<Self> { $of_float }
            fn of_bool($truth: bool) -> Option<Self> { $of_bool }
        }
    )*};
}

macro_rules! integers {
    ($($ty:ty)*) => { literals! { $($ty: |int| int.try_into().ok(), |_float| None, |_truth| None;)* } };
}

integers!(i8 u8 i16 u16 i32 u32 i64 u64);

literals! {
    Bool: |_int| None, |_float| None, |truth| Some(truth.into());
    f16: |int| f16::of_float(int as f64), |float| finite(float, f16::from_f64(float), f16::is_finite), |_truth| None;
    bf16: |int| bf16::of_float(int as f64), |float| finite(float, bf16::from_f64(float), bf16::is_finite), |_truth| None;
    f32: |int| Some(int as f32), |float| finite(float, float as f32, f32::is_finite), |_truth| None;
    f64: |int| Some(int as f64), |float| Some(float), |_truth| None;
}

/// The nearest number of a type, unless one that has a value would become infinite.
fn finite<T: Copy>(given: f64, nearest: T, is_finite: fn(T) -> bool) -> Option<T> {
    (is_finite(nearest) || !given.is_finite()).then_some(nearest)
}

/// How many values an attribute has.
pub(super) fn count(values: &Attr) -> Option<usize> {
    match values {
        Attr::Int(_) | Attr::Float(_) | Attr::Bool(_) => Some(1),
        Attr::Ints(ints) => Some(ints.len()),
        Attr::Floats(floats) => Some(floats.len()),
        Attr::Bools(truths) => Some(truths.len()),
        _ => None,
    }
}

/// The values of an attribute as elements.
pub(super) fn elements<T: Literal>(values: &Attr) -> Outcome<Vec<T>> {
    fn all<V: Copy + std::fmt::Debug, T: Literal>(values: &[V], of: fn(V) -> Option<T>) -> Outcome<Vec<T>> {
        let made: Result<Vec<T>, V> = values.iter().map(|&value| of(value).ok_or(value)).collect();
        made.or_else(|value| {
            check::out_of_range(format!("attribute \"values\" has {value:?}, which is no value of {}", T::DTYPE))
        })
    }
    match values {
        Attr::Int(int) => all(&[*int], T::of_int),
        Attr::Float(float) => all(&[*float], T::of_float),
        Attr::Bool(truth) => all(&[*truth], T::of_bool),
        Attr::Ints(ints) => all(ints, T::of_int),
        Attr::Floats(floats) => all(floats, T::of_float),
        Attr::Bools(truths) => all(truths, T::of_bool),
        other => check::refuse(format!(
            "attribute \"values\" must be integers, numbers, or true and false; it is {}",
            other.what()
        )),
    }
}
