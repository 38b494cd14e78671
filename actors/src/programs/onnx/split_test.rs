//! Tests of cutting.

use remex_protocol::{ErrorCode, tensor::Tensor};

use super::super::proto::{AttributeProto, GraphProto, elem};
use super::super::test_model::{TestModel, attribute, dense, f32s, i64s, node, value};
use super::super::{OnnxModel, split};

fn stages(model: &TestModel, at: &[&str]) -> (OnnxModel, OnnxModel) {
    let (head, tail) = split(&model.bytes(), at).unwrap();
    (OnnxModel::compile(&head).unwrap(), OnnxModel::compile(&tail).unwrap())
}

fn names(model: &OnnxModel) -> (Vec<String>, Vec<String>) {
    let list =
        |args: &[remex_protocol::signature::Arg]| args.iter().map(|arg| format!("{}: {arg}", arg.name)).collect();
    (list(&model.signature().inputs), list(&model.signature().outputs))
}

#[test]
fn two_stages_give_what_the_whole_gives() {
    let x = [f32s([2, 3], &[1., 2., 3., -4., 5., -6.])];
    for at in ["h", "s"] {
        let (head, tail) = stages(&dense(), &[at]);
        assert_eq!(names(&head), (vec!["x: f32[n,3]".to_owned()], vec![format!("{at}: f32[n,2]")]));
        assert_eq!(names(&tail), (vec![format!("{at}: f32[n,2]")], vec!["y: f32[n,2]".to_owned()]));
        assert_eq!(tail.run(&head.run(&x).unwrap()).unwrap(), dense().run(&x));
    }
}

#[test]
fn each_stage_has_its_own_constants_only() {
    let (head, tail) = split(&dense().bytes(), &["h"]).unwrap();
    let constants = |bytes: &[u8]| -> Vec<String> {
        let model = super::gate::open(bytes, 1 << 20).unwrap();
        model.graph.unwrap().initializer.into_iter().filter_map(|tensor| tensor.name).collect()
    };
    assert_eq!((constants(&head), constants(&tail)), (vec!["w".to_owned()], vec!["b".to_owned()]));
}

#[test]
fn types_that_are_not_recorded_are_inferred() {
    let mut model = dense();
    model.graph().value_info.clear();
    let (head, tail) = stages(&model, &["h"]);
    assert_eq!(names(&tail).0, ["h: f32[n,2]"]);
    let x = [f32s([1, 3], &[1., 0., -1.])];
    assert_eq!(tail.run(&head.run(&x).unwrap()).unwrap(), model.run(&x));

    let ints = TestModel::new(17).input("x", elem::INT64, "n").node("Neg", "x", "a").node("Neg", "a", "y").output(
        "y",
        elem::INT64,
        "n",
    );
    let error = split(&ints.bytes(), &["a"]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.to_string().contains("the type of \"a\" is not recorded"), "{error}");
}

/// `y` needs the cut tensor `h`, the model's second input by way of a branch, and a value that is made before the cut.
fn tangled() -> TestModel {
    let branch = |op: &str| GraphProto {
        node: vec![node(op, "m", op)],
        output: vec![value(op, elem::FLOAT, "n 2")],
        ..Default::default()
    };
    let then = AttributeProto { g: Some(Box::new(branch("Neg"))), ..attribute("then_branch", 5) };
    let other = AttributeProto { g: Some(Box::new(branch("Abs"))), ..attribute("else_branch", 5) };
    dense()
        .input("c", elem::BOOL, "")
        .input("k", elem::FLOAT, "n 2")
        .node("Mul", "k k", "m")
        .node("If", "c", "i")
        .attr(then)
        .attr(other)
        .node("Sub", "y i", "z")
        .output("z", elem::FLOAT, "n 2")
}

#[test]
fn a_stage_takes_what_it_needs_of_the_inputs() {
    let model = tangled();
    let (head, tail) = stages(&model, &["s"]);
    assert_eq!(names(&head).0, ["x: f32[n,3]"]);
    assert_eq!(names(&tail).0, ["s: f32[n,2]", "c: bool[]", "k: f32[n,2]"]);
    let (x, k) = (f32s([1, 3], &[1., 2., 3.]), f32s([1, 2], &[-1., 2.]));
    for c in [false, true] {
        let c = Tensor::scalar(remex_protocol::tensor::Bool::from(c)).unwrap();
        let passed = head.run(std::slice::from_ref(&x)).unwrap();
        let outputs = tail.run(&[passed[0].clone(), c.clone(), k.clone()]).unwrap();
        assert_eq!(outputs, model.run(&[x.clone(), c, k.clone()]));
    }
    let (head, tail) = stages(&model, &["m", "h"]);
    assert_eq!(
        names(&head),
        (
            vec!["x: f32[n,3]".to_owned(), "k: f32[n,2]".to_owned()],
            vec!["m: f32[n,2]".to_owned(), "h: f32[n,2]".to_owned()]
        )
    );
    assert_eq!(names(&tail).0, ["m: f32[n,2]", "h: f32[n,2]", "c: bool[]"]);
}

#[test]
fn a_place_that_is_none_is_named() {
    let cut = |at: &[&str], expected: &str| {
        let error = split(&tangled().bytes(), at).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    cut(&[], "no tensor to cut at is named");
    cut(&["h", "h"], "\"h\" is named twice");
    cut(&["nowhere"], "no operator of the model's own graph computes \"nowhere\"");
    cut(&["x"], "computes \"x\"");
    cut(&["w"], "computes \"w\"");
    cut(&["Neg"], "computes \"Neg\"");
    cut(&["h", "s"], "no output of the model needs \"h\"");
    assert_eq!(split(&[1, 2, 3], &["h"]).unwrap_err().code(), ErrorCode::MalformedProgram);
}

#[test]
fn integers_are_passed_as_they_are_declared() {
    let model = TestModel::new(17)
        .input("x", elem::INT64, "n")
        .node("Neg", "x", "a")
        .value_info("a", elem::INT64, "n")
        .node("Neg", "a", "y")
        .output("y", elem::INT64, "n");
    let (head, tail) = stages(&model, &["a"]);
    let passed = head.run(&[i64s([2], &[1, -2])]).unwrap();
    assert_eq!(passed, [i64s([2], &[-1, 2])]);
    assert_eq!(tail.run(&passed).unwrap(), [i64s([2], &[1, -2])]);
}
