//! The same data under another shape: reshape, expand_dims, squeeze, identity. The output shares the input's bytes.

use remex_protocol::{
    attrs::{Attr, Attrs},
    tensor::{Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome,
    attributes::{Attribute, Kind, optional, required},
    check,
};

const fn op(
    name: &'static str,
    attrs: &'static [Attribute],
    infer: fn(&[TensorMetadata], &Attrs) -> Outcome<TensorMetadata>,
) -> BaseOp {
    BaseOp { name, inputs: (1, 1), attrs, infer, run: share, shares: true }
}

pub(super) const OPS: &[BaseOp] = &[
    op("identity", &[], |inputs, _| Ok(inputs[0].clone())),
    op("reshape", &[required("shape", Kind::Shape)], reshape),
    op("expand_dims", &[required("axis", Kind::Int)], expand_dims),
    op("squeeze", &[optional("axes", Kind::Ints)], squeeze),
];

fn share(inputs: &[Tensor], _: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    Ok(inputs[0].reshape(output.shape)?)
}

fn reshape(inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    let input = &inputs[0];
    let given = match attrs.get("shape") {
        Some(Attr::Shape(shape)) => return same_elements(input, shape.dims().to_vec()),
        _ => attrs.ints("shape")?,
    };
    let wrong = |why: &str| check::refuse(format!("attribute \"shape\" is {given:?}; {why}"));
    let mut dims = Vec::with_capacity(given.len());
    let mut open = None;
    for (i, &len) in given.iter().enumerate() {
        match u64::try_from(len) {
            Ok(len) => dims.push(len),
            Err(_) if len == -1 && open.is_none() => {
                open = Some(i);
                dims.push(1);
            }
            Err(_) => return wrong("a length is 0 or more, and one may be -1: whatever is left"),
        }
    }
    if let Some(open) = open {
        let others = dims.iter().try_fold(1u64, |product, &len| product.checked_mul(len)).unwrap_or(u64::MAX);
        let elements = input.shape.elements().unwrap_or(u64::MAX);
        match elements.checked_div(others) {
            None => return wrong("beside a 0 there is no telling what -1 is"),
            Some(len) if len.checked_mul(others) == Some(elements) => dims[open] = len,
            Some(_) => return wrong(&format!("input 0 is {input}, whose {elements} elements do not divide so")),
        }
    }
    same_elements(input, dims)
}

fn same_elements(input: &TensorMetadata, dims: Vec<u64>) -> Outcome<TensorMetadata> {
    let output = check::output(input.dtype, dims)?;
    if output.shape.elements() != input.shape.elements() {
        return check::refuse(format!("input 0 is {input}, which has not as many elements as {output}"));
    }
    Ok(output)
}

fn expand_dims(inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    let mut dims = inputs[0].shape.dims().to_vec();
    // An axis of the output.
    let axis = check::axis(*attrs.int("axis")?, dims.len() + 1)?;
    dims.insert(axis, 1);
    check::output(inputs[0].dtype, dims)
}

fn squeeze(inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    let input = &inputs[0];
    let dims = input.shape.dims();
    let axes = match attrs.get("axes") {
        None => (0..dims.len()).filter(|&axis| dims[axis] == 1).collect(),
        Some(_) => check::axes(attrs.ints("axes")?, dims.len())?,
    };
    if let Some(&long) = axes.iter().find(|&&axis| dims[axis] != 1) {
        return check::refuse(format!("input 0 is {input}: axis {long} is of length {}, not 1", dims[long]));
    }
    let kept = dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &len)| len);
    check::output(input.dtype, kept.collect())
}
