//! The signature of a model: what it declares, and what an engine adds to that.

use std::collections::BTreeSet;

use remex_protocol::signature::{Arg, Dim, Signature};

use super::error::{Result, malformed, refused};
use super::proto::{GraphProto, TensorShapeProto, ValueInfoProto, elem};

/// What the model declares. Initializers that are listed among the inputs are no inputs: they have their values.
pub(crate) fn declared(graph: &GraphProto) -> Result<Signature> {
    let constants: BTreeSet<_> = graph.initializer.iter().map(|tensor| tensor.name.as_deref()).collect();
    let inputs = graph.input.iter().filter(|input| !constants.contains(&input.name.as_deref()));
    Ok(Signature {
        inputs: inputs.map(|value| arg(value, "input")).collect::<Result<_>>()?,
        outputs: graph.output.iter().map(|value| arg(value, "output")).collect::<Result<_>>()?,
    })
}

fn arg(value: &ValueInfoProto, what: &str) -> Result<Arg> {
    let name = value.name.clone().unwrap_or_default();
    let Some(declared) = &value.r#type else {
        return malformed(format!("{what} {name:?} has no type"));
    };
    let kind = if declared.sequence_type.is_some() {
        Some("a sequence")
    } else if declared.map_type.is_some() {
        Some("a map")
    } else if declared.optional_type.is_some() {
        Some("an optional")
    } else if declared.sparse_tensor_type.is_some() {
        Some("a sparse tensor")
    } else {
        None
    };
    if let Some(kind) = kind {
        return refused(format!("{what} {name:?} is {kind}; inputs and outputs must be tensors"));
    }
    let Some(tensor) = &declared.tensor_type else {
        return malformed(format!("{what} {name:?} has no type"));
    };
    let Some(dtype) = elem::dtype(tensor.elem_type.unwrap_or_default()) else {
        let found = elem::name(tensor.elem_type.unwrap_or_default());
        return refused(format!("{what} {name:?} is a tensor of {found}, which tensors here cannot hold"));
    };
    Ok(Arg { name, dtype: dtype.into(), dims: tensor.shape.as_ref().map(dims) })
}

fn dims(shape: &TensorShapeProto) -> Vec<Dim> {
    let dim = |dim: &super::proto::DimensionProto| match (dim.dim_value, dim.dim_param.as_deref()) {
        (Some(len), _) => u64::try_from(len).map_or(Dim::Any, Dim::Fixed),
        (None, Some(name)) if is_name(name) => Dim::Symbol(name.to_owned()),
        _ => Dim::Any,
    };
    shape.dim.iter().map(dim).collect()
}

/// Whether a symbol is a plain name: exporters also write expressions (`past + 1`) and engines terms
/// (`broadcast(a, b)`), whose lengths nobody is told.
pub(crate) fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || "_.:".contains(c))
}

/// Adds what an engine knows of the outputs. `inferred` gives the dimensions of an output by its name.
///
/// An output's declared shape is a promise of whoever exported the model, an inferred one follows from the operators;
/// where the two contradict each other the length is left open, for a wrong promise would fail calls that are right.
/// A symbol that no input binds is left open too.
pub(crate) fn complete(signature: &mut Signature, inferred: impl Fn(&str) -> Option<Vec<Dim>>) {
    let symbols: BTreeSet<String> = signature
        .inputs
        .iter()
        .flat_map(|input| input.dims.iter().flatten())
        .filter_map(|dim| match dim {
            Dim::Symbol(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    let settle = |dim: Dim| match dim {
        Dim::Symbol(name) if !symbols.contains(&name) => Dim::Any,
        dim => dim,
    };
    for output in &mut signature.outputs {
        let declared = output.dims.take().map(|dims| dims.into_iter().map(settle).collect::<Vec<_>>());
        let inferred = inferred(&output.name).map(|dims| dims.into_iter().map(settle).collect::<Vec<_>>());
        output.dims = match (declared, inferred) {
            (Some(a), Some(b)) if a.len() == b.len() => Some(a.into_iter().zip(b).map(|(a, b)| merge(a, b)).collect()),
            (Some(_), Some(_)) => None,
            (one, other) => one.or(other),
        };
    }
}

fn merge(declared: Dim, inferred: Dim) -> Dim {
    match (declared, inferred) {
        (Dim::Any, dim) | (dim, Dim::Any) => dim,
        (a, b) if a == b => a,
        _ => Dim::Any,
    }
}
