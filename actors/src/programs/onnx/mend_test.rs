//! Each operator that is said in others: what it should give, and that rten alone still gives something else.

use remex_protocol::tensor::{Bool, Tensor};

use super::super::proto::elem;
use super::super::test_model::{TestModel, f32s, i64s};

#[track_caller]
fn check(model: &TestModel, inputs: &[Tensor], expected: &[Tensor]) {
    assert_eq!(model.run(inputs), expected);
    assert_ne!(
        model.rten_alone(inputs),
        expected,
        "rten computes this right by itself now: take the operator out of mend.rs"
    );
}

#[test]
fn of_equal_elements_the_first_is_taken() {
    let arg = |op: &str, axis: i64, keep: i64, dims: &str| {
        TestModel::new(17)
            .input("x", elem::FLOAT, "n 3")
            .node(op, "x", "y")
            .int("axis", axis)
            .int("keepdims", keep)
            .output("y", elem::INT64, dims)
    };
    let x = f32s([2, 3], &[1.0, 5.0, 5.0, 2.0, 2.0, 5.0]);
    let inputs = std::slice::from_ref(&x);
    check(&arg("ArgMax", 1, 0, "n"), inputs, &[i64s([2], &[1, 2])]);
    check(&arg("ArgMax", -1, 1, "n 1"), inputs, &[i64s([2, 1], &[1, 2])]);
    check(&arg("ArgMin", -1, 1, "n 1"), inputs, &[i64s([2, 1], &[0, 0])]);
    check(&arg("ArgMax", 0, 0, "3"), inputs, &[i64s([3], &[1, 0, 0])]);
    check(&arg("ArgMin", -2, 0, "3"), &[f32s([2, 3], &[1.0; 6])], &[i64s([3], &[0, 0, 0])]);

    let last = arg("ArgMax", 1, 0, "n").int("select_last_index", 1);
    assert_eq!(last.run(inputs), [i64s([2], &[2, 2])]);
}

#[test]
fn what_differs_from_zero_is_true() {
    let cast = |from| {
        TestModel::new(17)
            .input("x", from, "n")
            .node("Cast", "x", "b")
            .int("to", i64::from(elem::BOOL))
            .node("Cast", "b", "y")
            .int("to", i64::from(elem::FLOAT))
            .output("b", elem::BOOL, "n")
            .output("y", elem::FLOAT, "n")
    };
    let bools = |values: &[bool]| {
        let values: Vec<Bool> = values.iter().map(|&value| value.into()).collect();
        Tensor::from_slice([values.len() as u64], &values).unwrap()
    };
    let x = f32s([5], &[0.0, -0.0, 0.5, 2.0, f32::NAN]);
    let expected = [bools(&[false, false, true, true, true]), f32s([5], &[0.0, 0.0, 1.0, 1.0, 1.0])];
    check(&cast(elem::FLOAT), &[x], &expected);
    let expected = [bools(&[true, false, true]), f32s([3], &[1.0, 0.0, 1.0])];
    check(&cast(elem::INT64), &[i64s([3], &[-7, 0, 1])], &expected);
}

#[test]
fn zero_has_no_sign() {
    let sign = |elem| TestModel::new(17).input("x", elem, "n").node("Sign", "x", "y").output("y", elem, "n");
    let x = f32s([4], &[-2.5, 0.0, -0.0, 7.0]);
    check(&sign(elem::FLOAT), &[x], &[f32s([4], &[-1.0, 0.0, -0.0, 1.0])]);
    // Right in rten too, and still right.
    assert_eq!(sign(elem::INT64).run(&[i64s([3], &[-9, 0, 9])]), [i64s([3], &[-1, 0, 1])]);
}

#[test]
fn new_names_do_not_meet_those_of_the_model() {
    let model = TestModel::new(17)
        .input("remex_1", elem::FLOAT, "n")
        .node("Sign", "remex_1", "remex__2")
        .node("Sign", "remex__2", "remex_3")
        .output("remex_3", elem::FLOAT, "n");
    assert_eq!(model.run(&[f32s([2], &[-3.0, 0.0])]), [f32s([2], &[-1.0, 0.0])]);
}

#[test]
fn an_unnamed_node_is_named_in_errors_of_the_engine() {
    let mut model = TestModel::new(17)
        .input("x", elem::FLOAT, "1 1 4 4")
        .node("MaxPool", "x", "y")
        .ints("kernel_shape", &[2, 2])
        .ints("dilations", &[2, 2])
        .output("y", elem::FLOAT, "1 1 ? ?");
    model.graph().node[0].name = None;
    let error = model.refusal();
    assert!(error.contains("node \"MaxPool:y\" (MaxPool)") && error.contains("dilations"), "{error}");
}
