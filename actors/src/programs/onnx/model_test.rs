//! Tests of whole models: from bytes to outputs.

use remex_protocol::{
    ErrorCode,
    signature::Dim,
    tensor::{Bool, DType, Tensor, TensorMetadata},
};

use super::super::proto::{ElementTypeProto, TypeProto, elem};
use super::super::test_model::{TestModel, dense, f32s, i64s};
use super::OnnxModel;

fn binary(op: &str, elem: i32, out: i32) -> TestModel {
    TestModel::new(17).input("a", elem, "n").input("b", elem, "n").node(op, "a b", "y").output("y", out, "n")
}

#[test]
fn a_model_computes_in_every_type_that_the_engine_has() {
    let add = |elem| binary("Add", elem, elem);
    assert_eq!(add(elem::FLOAT).run(&[f32s([2], &[1., 2.]), f32s([2], &[3., 4.])]), [f32s([2], &[4., 6.])]);
    let ints = |data: &[i32]| Tensor::from_slice([2], data).unwrap();
    assert_eq!(add(6).run(&[ints(&[1, 2]), ints(&[3, 4])]), [ints(&[4, 6])]);
    let pass = |elem| TestModel::new(17).input("a", elem, "n").node("Identity", "a", "y").output("y", elem, "n");
    let bytes = Tensor::from_slice([2], &[1u8, 255]).unwrap();
    assert_eq!(pass(2).run(std::slice::from_ref(&bytes)), [bytes]);
    let bytes = Tensor::from_slice([2], &[-1i8, 127]).unwrap();
    assert_eq!(pass(3).run(std::slice::from_ref(&bytes)), [bytes]);
}

#[test]
fn long_integers_are_narrowed_and_widened_back() {
    let add = binary("Add", elem::INT64, elem::INT64);
    assert_eq!(add.run(&[i64s([2], &[1, -2]), i64s([2], &[3, 4])]), [i64s([2], &[4, 2])]);
}

#[test]
fn an_integer_that_does_not_fit_is_named() {
    let add = binary("Add", elem::INT64, elem::INT64).compile().unwrap();
    for wrong in [i64::from(i32::MAX) + 1, i64::MIN] {
        let error = add.run(&[i64s([3], &[0; 3]), i64s([3], &[0, i64::from(i32::MIN), wrong])]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::OutOfRange);
        assert!(error.to_string().contains(&format!("input \"b\": element 2 is {wrong}")), "{error}");
    }
}

#[test]
fn truth_values_are_0_and_1() {
    let bools = |data: &[u8]| Tensor::from_slice([3], &data.iter().map(|&b| Bool(b)).collect::<Vec<_>>()).unwrap();
    let less = binary("Less", elem::FLOAT, elem::BOOL);
    assert_eq!(less.run(&[f32s([3], &[1., 2., 3.]), f32s([3], &[2., 2., 2.])]), [bools(&[1, 0, 0])]);
    let and = binary("And", elem::BOOL, elem::BOOL);
    assert_eq!(and.run(&[bools(&[0, 1, 1]), bools(&[1, 0, 1])]), [bools(&[0, 0, 1])]);
}

#[test]
fn transposed_outputs_are_in_row_major_order() {
    let model = TestModel::new(17)
        .input("x", elem::FLOAT, "2 n")
        .node("Transpose", "x", "y")
        .ints("perm", &[1, 0])
        .output("y", elem::FLOAT, "n 2");
    assert_eq!(model.run(&[f32s([2, 2], &[1., 2., 3., 4.])]), [f32s([2, 2], &[1., 3., 2., 4.])]);
}

#[test]
fn the_shape_of_an_output_is_known_before_the_run() {
    let model = dense().compile().unwrap();
    assert_eq!(format!("{model:?}"), "OnnxModel { inputs: [\"x: f32[n,3]\"], outputs: [\"y: f32[n,2]\"], .. }");
    let inferred = model.signature().infer(&[TensorMetadata::new(DType::F32, [7, 3])]).unwrap();
    assert_eq!(inferred, [Some(TensorMetadata::new(DType::F32, [7, 2]))]);
}

#[test]
fn wrong_inputs_are_refused_before_the_run() {
    let model = dense().compile().unwrap();
    let check = |inputs: &[Tensor], expected: &str| {
        let error = model.run(inputs).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&[], "takes 1 inputs, 0 were given");
    check(&[f32s([2, 4], &[0.0; 8])], "input \"x\" is f32[2,4], but the program takes f32[n,3]");
    check(&[f32s([3], &[0.0; 3])], "input \"x\" is f32[3]");
    check(&[i64s([1, 3], &[0; 3])], "input \"x\" is i64[1,3]");
}

#[test]
fn inputs_that_do_not_fit_each_other_fail_the_run() {
    let model = TestModel::new(17)
        .input("a", elem::FLOAT, "?")
        .input("b", elem::FLOAT, "?")
        .node("Add", "a b", "y")
        .output("y", elem::FLOAT, "?")
        .compile()
        .unwrap();
    let error = model.run(&[f32s([2], &[0.0; 2]), f32s([3], &[0.0; 3])]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.to_string().contains("the_add"), "{error}");
}

