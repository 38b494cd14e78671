//! Ops that compute, against results worked out by hand.

use half::{bf16, f16};
use remex_protocol::{
    attrs::Attrs,
    tensor::{Bool, Element, Tensor},
};

use super::{bools, none, ok, run, tensor};

fn binary<T: Element + PartialEq>(name: &str, a: &[T], b: &[T], expected: &[T]) {
    let made = ok(name, &[tensor([a.len() as u64], a), tensor([b.len() as u64], b)], none());
    assert_eq!(made.elements::<T>().unwrap(), expected, "{name}");
}

fn unary<T: Element + PartialEq>(name: &str, x: &[T], expected: &[T]) {
    let made = ok(name, &[tensor([x.len() as u64], x)], none());
    assert_eq!(made.elements::<T>().unwrap(), expected, "{name}");
}

#[test]
fn pairs_of_numbers_are_computed() {
    binary("add", &[1.5f32, -2.0], &[2.0, 0.5], &[3.5, -1.5]);
    binary("sub", &[1.5f64, -2.0], &[2.0, 0.5], &[-0.5, -2.5]);
    binary("mul", &[3, -4], &[5, 6], &[15, -24]);
    binary("div", &[7, -7, 7, 0], &[2, 2, -2, 5], &[3, -3, -3, 0]);
    binary("div", &[1.0f32, -1.0, 6.0], &[0.0, 0.0, 4.0], &[f32::INFINITY, f32::NEG_INFINITY, 1.5]);
    binary("minimum", &[1i64, 5], &[3, -2], &[1, -2]);
    binary("maximum", &[1.0f32, 5.0], &[3.0, -2.0], &[3.0, 5.0]);
    binary("pow", &[2.0f64, 9.0], &[10.0, 0.5], &[1024.0, 3.0]);
    binary("pow", &[2i64, -3, 0, 7], &[10, 3, 0, 1], &[1024, -27, 1, 7]);
}

#[test]
fn numbers_are_computed() {
    unary("neg", &[1, -2, 0], &[-1, 2, 0]);
    unary("abs", &[-1.5f32, 2.0], &[1.5, 2.0]);
    unary("relu", &[-3i64, 4], &[0, 4]);
    unary("relu", &[-0.5f32, 0.5], &[0.0, 0.5]);
    unary("exp", &[0.0f64, 1.0], &[1.0, std::f64::consts::E]);
    unary("log", &[1.0f32, 0.0], &[0.0, f32::NEG_INFINITY]);
    unary("sqrt", &[9.0f64, 0.25], &[3.0, 0.5]);
    unary("tanh", &[0.0f32, 100.0, -100.0], &[0.0, 1.0, -1.0]);
    unary("sigmoid", &[0.0f32, 200.0, -200.0], &[0.5, 1.0, 0.0]);
}

#[test]
fn half_precision_is_computed_in_single_precision() {
    let half = |x: f32| f16::from_f32(x);
    binary("add", &[half(1.0), half(2048.0)], &[half(0.5), half(1.0)], &[half(1.5), half(2048.0)]);
    binary("mul", &[bf16::from_f32(3.0)], &[bf16::from_f32(-2.0)], &[bf16::from_f32(-6.0)]);
    unary("sqrt", &[half(4.0)], &[half(2.0)]);
    // In half precision a sum of ones would end at 2048.
    let ones = tensor([4000], &[f16::ONE; 4000]);
    assert_eq!(ok("sum", std::slice::from_ref(&ones), none()).elements::<f16>().unwrap(), [half(4000.0)]);
    assert_eq!(ok("mean", &[ones], none()).elements::<f16>().unwrap(), [f16::ONE]);
    let (a, b) = (tensor([1, 2], &[half(1.0), half(2.0)]), tensor([2, 1], &[half(3.0), half(4.0)]));
    assert_eq!(ok("matmul", &[a, b], none()).elements::<f16>().unwrap(), [half(11.0)]);
}

