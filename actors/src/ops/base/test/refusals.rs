//! What is refused, in which words, and that nothing panics.

use remex_protocol::{
    ErrorCode,
    attrs::{Attr, Attrs},
    frame::{MAX_ARGS, MAX_PAYLOAD},
    tensor::{DType, Shape, Tensor, TensorMetadata},
};

use super::{bools, none, required, run, tensor};
use crate::ops::{OpRegistry, base};

fn refused(name: &str, inputs: &[Tensor], attrs: Attrs, code: ErrorCode, words: &str) {
    let error = run(name, inputs, &attrs).unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.starts_with(&format!("op {name}: ")), "{error}");
    assert!(error.message.contains(words), "{error}\nhas no {words}");
}

fn invalid(name: &str, inputs: &[Tensor], attrs: Attrs, words: &str) {
    refused(name, inputs, attrs, ErrorCode::InvalidArgument, words);
}

fn x() -> Tensor {
    tensor([2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0])
}

#[test]
fn a_wrong_number_of_inputs_is_refused_when_the_op_is_bound() {
    let ops = OpRegistry::base();
    for op in base::all() {
        let name = op.name;
        let (fewest, most) = op.inputs;
        for inputs in fewest.checked_sub(1).into_iter().chain([most.saturating_add(1)]) {
            let error = ops.bind(name, none(), inputs, 1).unwrap_err();
            assert_eq!((error.code(), error.program()), (ErrorCode::InvalidArgument, Some(name)));
            assert!(error.message().contains("inputs,"), "{error}");
        }
        let error = ops.bind(name, required(&op), op.inputs.0, 2).unwrap_err();
        assert!(error.message().contains("has 1 outputs, the call names 2"), "{error}");
    }
}

#[test]
fn concat_takes_as_many_inputs_as_a_call_has() {
    let bind = |inputs| OpRegistry::base().bind("concat", none().with("axis", 0i64), inputs, 1);
    assert!(bind(1).is_ok() && bind(MAX_ARGS).is_ok());
    for inputs in [0, MAX_ARGS + 1] {
        let error = bind(inputs).unwrap_err();
        assert!(error.message().contains(&format!("takes 1 to 1024 inputs, {inputs} were given")), "{error}");
    }
}

#[test]
fn an_unknown_attribute_is_refused_with_those_there_are() {
    for op in base::all() {
        let error = OpRegistry::base().bind(op.name, none().with("colour", 1i64), op.inputs.0, 1).unwrap_err();
        assert!(error.message().contains("\"colour\""), "{error}");
        assert!(op.attrs.iter().all(|attr| error.message().contains(attr.name)), "{error}");
    }
    invalid("sum", &[x()], none().with("axis", 1i64), "has no attribute \"axis\"; it has axes, keepdims");
    invalid("neg", &[x()], none().with("axis", 1i64), "has no attributes, but \"axis\" is given");
}

#[test]
fn a_wrong_type_of_attribute_is_refused() {
    invalid("sum", &[x()], none().with("axes", 1i64), "\"axes\" must be a list of integers, it is an integer");
    invalid("sum", &[x()], none().with("keepdims", 1i64), "\"keepdims\" must be true or false");
    invalid("argmax", &[x()], none(), "\"axis\" must be an integer, it is not given");
    invalid("cast", &[x()], none().with("dtype", "f32"), "\"dtype\" must be an element type, it is a text");
    invalid("concat", &[x()], none(), "\"axis\" must be an integer");
    invalid("slice", &[x()], none().with("begin", vec![0i64, 0]), "\"end\" must be a list of integers");
    invalid("reshape", &[x()], none(), "\"shape\" must be a shape or a list of integers");
    invalid("fill", &[tensor([], &[1u8])], none(), "\"shape\" must be a shape");
    let attrs = none().with("dtype", DType::F32).with("shape", vec![1i64]);
    invalid("random_normal", &[], attrs.clone(), "\"seed\" must be an integer, it is not given");
    invalid("constant", &[], attrs.clone(), "\"values\" must be integers, numbers, or true and false, it is not given");
    invalid("constant", &[], attrs.with("values", "x"), "it is a text");
}

#[test]
fn a_wrong_or_missing_attribute_is_refused_when_the_op_is_bound() {
    fn check(name: &str, inputs: usize, attrs: Attrs, words: &str) {
        let error = OpRegistry::base().bind(name, attrs, inputs, 1).unwrap_err();
        assert_eq!((error.code(), error.program()), (ErrorCode::InvalidArgument, Some(name)));
        assert!(error.message().contains(words), "{error}");
    }
    check("sum", 1, none().with("axes", 1i64), "\"axes\" must be a list of integers, it is an integer");
    check("concat", 2, none(), "\"axis\" must be an integer, it is not given");
    check("slice", 1, none().with("begin", vec![0i64]), "\"end\" must be a list of integers, it is not given");
    check("cast", 1, none().with("dtype", "f32"), "\"dtype\" must be an element type, it is a text");
    check("fill", 1, none().with("shape", vec![1.0]), "\"shape\" must be a shape or a list of integers");
    let constant = none().with("dtype", DType::F32).with("shape", vec![1i64]);
    check("constant", 0, constant.clone(), "\"values\" must be integers, numbers, or true and false, it is not given");
    check("random_normal", 0, constant.with("seed", 1i64).with("mean", 1i64), "\"mean\" must be a number");
}