#[test]
fn an_unknown_operator_is_named() {
    let error = dense().node("Frobnicate", "y", "z").output("z", elem::FLOAT, "?").compile().unwrap_err();
    assert_eq!(error.code(), ErrorCode::CompilationFailed);
    assert!(error.to_string().contains("Frobnicate"), "{error}");
    let error = dense().node("com.example/Relu", "y", "z").output("z", elem::FLOAT, "?").compile().unwrap_err();
    assert_eq!(error.code(), ErrorCode::CompilationFailed);
    assert!(error.to_string().contains("com.example/Relu"), "{error}");
}

#[test]
fn types_that_the_engine_has_not_are_refused() {
    let check = |model: &TestModel, expected: &str| {
        let error = model.compile().unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unimplemented);
        assert!(error.to_string().contains(expected), "{error}");
    };
    let pass = |elem| TestModel::new(17).input("a", elem, "n").node("Identity", "a", "y").output("y", elem, "n");
    for (elem, name) in [(11, "f64"), (10, "f16"), (16, "bf16"), (4, "u16"), (5, "i16"), (12, "u32"), (13, "u64")] {
        check(&pass(elem), &format!("input \"a\" is {name}"));
    }
    check(&pass(elem::STRING), "input \"a\" is a tensor of string");
    let to_double =
        TestModel::new(17).input("a", elem::FLOAT, "n").node("Cast", "a", "y").int("to", 11).output("y", 11, "n");
    check(&to_double, "output \"y\" is f64");
    let mut sequence = pass(elem::FLOAT);
    let inside = sequence.graph().input[0].r#type.take().map(Box::new);
    sequence.graph().input[0].r#type =
        Some(TypeProto { sequence_type: Some(Box::new(ElementTypeProto { elem_type: inside })), ..Default::default() });
    check(&sequence, "input \"a\" is a sequence");
}

#[test]
fn an_output_of_another_type_than_declared_is_an_error_of_the_model() {
    let model = binary("Less", elem::FLOAT, elem::FLOAT).compile().unwrap();
    let error = model.run(&[f32s([1], &[1.0]), f32s([1], &[2.0])]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(error.to_string().contains("output \"y\": the model declares f32[n]"), "{error}");
}

#[test]
fn an_output_may_be_an_input_or_a_constant() {
    let model = dense().output("x", elem::FLOAT, "n 3").output("b", elem::FLOAT, "2");
    let x = f32s([1, 3], &[1., 2., 3.]);
    let outputs = model.run(std::slice::from_ref(&x));
    assert_eq!(outputs[1..], [x, f32s([2], &[-100.0, 0.5])]);
}

#[test]
fn empty_tensors_and_scalars_pass() {
    let relu = |dims: &str| {
        TestModel::new(17).input("x", elem::FLOAT, dims).node("Relu", "x", "y").output("y", elem::FLOAT, dims)
    };
    assert_eq!(relu("n 3").run(&[f32s([0, 3], &[])])[0].metadata().to_string(), "f32[0,3]");
    assert_eq!(relu("").run(&[f32s([], &[-1.0])]), [f32s([], &[0.0])]);
}

#[test]
fn several_threads_run_one_model() {
    let model = dense().compile().unwrap();
    let expected = dense().run(&[f32s([1, 3], &[9., 9., 9.])]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(model.run(&[f32s([1, 3], &[9., 9., 9.])]).unwrap(), expected);
                }
            });
        }
    });
}

#[test]
fn lengths_that_nothing_says_are_left_open() {
    let model = TestModel::new(17)
        .input("x", elem::FLOAT, "n past+1 ? -1")
        .node("NonZero", "x", "y")
        .output("y", elem::INT64, "4 found")
        .compile()
        .unwrap();
    let dims = |arg: &remex_protocol::signature::Arg| arg.dims.clone().unwrap();
    let n = Dim::Symbol("n".to_owned());
    assert_eq!(dims(&model.signature().inputs[0]), [n, Dim::Any, Dim::Any, Dim::Any]);
    assert_eq!(dims(&model.signature().outputs[0]), [Dim::Fixed(4), Dim::Any]);
}

#[test]
fn the_operators_are_believed_before_the_declaration() {
    let model =
        TestModel::new(17).input("x", elem::FLOAT, "n 3").node("Relu", "x", "y").output("y", elem::FLOAT, "1 3");
    let signature = OnnxModel::compile(&model.bytes()).unwrap().signature().clone();
    assert_eq!(signature.outputs[0].dims, Some(vec![Dim::Any, Dim::Fixed(3)]));
}

#[test]
#[cfg(not(feature = "ort"))]
fn an_engine_that_is_not_built_in_is_an_error() {
    let options = super::OnnxOptions { engine: super::EngineKind::Ort, ..Default::default() };
    let error = OnnxModel::compile_with(&dense().bytes(), &options).unwrap_err();
    assert_eq!(error.code(), ErrorCode::FailedPrecondition);
    assert!(error.to_string().contains("without the feature `ort`"), "{error}");
}