#[test]
fn integers_wrap_around() {
    binary("add", &[i32::MAX], &[1], &[i32::MIN]);
    binary("sub", &[i64::MIN], &[1], &[i64::MAX]);
    binary("mul", &[i32::MAX], &[2], &[-2]);
    binary("pow", &[2i32, 3], &[32, i32::MAX], &[0, 3i32.wrapping_pow(i32::MAX as u32)]);
    unary("neg", &[i32::MIN], &[i32::MIN]);
    unary("abs", &[i64::MIN], &[i64::MIN]);
    let two = tensor([2], &[i32::MAX, 2]);
    assert_eq!(ok("sum", std::slice::from_ref(&two), none()).elements::<i32>().unwrap(), [i32::MIN + 1]);
    assert_eq!(ok("prod", &[two], none()).elements::<i32>().unwrap(), [-2]);
    let (a, b) = (tensor([1, 2], &[i64::MAX, 1]), tensor([2, 1], &[2i64, 1]));
    assert_eq!(ok("matmul", &[a, b], none()).elements::<i64>().unwrap(), [-1]);
}

#[test]
fn what_is_not_a_number_stays() {
    let nan = |tensor: Tensor| tensor.elements::<f32>().unwrap().iter().map(|x| x.is_nan()).collect::<Vec<_>>();
    let (a, b) = (tensor([2], &[f32::NAN, 1.0]), tensor([2], &[1.0, f32::NAN]));
    for name in ["minimum", "maximum", "add"] {
        assert_eq!(nan(ok(name, &[a.clone(), b.clone()], none())), [true, true], "{name}");
    }
    for name in ["min", "max", "sum", "prod", "mean"] {
        assert_eq!(nan(ok(name, std::slice::from_ref(&b), none())), [true], "{name}");
    }
    assert_eq!(nan(ok("relu", std::slice::from_ref(&b), none())), [false, true]);
    let three = tensor([4], &[1.0f32, f32::NAN, 9.0, f32::NAN]);
    assert_eq!(ok("argmax", &[three], none().with("axis", 0i64)).elements::<i64>().unwrap(), [1]);
}

#[test]
fn elements_are_compared() {
    let (a, b) = (tensor([4], &[1.0f32, 2.0, 3.0, f32::NAN]), tensor([4], &[2.0f32, 2.0, 2.0, f32::NAN]));
    let check = |name: &str, expected: [bool; 4]| {
        assert_eq!(ok(name, &[a.clone(), b.clone()], none()), bools([4], expected), "{name}");
    };
    check("equal", [false, true, false, false]);
    check("not_equal", [true, false, true, true]);
    check("less", [true, false, false, false]);
    check("less_equal", [true, true, false, false]);
    check("greater", [false, false, true, false]);
    check("greater_equal", [false, true, true, false]);
    let large = [tensor([2], &[u64::MAX, 0]), tensor([1], &[1u64])];
    assert_eq!(ok("greater", &large, none()), bools([2], [true, false]));
    let truths = [bools([2], [true, false]), bools([2], [true, true])];
    assert_eq!(ok("equal", &truths, none()), bools([2], [true, false]));
}

#[test]
fn truths_are_combined() {
    let (a, b) = (bools([4], [false, false, true, true]), bools([4], [false, true, false, true]));
    let pair = [a.clone(), b];
    assert_eq!(ok("logical_and", &pair, none()), bools([4], [false, false, false, true]));
    assert_eq!(ok("logical_or", &pair, none()), bools([4], [false, true, true, true]));
    assert_eq!(ok("logical_not", &[a], none()), bools([4], [true, true, false, false]));
}

#[test]
fn one_of_two_is_selected() {
    let inputs = [bools([2, 1], [true, false]), tensor([2], &[1u8, 2]), tensor([], &[9u8])];
    assert_eq!(ok("select", &inputs, none()), tensor([2, 2], &[1u8, 2, 9, 9]));
    let truths = [bools([], [false]), bools([1], [true]), bools([1], [false])];
    assert_eq!(ok("select", &truths, none()).elements::<Bool>().unwrap(), [Bool(0)]);
}

