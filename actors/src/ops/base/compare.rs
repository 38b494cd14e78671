//! Comparison, logic, and the choice between two tensors, with broadcasting.

use std::cmp::Ordering;

use ndarray::Zip;
use remex_protocol::{
    attrs::Attrs,
    tensor::{Bool, DType, Element, Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome, check,
    make::{for_bits, lengths, make, stretch},
    number::for_every,
};

type InferFn = fn(&[TensorMetadata], &Attrs) -> Outcome<TensorMetadata>;
type RunFn = fn(&[Tensor], &Attrs, TensorMetadata) -> Outcome<Tensor>;

const fn op(name: &'static str, inputs: usize, infer: InferFn, run: RunFn) -> BaseOp {
    BaseOp { name, inputs: (inputs, inputs), attrs: &[], infer, run, shares: false }
}

pub(super) const OPS: &[BaseOp] = &[
    op("equal", 2, any_pair, |inputs, _, output| compare(inputs, output, EQUAL)),
    op("not_equal", 2, any_pair, |inputs, _, output| compare(inputs, output, LESS | GREATER | UNORDERED)),
    op("less", 2, ordered_pair, |inputs, _, output| compare(inputs, output, LESS)),
    op("less_equal", 2, ordered_pair, |inputs, _, output| compare(inputs, output, LESS | EQUAL)),
    op("greater", 2, ordered_pair, |inputs, _, output| compare(inputs, output, GREATER)),
    op("greater_equal", 2, ordered_pair, |inputs, _, output| compare(inputs, output, GREATER | EQUAL)),
    op("logical_and", 2, bools, |inputs, _, output| logic(inputs, output, |a, b| a & b)),
    op("logical_or", 2, bools, |inputs, _, output| logic(inputs, output, |a, b| a | b)),
    op("logical_not", 1, bools, not),
    op("select", 3, selected, select),
];

// What two elements can be to each other, a bit each: one loop serves all comparisons.
const LESS: u8 = 1;
const EQUAL: u8 = 2;
const GREATER: u8 = 4;
/// One of them is not a number.
const UNORDERED: u8 = 8;

/// An element that is compared.
trait Compared: Element {
    fn relation(self, other: Self) -> u8;
}

macro_rules! compared {
    ($($ty:ty)*) => {$(
        impl Compared for $ty {
            fn relation(self, other: Self) -> u8 {
                match self.partial_cmp(&other) {
                    Some(Ordering::Less) => LESS,
                    Some(Ordering::Equal) => EQUAL,
                    Some(Ordering::Greater) => GREATER,
                    None => UNORDERED,
                }
            }
        }
    )*};
}

compared!(i8 u8 i16 u16 i32 u32 i64 u64 half::f16 half::bf16 f32 f64);

impl Compared for Bool {
    fn relation(self, other: Self) -> u8 {
        self.0.relation(other.0)
    }
}

fn any_pair(inputs: &[TensorMetadata], _: &Attrs) -> Outcome<TensorMetadata> {
    truths(inputs, DType::ALL)
}

fn ordered_pair(inputs: &[TensorMetadata], _: &Attrs) -> Outcome<TensorMetadata> {
    let ordered: Vec<_> = DType::ALL.iter().copied().filter(|dtype| *dtype != DType::Bool).collect();
    truths(inputs, &ordered)
}

fn bools(inputs: &[TensorMetadata], _: &Attrs) -> Outcome<TensorMetadata> {
    truths(inputs, &[DType::Bool])
}

fn truths(inputs: &[TensorMetadata], allowed: &[DType]) -> Outcome<TensorMetadata> {
    check::dtype(inputs, allowed)?;
    let shapes: Vec<_> = inputs.iter().map(|input| &input.shape).collect();
    check::output(DType::Bool, check::broadcast(&shapes)?)
}

fn selected(inputs: &[TensorMetadata], _: &Attrs) -> Outcome<TensorMetadata> {
    let [condition, a, b] = inputs else { return check::refuse("takes 3 inputs") };
    check::one_of(0, condition.dtype, &[DType::Bool])?;
    if a.dtype != b.dtype {
        let (a, b) = (a.dtype, b.dtype);
        return check::refuse(format!("input 2 is of {b} and input 1 of {a}; they must be of one type: cast one"));
    }
    check::output(a.dtype, check::broadcast(&[&condition.shape, &a.shape, &b.shape])?)
}

fn compare(inputs: &[Tensor], output: TensorMetadata, true_for: u8) -> Outcome<Tensor> {
    let [a, b] = inputs else { return check::refuse("takes 2 inputs") };
    for_every!(a.dtype(), T => zip::<T>(a, b, output, |a, b| a.relation(b) & true_for != 0))
}

fn logic(inputs: &[Tensor], output: TensorMetadata, f: fn(bool, bool) -> bool) -> Outcome<Tensor> {
    let [a, b] = inputs else { return check::refuse("takes 2 inputs") };
    zip::<Bool>(a, b, output, |a, b| f(a.into(), b.into()))
}

fn zip<T: Element>(a: &Tensor, b: &Tensor, output: TensorMetadata, f: impl Fn(T, T) -> bool) -> Outcome<Tensor> {
    let (a, b, dims) = (a.view::<T>()?, b.view::<T>()?, lengths(&output));
    make::<Bool>(output, |array| {
        let pairs = Zip::from(array).and(stretch(&a, &dims)?).and(stretch(&b, &dims)?);
        pairs.for_each(|to, &a, &b| *to = f(a, b).into());
        Ok(())
    })
}

fn not(inputs: &[Tensor], _: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let [input] = inputs else { return check::refuse("takes 1 input") };
    let input = input.view::<Bool>()?;
    make::<Bool>(output, |array| {
        Zip::from(array).and(&input).for_each(|to, &x| *to = (!bool::from(x)).into());
        Ok(())
    })
}

fn select(inputs: &[Tensor], _: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let [condition, choices @ ..] = inputs else { return check::refuse("takes 3 inputs") };
    let (condition, dims) = (condition.view::<Bool>()?, lengths(&output));
    let condition = stretch(&condition, &dims)?;
    for_bits!(choices, output, |T, views, array| {
        let [a, b] = &views[..] else { return check::refuse("takes 3 inputs") };
        let choices = Zip::from(array).and(condition).and(stretch(a, &dims)?).and(stretch(b, &dims)?);
        choices.for_each(|to: &mut T, &first, &a, &b| *to = if first.into() { a } else { b });
        Ok(())
    })
}