#[test]
fn a_wrong_element_type_is_refused() {
    let (a, b) = (tensor([1], &[1i32]), tensor([1], &[1i64]));
    invalid("add", &[a.clone(), b.clone()], none(), "input 1 is of i64 and input 0 of i32");
    invalid("matmul", &[a.clone(), b.clone()], none(), "cast one");
    invalid(
        "add",
        &[tensor([1], &[1u8]), tensor([1], &[1u8])],
        none(),
        "of u8, it must be of i32, i64, f16, bf16, f32, f64",
    );
    invalid("sum", &[bools([1], [true])], none(), "of bool, it must be of i32");
    invalid("exp", std::slice::from_ref(&a), none(), "of i32, it must be of f16, bf16, f32, f64");
    invalid("less", &[bools([1], [true]), bools([1], [true])], none(), "of bool, it must be of i8");
    invalid("logical_not", std::slice::from_ref(&a), none(), "must be of bool");
    invalid("select", &[a.clone(), a.clone(), a.clone()], none(), "input 0 is of i32, it must be of bool");
    invalid("select", &[bools([1], [true]), a.clone(), b.clone()], none(), "input 2 is of i64 and input 1 of i32");
    invalid("concat", &[a, b], none().with("axis", 0i64), "input 1 is of i64");
    let attrs = none().with("dtype", DType::I32).with("shape", vec![1i64]).with("seed", 1i64);
    invalid("random_uniform", &[], attrs, "\"dtype\" is i32, it must be one of f16");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let four = tensor([4], &[0f32; 4]);
    invalid("add", &[x(), four.clone()], none(), "shapes [2,3] and [4] cannot be broadcast together: lengths 3 and 4");
    invalid("select", &[bools([2], [true, false]), x(), x()], none(), "cannot be broadcast");
    invalid("matmul", &[x(), four], none(), "must have 2 dimensions or more");
    invalid("matmul", &[x(), x()], none(), "but 3 is not 2");
    invalid("matmul", &[tensor([2, 1, 1], &[0f32; 2]), tensor([3, 1, 1], &[0f32; 3])], none(), "cannot be broadcast");
    invalid("concat", &[x(), tensor([3, 2], &[0f32; 6])], none().with("axis", 0i64), "same lengths but along axis 0");
    invalid("concat", &[x(), tensor([2], &[0f32; 2])], none().with("axis", 0i64), "input 1 is f32[2]");
    invalid("concat", &[tensor([], &[0f32])], none().with("axis", 0i64), "there are no axes");
    invalid("squeeze", &[x()], none().with("axes", vec![0i64]), "axis 0 is of length 2, not 1");
    invalid("fill", &[x()], none().with("shape", vec![1i64]), "must be a scalar");
    let reshape = |shape: &[i64], words: &str| invalid("reshape", &[x()], none().with("shape", shape.to_vec()), words);
    reshape(&[4], "has not as many elements");
    reshape(&[-1, -1], "one may be -1");
    reshape(&[-2], "0 or more");
    reshape(&[4, -1], "whose 6 elements do not divide so");
    reshape(&[0, -1], "no telling");
    reshape(&[i64::MAX, i64::MAX, -1], "do not divide so");
}

#[test]
fn axes_that_are_not_there_are_refused() {
    invalid("sum", &[x()], none().with("axes", vec![2i64]), "axis 2 is out of range: it must be in -2..=1");
    invalid("sum", &[x()], none().with("axes", vec![1i64, -1]), "axis 1 is named twice");
    invalid("argmax", &[x()], none().with("axis", i64::MIN), "out of range");
    invalid("expand_dims", &[x()], none().with("axis", 3i64), "must be in -3..=2");
    invalid("transpose", &[x()], none().with("perm", vec![0i64, 0]), "axis 0 is named twice");
    invalid("transpose", &[x()], none().with("perm", vec![0i64]), "names 1 axes, input 0 is f32[2,3] and has 2");
    let cut = |begin: &[i64], stride: &[i64]| {
        none().with("begin", begin.to_vec()).with("end", vec![1i64, 1]).with("stride", stride.to_vec())
    };
    invalid("slice", &[x()], cut(&[0], &[1, 1]), "\"begin\" has 1 elements");
    invalid("slice", &[x()], cut(&[0, 0], &[1, 0]), "\"stride\" has a 0");
    let deep = tensor(Shape::try_from(vec![1; 32]).unwrap(), &[1u8]);
    invalid("expand_dims", &[deep], none().with("axis", 0i64), "33 dimensions");
}

