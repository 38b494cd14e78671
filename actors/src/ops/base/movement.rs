//! Data moved as it is, of any type: transpose, concat, slice, fill.

use ndarray::{Axis, IxDyn, Slice};
use remex_protocol::{
    attrs::{Attr, Attrs},
    frame::MAX_ARGS,
    tensor::{DType, Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome,
    attributes::{Kind, optional, required},
    check,
    make::{for_bits, lengths, stretch},
};

pub(super) const OPS: &[BaseOp] = &[
    BaseOp {
        name: "transpose",
        inputs: (1, 1),
        attrs: &[optional("perm", Kind::Ints)],
        infer: |inputs, attrs| {
            let dims = inputs[0].shape.dims();
            let perm = perm(&inputs[0], attrs)?;
            check::output(inputs[0].dtype, perm.iter().map(|&axis| dims[axis]).collect())
        },
        run: transpose,
        shares: false,
    },
    BaseOp {
        name: "concat",
        inputs: (1, MAX_ARGS),
        attrs: &[required("axis", Kind::Int)],
        infer: concatenated,
        run: concat,
        shares: false,
    },
    BaseOp {
        name: "slice",
        inputs: (1, 1),
        attrs: &[required("begin", Kind::Ints), required("end", Kind::Ints), optional("stride", Kind::Ints)],
        infer: |inputs, attrs| {
            let cuts = cuts(&inputs[0], attrs)?;
            check::output(inputs[0].dtype, cuts.iter().map(|cut| cut.len).collect())
        },
        run: slice,
        shares: false,
    },
    BaseOp {
        name: "fill",
        inputs: (1, 1),
        attrs: &[required("shape", Kind::Shape)],
        infer: filled,
        run: fill,
        shares: false,
    },
];

/// Which axis of the input each axis of the output is.
fn perm(input: &TensorMetadata, attrs: &Attrs) -> Outcome<Vec<usize>> {
    let rank = input.shape.rank();
    if attrs.get("perm").is_none() {
        return Ok((0..rank).rev().collect());
    }
    let named = attrs.ints("perm")?;
    if named.len() != rank {
        let count = named.len();
        return check::refuse(format!("attribute \"perm\" names {count} axes, input 0 is {input} and has {rank}"));
    }
    // Sorted, they are all of them.
    check::axes(named, rank)?;
    named.iter().map(|&axis| check::axis(axis, rank)).collect()
}

fn transpose(inputs: &[Tensor], attrs: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let perm = perm(inputs[0].metadata(), attrs)?;
    for_bits!(inputs, output, |T, views, array| {
        let mut array: ndarray::ArrayViewMutD<'_, T> = array;
        array.assign(&views[0].view().permuted_axes(IxDyn(&perm)));
        Ok(())
    })
}

fn concatenated(inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    let dtype = check::dtype(inputs, DType::ALL)?;
    let axis = check::axis(*attrs.int("axis")?, inputs[0].shape.rank())?;
    let mut dims = inputs[0].shape.dims().to_vec();
    for (i, input) in inputs.iter().enumerate().skip(1) {
        let others = |dims: &[u64]| dims.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, &len)| len).collect();
        let (first, given): (Vec<u64>, Vec<u64>) = (others(&dims), others(input.shape.dims()));
        if input.shape.rank() != dims.len() || first != given {
            let why = format!("they must have the same lengths but along axis {axis}");
            return check::refuse(format!("input {i} is {input} and input 0 is {}: {why}", inputs[0]));
        }
        dims[axis] = dims[axis].saturating_add(input.shape.dims()[axis]);
    }
    check::output(dtype, dims)
}

fn concat(inputs: &[Tensor], attrs: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let axis = Axis(check::axis(*attrs.int("axis")?, output.shape.rank())?);
    for_bits!(inputs, output, |T, views, array| {
        let mut array: ndarray::ArrayViewMutD<'_, T> = array;
        let mut begin = 0;
        for view in &views {
            let end = begin + view.len_of(axis);
            array.slice_axis_mut(axis, Slice::from(begin..end)).assign(view);
            begin = end;
        }
        Ok(())
    })
}

