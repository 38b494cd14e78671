//! Each refusal: what it says, that it spares what is right, and that rten alone still computes wrongly.

use remex_protocol::ErrorCode;

use super::super::proto::{FunctionProto, SparseTensorProto, elem};
use super::super::test_model::{TestModel, dense, f32s, floats, i64s};
use super::MAX_CHAIN;

const CURED: &str = "rten computes this right now: drop the refusal";

#[track_caller]
fn refused(model: &TestModel, expected: &str) {
    let error = model.compile().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unimplemented, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

fn softmax(opset: i64, op: &str, axis: Option<i64>, dims: &str) -> TestModel {
    let model = TestModel::new(opset).input("x", elem::FLOAT, dims).node(op, "x", "y").output("y", elem::FLOAT, dims);
    match axis {
        Some(axis) => model.int("axis", axis),
        None => model,
    }
}

#[test]
fn an_old_softmax_over_several_dimensions_is_refused() {
    let model = softmax(12, "Softmax", Some(1), "1 2 2");
    refused(&model, "node \"the_softmax\" (Softmax) of opset 12 has axis 1 of 3 dimensions");
    refused(&softmax(9, "LogSoftmax", None, "1 2 2"), "(LogSoftmax) of opset 9 has axis 1 of 3 dimensions");
    refused(&softmax(9, "Softmax", None, "n 10 1 1"), "has axis 1 of 4 dimensions");
    refused(&softmax(11, "Softmax", Some(-2), "2 3"), "has axis 0 of 2 dimensions");
    // Before opset 13 the two dimensions are one row of four.
    let x = f32s([1, 2, 2], &[1.0; 4]);
    assert_ne!(model.rten_alone(&[x]), [f32s([1, 2, 2], &[0.25; 4])], "{CURED}");
}

#[test]
fn an_old_softmax_over_the_last_dimension_is_right() {
    let rows = f32s([2, 2], &[0.0; 4]);
    let half = f32s([2, 2], &[0.5; 4]);
    for axis in [None, Some(1), Some(-1)] {
        let outputs = softmax(9, "Softmax", axis, "n 2").run(std::slice::from_ref(&rows));
        assert_eq!(outputs, std::slice::from_ref(&half));
    }
    let x = f32s([1, 2, 1, 1], &[0.0; 2]);
    assert_eq!(softmax(9, "Softmax", Some(1), "n 2 1 1").run(&[x]), [f32s([1, 2, 1, 1], &[0.5; 2])]);
    softmax(13, "Softmax", Some(1), "1 2 2").compile().unwrap();
    // The rank is inferred through operators that come before.
    let inferred = TestModel::new(9)
        .input("x", elem::FLOAT, "n 2 2")
        .node("Flatten", "x", "f")
        .node("Softmax", "f", "y")
        .output("y", elem::FLOAT, "n 4");
    assert_eq!(inferred.run(&[f32s([1, 2, 2], &[0.0; 4])]), [f32s([1, 4], &[0.25; 4])]);
}

#[test]
fn cubic_interpolation_is_refused() {
    let model = TestModel::new(17)
        .input("x", elem::FLOAT, "1 1 1 4")
        .floats("scales", &[4], &[1.0, 1.0, 1.0, 2.0])
        .node("Resize", "x - scales", "y")
        .text("mode", "cubic")
        .output("y", elem::FLOAT, "1 1 1 8");
    refused(&model, "(Resize) with mode \"cubic\"");
    let linear = {
        let mut linear = model.clone();
        linear.graph().node[0].attribute.clear();
        linear.text("mode", "linear")
    };
    let x = [f32s([1, 1, 1, 4], &[1.0, 5.0, 2.0, 8.0])];
    assert_eq!(model.rten_alone(&x), linear.run(&x), "{CURED}");
}

#[test]
fn suppression_of_boxes_is_refused() {
    let model = TestModel::new(17)
        .input("boxes", elem::FLOAT, "1 3 4")
        .input("scores", elem::FLOAT, "1 1 3")
        .longs("most", &[1], &[3])
        .floats("overlap", &[1], &[0.3])
        .node("NonMaxSuppression", "boxes scores most overlap", "y")
        .output("y", elem::INT64, "? 3");
    refused(&model, "(NonMaxSuppression): the engine keeps");
    // The second box overlaps the first only, which the third suppresses: the second has to stay.
    let boxes = f32s([1, 3, 4], &[0., 0., 4., 4., 0., 2., 4., 6., 0., -2., 4., 2.]);
    let scores = f32s([1, 1, 3], &[0.6, 0.5, 0.9]);
    let kept = model.rten_alone(&[boxes, scores]);
    assert_eq!(kept[0].shape().dims(), [1, 3], "{CURED}");
}

#[test]
fn a_batch_of_matrices_by_a_vector_is_refused() {
    let product = |dims: &str, out: &str| {
        TestModel::new(17)
            .input("x", elem::FLOAT, dims)
            .floats("v", &[2], &[1.0, 1.0])
            .node("MatMul", "x v", "y")
            .output("y", elem::FLOAT, out)
    };
    refused(&product("b n 2", "b n"), "(MatMul) of 3 dimensions by a vector");
    assert_eq!(product("n 2", "n").run(&[f32s([2, 2], &[1., 2., 3., 4.])]), [f32s([2], &[3., 7.])]);
    let alone = product("b n 2", "b n").rten_alone(&[f32s([2, 1, 2], &[1., 2., 3., 4.])]);
    assert_eq!(alone[0].shape().dims(), [2, 1, 1], "{CURED}");
}

#[test]
fn constants_that_do_not_fit_32_bits_are_refused() {
    let big = 1i64 << 40;
    let add = |value| {
        TestModel::new(17).input("x", elem::INT64, "n").longs("c", &[1], &[value]).node("Add", "x c", "y").output(
            "y",
            elem::INT64,
            "n",
        )
    };
    refused(&add(big), "the constant \"c\" holds 1099511627776");
    add(i64::from(i32::MAX)).compile().unwrap();
    add(i64::MIN).compile().unwrap();
    let slice = TestModel::new(17)
        .input("x", elem::FLOAT, "3")
        .longs("starts", &[1], &[1])
        .longs("ends", &[1], &[big])
        .node("Slice", "x starts ends", "y")
        .output("y", elem::FLOAT, "2");
    assert_eq!(slice.run(&[f32s([3], &[1., 2., 3.])]), [f32s([2], &[2., 3.])]);
    let constant = TestModel::new(17)
        .node("Constant", "", "c")
        .int("value_int", big)
        .node("Identity", "c", "y")
        .output("y", elem::INT64, "");
    refused(&constant, "the constant \"c\" holds");
}

#[test]
fn versions_of_operators_that_were_not_compared_are_refused() {
    let relu =
        |opset| TestModel::new(opset).input("x", elem::FLOAT, "n").node("Relu", "x", "y").output("y", elem::FLOAT, "n");
    refused(&relu(6), "version 6 of ONNX's operators, the engine knows 7 to 28");
    refused(&relu(29), "version 29");
    relu(7).compile().unwrap();
    relu(28).compile().unwrap();
}

#[test]
fn functions_and_sparse_constants_are_refused() {
    let mut model = dense().node("mine/Twice", "y", "z").output("z", elem::FLOAT, "n 2");
    model.0.functions =
        vec![FunctionProto { name: Some("Twice".to_owned()), domain: Some("mine".to_owned()), ..Default::default() }];
    refused(&model, "node \"the_twice\" (Twice) calls a function");

    let mut model = dense();
    let values = floats("sparse", &[1], &[1.0]);
    model.graph().sparse_initializer = vec![SparseTensorProto { values: Some(values), ..Default::default() }];
    refused(&model, "the constant \"sparse\" is sparse");
}

#[test]
fn a_cast_like_a_truth_value_is_refused() {
    let cast = |to| {
        TestModel::new(17)
            .input("x", elem::INT64, "n")
            .input("like", to, "n")
            .node("CastLike", "x like", "y")
            .output("y", to, "n")
    };
    refused(&cast(elem::BOOL), "node \"the_castlike\" (CastLike) to bool");
    assert_eq!(cast(elem::FLOAT).run(&[i64s([1], &[2]), f32s([1], &[0.0])]), [f32s([1], &[2.0])]);
    let as_number = TestModel::new(17)
        .input("x", elem::INT64, "n")
        .node("Not", "x", "b")
        .node("CastLike", "x b", "c")
        .node("Cast", "c", "y")
        .int("to", 7)
        .output("y", elem::INT64, "n");
    refused(&as_number, "(CastLike) to bool");
    assert_eq!(as_number.rten_alone(&[i64s([1], &[2])]), [i64s([1], &[2])], "{CURED}");
}

#[test]
fn a_chain_is_as_long_as_the_stack_of_a_pool_thread_allows() {
    let chain = |length: usize| {
        let mut model = TestModel::new(17).input("v0", elem::FLOAT, "n");
        for i in 0..length {
            model = model.node("Relu", &format!("v{i}"), &format!("v{}", i + 1));
        }
        model.output(&format!("v{length}"), elem::FLOAT, "n")
    };
    let error = chain(MAX_CHAIN + 1).compile().unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted);
    assert!(error.to_string().contains("a chain of 2001 operators"), "{error}");
    let longest = chain(MAX_CHAIN);
    let pool_thread = std::thread::Builder::new().stack_size(2 << 20);
    let outputs = pool_thread.spawn(move || longest.run(&[f32s([1], &[1.0])])).unwrap().join().unwrap();
    assert_eq!(outputs, [f32s([1], &[1.0])]);
}
