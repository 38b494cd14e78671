//! Tensors to rten's values and back.

use remex_protocol::{
    signature::Arg,
    tensor::{Bool, DType, Element, Shape, Tensor, TensorError},
};
use rten::{Value, ValueOrView, ValueView};
use rten_tensor::{AsView, Layout, TensorView};

use super::error::{OnnxError, Result};

/// An input as rten takes it: shared where the element types agree, else narrowed into a copy.
pub(crate) fn to_rten<'a>(name: &str, tensor: &'a Tensor) -> Result<ValueOrView<'a>> {
    let dims: Option<Vec<usize>> = tensor.shape().dims().iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let dims = dims.ok_or_else(|| OnnxError::Input(format!("input {name:?} has a dimension that is too long")))?;
    let wrong = |reason: &dyn std::fmt::Display| OnnxError::Input(format!("input {name:?}: {reason}"));
    fn view<'a, T: Element>(tensor: &'a Tensor, dims: &[usize]) -> Result<ValueOrView<'a>, String>
    where
        ValueView<'a>: From<TensorView<'a, T>>,
    {
        let elements = elements::<T>(tensor).map_err(|error| error.to_string())?;
        let view = ValueView::from_shape(dims, elements).map_err(|error| error.to_string())?;
        Ok(view.into())
    }
    let narrow = |elements: Vec<i32>| {
        let value = Value::from_shape(dims.as_slice(), elements).map_err(|error| wrong(&error))?;
        Ok(value.into())
    };
    match tensor.dtype() {
        DType::F32 => view::<f32>(tensor, &dims).map_err(|error| wrong(&error)),
        DType::I32 => view::<i32>(tensor, &dims).map_err(|error| wrong(&error)),
        DType::I8 => view::<i8>(tensor, &dims).map_err(|error| wrong(&error)),
        DType::U8 => view::<u8>(tensor, &dims).map_err(|error| wrong(&error)),
        DType::Bool => {
            let elements = elements::<Bool>(tensor).map_err(|error| wrong(&error))?;
            narrow(elements.iter().map(|value| i32::from(value.0)).collect())
        }
        DType::I64 => {
            let elements = elements::<i64>(tensor).map_err(|error| wrong(&error))?;
            let mut narrowed = Vec::with_capacity(elements.len());
            for (index, &value) in elements.iter().enumerate() {
                let Ok(element) = i32::try_from(value) else {
                    return Err(OnnxError::OutOfRange { input: name.to_owned(), index, value });
                };
                narrowed.push(element);
            }
            narrow(narrowed)
        }
        other => Err(wrong(&format!("the engine does not compute with {other}"))),
    }
}

/// The elements of a tensor. No bytes need not lie where an element could.
fn elements<T: Element>(tensor: &Tensor) -> Result<&[T], TensorError> {
    match tensor.size_bytes() {
        0 => Ok(&[]),
        _ => tensor.elements(),
    }
}

/// An output of rten as the element type that the model declares.
pub(crate) fn from_rten(arg: &Arg, value: &Value) -> Result<Tensor> {
    let differs = |found: &dyn std::fmt::Display| OnnxError::Output {
        output: arg.name.clone(),
        reason: format!("the model declares {arg}, but gave {found}"),
    };
    let tensor = match (value, arg.dtype.fixed()) {
        (Value::FloatTensor(t), Some(DType::F32)) => same(t.view()),
        (Value::Int32Tensor(t), Some(DType::I32)) => same(t.view()),
        (Value::Int32Tensor(t), Some(DType::I64)) => widened(t.view(), i64::from),
        (Value::Int32Tensor(t), Some(DType::Bool)) => widened(t.view(), |x| Bool::from(x != 0)),
        (Value::Int8Tensor(t), Some(DType::I8)) => same(t.view()),
        (Value::UInt8Tensor(t), Some(DType::U8)) => same(t.view()),
        _ => return Err(differs(&value.dtype())),
    };
    tensor.map_err(|error| match error {
        TensorError::OutOfMemory(_) => OnnxError::OutOfMemory(arg.name.clone()),
        error => differs(&error),
    })
}

/// The elements as they are, in row-major order.
fn same<T: Element>(view: TensorView<'_, T>) -> Result<Tensor, TensorError> {
    match view.data() {
        Some(elements) => Tensor::from_slice(shape(&view)?, elements),
        None => Tensor::from_slice(shape(&view)?, &view.to_vec()),
    }
}

/// The elements of an i32 tensor as another type, in row-major order.
fn widened<T: Element>(view: TensorView<'_, i32>, convert: impl Fn(i32) -> T) -> Result<Tensor, TensorError> {
    let elements: Vec<T> = view.iter().map(|&element| convert(element)).collect();
    Tensor::from_slice(shape(&view)?, &elements)
}

fn shape<T>(value: &TensorView<'_, T>) -> Result<Shape, TensorError> {
    let dims: Vec<u64> = value.shape().iter().map(|&dim| dim as u64).collect();
    Shape::try_from(dims).map_err(TensorError::Shape)
}
