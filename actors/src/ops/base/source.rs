//! Constants.

use remex_protocol::{
    attrs::{Attr, Attrs},
    tensor::{Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome,
    attributes::{Kind, required},
    check,
    literal::{self, elements},
    make::make,
    movement::shape,
    number::for_every,
};

pub(super) const OPS: &[BaseOp] = &[BaseOp {
    name: "constant",
    inputs: (0, 0),
    attrs: &[required("dtype", Kind::DType), required("shape", Kind::Shape), required("values", Kind::Values)],
    infer,
    run,
    shares: false,
}];

fn values(attrs: &Attrs) -> Outcome<&Attr> {
    match attrs.get("values") {
        Some(values) => Ok(values),
        None => check::refuse("attribute \"values\" must be integers, numbers, or true and false; it is not given"),
    }
}

fn infer(_: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    let dtype = *attrs.dtype("dtype")?;
    let output = check::output(dtype, shape(attrs)?)?;
    let values = values(attrs)?;
    for_every!(dtype, T => elements::<T>(values).map(drop))?;
    let count = literal::count(values).unwrap_or(0);
    if count != 1 && output.shape.elements() != Some(count as u64) {
        let why = "there must be one for each element, or one for all";
        return check::refuse(format!("attribute \"values\" has {count} values for {output}; {why}"));
    }
    Ok(output)
}

fn run(_: &[Tensor], attrs: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let values = values(attrs)?;
    for_every!(output.dtype, T => {
        let elements = elements::<T>(values)?;
        make::<T>(output, |mut array| {
            match elements[..] {
                [one] => array.fill(one),
                _ => array.iter_mut().zip(elements).for_each(|(to, element)| *to = element),
            }
            Ok(())
        })
    })
}