#[test]
fn integers_without_a_result_are_refused() {
    let pair = |name: &str, a: i32, b: i32, words: &str| {
        refused(name, &[tensor([], &[a]), tensor([], &[b])], none(), ErrorCode::OutOfRange, words);
        let wide = [tensor([], &[i64::from(a)]), tensor([], &[i64::from(b)])];
        if a != i32::MIN {
            refused(name, &wide, none(), ErrorCode::OutOfRange, words);
        }
    };
    pair("div", 5, 0, "div(5, 0): an integer cannot be divided by zero");
    pair("div", i32::MIN, -1, "div(-2147483648, -1): the quotient is larger than any integer of the type");
    pair("pow", 2, -1, "pow(2, -1): to a negative exponent there is no integer power");
    let least = [tensor([], &[i64::MIN]), tensor([], &[-1i64])];
    refused("div", &least, none(), ErrorCode::OutOfRange, "div(-9223372036854775808, -1): the quotient is larger");
}

#[test]
fn values_that_a_type_has_not_are_refused() {
    let constant = |dtype: DType, values: Attr, words: &str| {
        let attrs = none().with("dtype", dtype).with("shape", vec![1i64]).with("values", values);
        let error = run("constant", &[], &attrs).unwrap_err();
        assert!(error.message.contains(words), "{error}");
    };
    constant(DType::U8, Attr::Int(256), "has 256, which is no value of u8");
    constant(DType::U64, Attr::Ints(vec![-1]), "has -1, which is no value of u64");
    constant(DType::I32, Attr::Float(1.0), "has 1.0, which is no value of i32");
    constant(DType::F32, Attr::Float(1e39), "no value of f32");
    constant(DType::F16, Attr::Int(70_000), "no value of f16");
    constant(DType::Bool, Attr::Int(1), "no value of bool");
    constant(DType::F32, Attr::Bool(true), "has true");
    constant(DType::F32, Attr::Ints(vec![1, 2]), "has 2 values for f32[1]; there must be one for each element");
    let random = |name: &str, a: (&str, f64), b: (&str, f64), words: &str| {
        let attrs = none().with("dtype", DType::F32).with("shape", vec![1i64]).with("seed", 1i64);
        invalid(name, &[], attrs.with(a.0, a.1).with(b.0, b.1), words);
    };
    random("random_uniform", ("low", 1.0), ("high", 1.0), "\"low\" below \"high\"");
    random("random_uniform", ("low", f64::NAN), ("high", 1.0), "finite");
    random("random_uniform", ("low", f64::MIN), ("high", f64::MAX), "finite");
    let wide = none().with("dtype", DType::F64).with("shape", vec![1i64]).with("seed", 1i64);
    invalid("random_uniform", &[], wide.with("low", f64::MIN).with("high", f64::MAX), "their difference");
    random("random_normal", ("mean", 0.0), ("stddev", -1.0), "not negative");
    random("random_normal", ("mean", f64::INFINITY), ("stddev", 1.0), "finite");
    // In the type that is asked for.
    random("random_uniform", ("low", 0.0), ("high", 1e300), "as f32 0.0 and inf; both, and their difference");
    random("random_uniform", ("low", 1.0), ("high", 1.0 + f64::EPSILON), "as f32 1.0 and 1.0");
    random("random_normal", ("mean", 1e300), ("stddev", 1.0), "finite as f32");
    random("random_normal", ("mean", 0.0), ("stddev", 1e39), "finite as f32");
}

/// OP-2.
#[test]
fn an_output_that_is_too_large_is_refused_before_it_is_allocated() {
    let large = |name: &str, inputs: &[Tensor], attrs: Attrs| {
        refused(name, inputs, attrs, ErrorCode::ResourceExhausted, &format!("of more than {MAX_PAYLOAD} bytes"));
    };
    let byte = tensor([], &[1u8]);
    large("fill", std::slice::from_ref(&byte), none().with("shape", vec![(16i64 << 30) + 1]));
    large("fill", std::slice::from_ref(&byte), none().with("shape", vec![i64::MAX, i64::MAX]));
    large("fill", std::slice::from_ref(&byte), none().with("shape", vec![i64::MAX, i64::MAX, 0]));
    let huge = none().with("dtype", DType::F64).with("shape", Shape::from([1 << 32]));
    large("constant", &[], huge.clone().with("values", 0i64));
    large("random_uniform", &[], huge.with("seed", 0i64));
    let (row, column) = (
        Tensor::zeros(TensorMetadata::new(DType::F32, [1, 1 << 18])),
        Tensor::zeros(TensorMetadata::new(DType::F32, [1 << 18, 1])),
    );
    let (row, column) = (row.unwrap(), column.unwrap());
    large("add", &[row.clone(), column.clone()], none());
    large("greater", &[row.clone(), column.clone()], none());
    large("matmul", &[column, row], none());
    large("sum", &[tensor::<i32>([1 << 40, 0], &[])], none().with("axes", vec![1i64]));
}

#[test]
fn an_input_that_is_no_array_is_refused() {
    let none_such = Tensor::zeros(TensorMetadata::new(DType::F32, [0, u64::MAX, 2])).unwrap();
    for op in base::all().filter(|op| op.inputs.0 > 0) {
        let inputs = vec![none_such.clone(); op.inputs.0];
        invalid(op.name, &inputs, required(&op), "multiply to more than an array can have");
    }
}
