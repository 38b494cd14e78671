//! Arithmetic, element by element, with broadcasting.

use ndarray::Zip;
use remex_protocol::{
    attrs::Attrs,
    tensor::{DType, Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome, check,
    make::{lengths, make, stretch},
    number::{Number, Real, Wide, for_number, for_real},
};

macro_rules! ops {
    ($($name:literal $run:ident $inputs:literal $infer:ident,)*) => {
        pub(super) const OPS: &[BaseOp] = &[
            $(BaseOp { name: $name, inputs: ($inputs, $inputs), attrs: &[], infer: $infer, run: $run, shares: false },)*
        ];
    };
}

ops! {
    "add" add 2 numbers,
    "sub" sub 2 numbers,
    "mul" mul 2 numbers,
    "div" div 2 numbers,
    "minimum" minimum 2 numbers,
    "maximum" maximum 2 numbers,
    "pow" pow 2 numbers,
    "neg" neg 1 numbers,
    "abs" abs 1 numbers,
    "relu" relu 1 numbers,
    "exp" exp 1 reals,
    "log" log 1 reals,
    "sqrt" sqrt 1 reals,
    "tanh" tanh 1 reals,
    "sigmoid" sigmoid 1 reals,
}

fn numbers(inputs: &[TensorMetadata], _: &Attrs) -> Outcome<TensorMetadata> {
    broadcast(inputs, check::NUMBERS)
}

fn reals(inputs: &[TensorMetadata], _: &Attrs) -> Outcome<TensorMetadata> {
    broadcast(inputs, check::FLOATS)
}

fn broadcast(inputs: &[TensorMetadata], allowed: &[DType]) -> Outcome<TensorMetadata> {
    let dtype = check::dtype(inputs, allowed)?;
    let shapes: Vec<_> = inputs.iter().map(|input| &input.shape).collect();
    check::output(dtype, check::broadcast(&shapes)?)
}

macro_rules! binary {
    ($($run:ident |$a:ident, $b:ident| $result:expr;)*) => {$(
        fn $run(inputs: &[Tensor], _: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
            for_number!(output.dtype, T => {
                zip::<T>(inputs, output, stringify!($run), |$a: <T as Number>::Wide, $b: <T as Number>::Wide| $result)
            })
        }
    )*};
}

binary! {
    add |a, b| Ok(a.plus(b));
    sub |a, b| Ok(a.minus(b));
    mul |a, b| Ok(a.times(b));
    div |a, b| a.over(b);
    minimum |a, b| Ok(a.least(b));
    maximum |a, b| Ok(a.most(b));
    pow |a, b| a.power(b);
}

macro_rules! unary {
    ($for:ident: $($run:ident |$a:ident| $result:expr;)*) => {$(
        fn $run(inputs: &[Tensor], _: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
            $for!(output.dtype, T => map::<T>(inputs, output, |$a: <T as Number>::Wide| $result))
        }
    )*};
}

unary! {
    for_number:
    neg |a| a.negative();
    abs |a| a.absolute();
    relu |a| a.most(Wide::ZERO);
}

unary! {
    for_real:
    exp |a| a.e_to();
    log |a| a.logarithm();
    sqrt |a| a.root();
    tanh |a| a.hyperbolic_tangent();
    sigmoid |a| a.logistic();
}

/// Both inputs are stretched to the output's shape. Fails if there is a pair that `f` has no result for, with its reason.
fn zip<T: Number>(
    inputs: &[Tensor],
    output: TensorMetadata,
    name: &str,
    f: impl Fn(T::Wide, T::Wide) -> Result<T::Wide, &'static str>,
) -> Outcome<Tensor> {
    let [a, b] = inputs else { return check::refuse("takes 2 inputs") };
    let (a, b, dims) = (a.view::<T>()?, b.view::<T>()?, lengths(&output));
    make::<T>(output, |array| {
        let mut wrong = None;
        Zip::from(array).and(stretch(&a, &dims)?).and(stretch(&b, &dims)?).for_each(|to, &a, &b| {
            match f(a.wide(), b.wide()) {
                Ok(result) => *to = T::narrow(result),
                Err(why) => wrong = Some((a, b, why)),
            }
        });
        match wrong {
            None => Ok(()),
            Some((a, b, why)) => check::out_of_range(format!("{name}({a:?}, {b:?}): {why}")),
        }
    })
}

fn map<T: Number>(inputs: &[Tensor], output: TensorMetadata, f: impl Fn(T::Wide) -> T::Wide) -> Outcome<Tensor> {
    let [input] = inputs else { return check::refuse("takes 1 input") };
    let input = input.view::<T>()?;
    make::<T>(output, |array| {
        Zip::from(array).and(&input).for_each(|to, &x| *to = T::narrow(f(x.wide())));
        Ok(())
    })
}
