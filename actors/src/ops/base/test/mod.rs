//! Tests of the base set: how an op is run in them.

mod arithmetic;
mod data;
mod random_cases;
mod refusals;

use remex_protocol::{
    ErrorCode,
    attrs::{Attr, Attrs},
    tensor::{Bool, DType, Element, Shape, Tensor},
};

use crate::{
    ops::{
        Op,
        base::{self, BaseOp, attributes::Kind},
    },
    programs::ProgramError,
};

/// Runs an op of the base set, and sees to OP-1.
fn run(name: &str, inputs: &[Tensor], attrs: &Attrs) -> Result<Tensor, ProgramError> {
    let op = base::all().find(|op| op.name == name).unwrap();
    let metadata: Vec<_> = inputs.iter().map(|input| input.metadata().clone()).collect();
    let inferred = op.infer(&metadata, attrs);
    let made = op.run(inputs, attrs);
    match (&inferred, &made) {
        (Ok(inferred), Ok(made)) => {
            let made: Vec<_> = made.iter().map(|made| Some(made.metadata().clone())).collect();
            assert_eq!(*inferred, made, "{name} {attrs:?}");
        }
        // What is seen in the data only.
        (Ok(_), Err(error)) => assert_eq!(error.code, ErrorCode::OutOfRange, "{name}: {error}"),
        (Err(inferred), Err(made)) => assert_eq!(inferred, made),
        (Err(error), Ok(_)) => panic!("{name} ran, though {error}"),
    }
    let _ = op.is_cheap(&metadata, attrs);
    made.map(|mut made| made.remove(0))
}

fn ok(name: &str, inputs: &[Tensor], attrs: Attrs) -> Tensor {
    run(name, inputs, &attrs).unwrap_or_else(|error| panic!("{name} {attrs:?}: {error}"))
}

fn tensor<T: Element>(shape: impl Into<Shape>, elements: &[T]) -> Tensor {
    Tensor::from_slice(shape, elements).unwrap()
}

fn bools<const N: usize>(shape: impl Into<Shape>, truths: [bool; N]) -> Tensor {
    tensor(shape, &truths.map(Bool::from))
}

fn none() -> Attrs {
    Attrs::new()
}

/// The attributes that an op must have.
fn required(op: &BaseOp) -> Attrs {
    let value = |kind: Kind| match kind {
        Kind::Int => Attr::Int(0),
        Kind::Float => Attr::Float(0.5),
        Kind::Bool => Attr::Bool(true),
        Kind::DType => Attr::DType(DType::F32),
        Kind::Ints | Kind::Shape => Attr::Ints(vec![1]),
        Kind::Values => Attr::Float(1.0),
    };
    op.attrs.iter().filter(|attr| attr.required).map(|attr| (attr.name, value(attr.kind))).collect()
}