/// What is taken along one axis.
struct Cut {
    slice: Slice,
    len: u64,
}

/// Like a slice of Python: a negative index counts from the end, one that is out of range is the nearest that is not.
fn cuts(input: &TensorMetadata, attrs: &Attrs) -> Outcome<Vec<Cut>> {
    let rank = input.shape.rank();
    let ones = vec![1; rank];
    let lists = [attrs.ints("begin")?, attrs.ints("end")?, attrs.ints_or("stride", &ones)?];
    for (name, list) in ["begin", "end", "stride"].iter().zip(lists) {
        if list.len() != rank {
            let count = list.len();
            return check::refuse(format!(
                "attribute {name:?} has {count} elements, input 0 is {input} and has {rank} axes"
            ));
        }
    }
    let [begin, end, stride] = lists;
    (0..rank).map(|axis| cut(input.shape.dims()[axis], begin[axis], end[axis], stride[axis])).collect()
}

fn cut(len: u64, begin: i64, end: i64, stride: i64) -> Outcome<Cut> {
    // Wide enough for all sums of them.
    let (len, stride) = (i128::from(len), i128::from(stride));
    let (least, most) = match stride {
        0 => return check::refuse("attribute \"stride\" has a 0; a stride is positive, or negative to go backwards"),
        1.. => (0, len),
        _ => (-1, len - 1),
    };
    let clamped = |index: i64| {
        let index = i128::from(index);
        (if index < 0 { index + len } else { index }).clamp(least, most)
    };
    let (begin, end) = (clamped(begin), clamped(end));
    // The range that is gone through, the lower end first: backwards it begins with its last element.
    let (low, high) = if stride > 0 { (begin, end) } else { (end + 1, begin + 1) };
    let count =
        (high - low).max(0).div_euclid(stride.abs()) + i128::from((high - low).max(0).rem_euclid(stride.abs()) != 0);
    let unfit =
        |_| crate::programs::ProgramError::invalid(format!("an axis of {len} elements is longer than an array's"));
    let slice = if count == 0 {
        Slice::new(0, Some(0), 1)
    } else {
        let index = |index: i128| isize::try_from(index).map_err(unfit);
        // One element is one element, however long the stride.
        let step = if count == 1 { stride.signum() } else { stride };
        let (low, high) = if count > 1 {
            (low, high)
        } else if stride > 0 {
            (low, low + 1)
        } else {
            (high - 1, high)
        };
        Slice::new(index(low)?, Some(index(high)?), index(step)?)
    };
    Ok(Cut { slice, len: u64::try_from(count).unwrap_or(0) })
}

fn slice(inputs: &[Tensor], attrs: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let cuts = cuts(inputs[0].metadata(), attrs)?;
    for_bits!(inputs, output, |T, views, array| {
        let mut array: ndarray::ArrayViewMutD<'_, T> = array;
        array.assign(&views[0].slice_each_axis(|axis| cuts[axis.axis.index()].slice));
        Ok(())
    })
}

fn filled(inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
    if inputs[0].shape.rank() != 0 {
        return check::refuse(format!("input 0 is {}, it must be a scalar", inputs[0]));
    }
    check::output(inputs[0].dtype, shape(attrs)?)
}

/// The attribute `shape`: a shape, or a list of lengths.
pub(super) fn shape(attrs: &Attrs) -> Outcome<Vec<u64>> {
    let Some(Attr::Ints(lengths)) = attrs.get("shape") else { return Ok(attrs.shape("shape")?.dims().to_vec()) };
    match lengths.iter().map(|&len| u64::try_from(len)).collect() {
        Ok(dims) => Ok(dims),
        Err(_) => check::refuse(format!("attribute \"shape\" is {lengths:?}; no length may be negative")),
    }
}

fn fill(inputs: &[Tensor], _: &Attrs, output: TensorMetadata) -> Outcome<Tensor> {
    let dims = lengths(&output);
    for_bits!(inputs, output, |T, views, array| {
        let mut array: ndarray::ArrayViewMutD<'_, T> = array;
        array.assign(&stretch(&views[0], &dims)?);
        Ok(())
    })
}
