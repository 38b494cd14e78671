//! ONNX Runtime as the oracle: both engines give the same on small models. Needs `ORT_DYLIB_PATH`.

use remex_protocol::{
    ErrorCode,
    tensor::{Bool, Tensor},
};

use super::super::proto::elem;
use super::super::test_model::{TestModel, dense, f32s, i64s};
use super::super::{EngineKind, OnnxError, OnnxModel, OnnxOptions};
use super::LIBRARY;

fn compile(model: &TestModel) -> Result<OnnxModel, OnnxError> {
    let options = OnnxOptions { engine: EngineKind::Ort, ..Default::default() };
    OnnxModel::compile_with(&model.bytes(), &options)
}

/// Says whether there is a library to test with, and skips aloud if not.
fn is_there(test: &str) -> bool {
    let there = std::env::var_os(LIBRARY).is_some_and(|path| !path.is_empty());
    if !there {
        println!("skipped {test}: {LIBRARY} is not set");
    }
    there
}

#[test]
fn without_the_library_the_error_says_what_is_missing() {
    if std::env::var_os(LIBRARY).is_some() {
        return println!("skipped: {LIBRARY} is set");
    }
    let error = compile(&dense()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::FailedPrecondition);
    assert!(error.to_string().contains("ORT_DYLIB_PATH does not name the library"), "{error}");
}

#[track_caller]
fn same(model: &TestModel, inputs: &[Tensor]) {
    let ort = compile(model).unwrap().run(inputs).unwrap();
    let rten = model.run(inputs);
    assert_eq!(ort.len(), rten.len());
    for (ort, rten) in ort.iter().zip(&rten) {
        assert_eq!(ort.metadata(), rten.metadata());
        if ort.size_bytes() == 0 {
            continue;
        }
        match (ort.elements::<f32>(), rten.elements::<f32>()) {
            (Ok(a), Ok(b)) => {
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0)), "{a:?} {b:?}")
            }
            _ => assert_eq!(ort, rten),
        }
    }
}

#[test]
fn both_engines_give_the_same() {
    if !is_there("both_engines_give_the_same") {
        return;
    }
    let x = f32s([2, 3], &[0.5, -0.0, 2.0, 2.0, -7.0, 2.0]);
    same(&dense(), std::slice::from_ref(&x));
    let unary =
        |op: &str, from, to| TestModel::new(17).input("x", from, "n 3").node(op, "x", "y").output("y", to, "? ?");
    for op in ["Sign", "Softmax", "Exp", "Tanh", "Erf"] {
        same(&unary(op, elem::FLOAT, elem::FLOAT), std::slice::from_ref(&x));
    }
    for op in ["ArgMax", "ArgMin"] {
        for last in [0, 1] {
            let model = unary(op, elem::FLOAT, elem::INT64).int("axis", 1).int("select_last_index", last);
            same(&model, std::slice::from_ref(&x));
        }
    }
    same(&unary("Cast", elem::FLOAT, elem::BOOL).int("to", 9), std::slice::from_ref(&x));
    let flags = Tensor::from_slice([2, 3], &[1, 0, 1, 1, 1, 0].map(Bool)).unwrap();
    same(&unary("Not", elem::BOOL, elem::BOOL), std::slice::from_ref(&flags));
    same(&unary("Cast", elem::BOOL, elem::INT64).int("to", 7), &[flags]);
    same(&unary("Neg", elem::INT64, elem::INT64), &[i64s([1, 3], &[1, 0, -5])]);
    same(&unary("Relu", elem::FLOAT, elem::FLOAT), &[f32s([0, 3], &[])]);
    let softmax = |axis| {
        let model = TestModel::new(9).input("x", elem::FLOAT, "n 3 1").node("Softmax", "x", "y").int("axis", axis);
        model.output("y", elem::FLOAT, "n 3 1")
    };
    same(&softmax(1), &[f32s([2, 3, 1], &[0.5, 0.25, 2.0, 2.0, -7.0, 2.0])]);
    same(&softmax(2), &[f32s([2, 3, 1], &[0.5, 0.25, 2.0, 2.0, -7.0, 2.0])]);
}

#[test]
fn it_computes_in_types_that_rten_has_not() {
    if !is_there("it_computes_in_types_that_rten_has_not") {
        return;
    }
    let add = |elem| TestModel::new(17).input("a", elem, "n").node("Add", "a a", "y").output("y", elem, "n");
    let run = |elem, input: Tensor| compile(&add(elem)).unwrap().run(&[input]).unwrap().remove(0);
    let doubles = run(11, Tensor::from_slice([2], &[1.5f64, 1e300]).unwrap());
    assert_eq!(doubles.elements::<f64>().unwrap(), [3.0, 2e300]);
    let longs = run(elem::INT64, i64s([1], &[1 << 40]));
    assert_eq!(longs, i64s([1], &[1 << 41]));
    let halves = run(10, Tensor::from_slice([1], &[half::f16::from_f32(1.5)]).unwrap());
    assert_eq!(halves.elements::<half::f16>().unwrap(), [half::f16::from_f32(3.0)]);
}

#[test]
fn what_it_refuses_is_an_error() {
    if !is_there("what_it_refuses_is_an_error") {
        return;
    }
    let error = compile(&dense().node("Frobnicate", "y", "z").output("z", elem::FLOAT, "?")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CompilationFailed);
    assert!(error.to_string().contains("Frobnicate"), "{error}");
    let model = TestModel::new(17)
        .input("a", elem::FLOAT, "?")
        .input("b", elem::FLOAT, "?")
        .node("Add", "a b", "y")
        .output("y", elem::FLOAT, "?");
    let error = compile(&model).unwrap().run(&[f32s([2], &[0.0; 2]), f32s([3], &[0.0; 3])]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
}