#[test]
fn axes_are_reduced() {
    let x = tensor([2, 3], &[1, 2, 3, 4, 5, 6]);
    let check = |name: &str, attrs: Attrs, expected: Tensor| {
        assert_eq!(ok(name, std::slice::from_ref(&x), attrs.clone()), expected, "{name} {attrs:?}");
    };
    let over = |axes: &[i64]| none().with("axes", axes.to_vec());
    check("sum", none(), tensor([], &[21]));
    check("sum", over(&[0]), tensor([3], &[5, 7, 9]));
    check("sum", over(&[-1]).with("keepdims", true), tensor([2, 1], &[6, 15]));
    check("sum", over(&[1, 0]), tensor([], &[21]));
    check("sum", over(&[]), x.clone());
    check("prod", over(&[0]), tensor([3], &[4, 10, 18]));
    check("min", over(&[1]), tensor([2], &[1, 4]));
    check("max", over(&[0]), tensor([3], &[4, 5, 6]));
    check("max", none().with("keepdims", true), tensor([1, 1], &[6]));
    check("mean", over(&[1]), tensor([2], &[2, 5]));
    check("mean", over(&[0]), tensor([3], &[2, 3, 4]));
    check("argmax", none().with("axis", -1i64), tensor([2], &[2i64, 2]));
    check("argmax", none().with("axis", 0i64).with("keepdims", true), tensor([1, 3], &[1i64, 1, 1]));
    let first = tensor([4], &[1.0f32, 7.0, 7.0, 2.0]);
    assert_eq!(ok("argmax", &[first], none().with("axis", 0i64)), tensor([], &[1i64]));
}

#[test]
fn an_integer_mean_is_rounded_toward_zero_and_does_not_overflow() {
    let mean = |x: &[i64]| ok("mean", &[tensor([x.len() as u64], x)], none()).elements::<i64>().unwrap()[0];
    assert_eq!((mean(&[1, 2]), mean(&[-1, -2]), mean(&[-1, 0])), (1, -1, 0));
    assert_eq!(mean(&[i64::MAX, i64::MAX, i64::MAX]), i64::MAX);
    assert_eq!(mean(&[i64::MIN, i64::MIN]), i64::MIN);
}

#[test]
fn of_nothing_there_is_a_sum_and_a_product_only() {
    let nothing = tensor::<f32>([2, 0], &[]);
    let over = none().with("axes", vec![1i64]);
    assert_eq!(ok("sum", std::slice::from_ref(&nothing), over.clone()), tensor([2], &[0f32, 0.0]));
    assert_eq!(ok("prod", std::slice::from_ref(&nothing), over.clone()), tensor([2], &[1f32, 1.0]));
    for name in ["min", "max", "mean"] {
        let error = run(name, std::slice::from_ref(&nothing), &over).unwrap_err();
        assert!(error.message.contains("of no elements along axis 1"), "{error}");
    }
    assert!(run("argmax", std::slice::from_ref(&nothing), &none().with("axis", 1i64)).is_err());
    let along = none().with("axes", vec![0i64]);
    assert_eq!(ok("max", &[nothing], along), tensor::<f32>([0], &[]));
    // Its sum over the last axis alone would be an array of 64 GiB.
    let long = tensor::<i64>([1 << 33, 0], &[]);
    assert_eq!(ok("sum", &[long], none()), tensor([], &[0i64]));
}

#[test]
fn matrices_are_multiplied() {
    let a = tensor([2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let b = tensor([3, 2], &[7f32, 8.0, 9.0, 10.0, 11.0, 12.0]);
    assert_eq!(ok("matmul", &[a, b], none()), tensor([2, 2], &[58f32, 64.0, 139.0, 154.0]));
    let (a, b) = (tensor([2, 1, 2], &[1i32, 2, 3, 4]), tensor([2, 1], &[10i32, 1]));
    assert_eq!(ok("matmul", &[a, b], none()), tensor([2, 1, 1], &[12, 34]));
    let (a, b) = (tensor([2, 1, 1, 1], &[2f64, 3.0]), tensor([2, 1, 1], &[5f64, 7.0]));
    assert_eq!(ok("matmul", &[a, b], none()), tensor([2, 2, 1, 1], &[10f64, 14.0, 15.0, 21.0]));
    let (a, b) = (tensor::<f32>([2, 0], &[]), tensor::<f32>([0, 2], &[]));
    assert_eq!(ok("matmul", &[a, b], none()), tensor([2, 2], &[0f32; 4]));
}
