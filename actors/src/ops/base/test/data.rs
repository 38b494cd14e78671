//! Ops that move or make data, against results worked out by hand.

use half::{bf16, f16};
use remex_protocol::{
    attrs::Attrs,
    tensor::{DType, Shape, Tensor, TensorMetadata},
};

use super::{bools, none, ok, tensor};

fn ints(name: &str, values: &[i64]) -> Attrs {
    none().with(name, values.to_vec())
}

fn six() -> Tensor {
    tensor([2, 3], &[1u16, 2, 3, 4, 5, 6])
}

#[test]
fn a_shape_is_changed_without_a_copy() {
    let check = |name: &str, attrs: Attrs, dims: &[u64]| {
        let made = ok(name, &[six()], attrs.clone());
        assert_eq!(made.shape().dims(), dims, "{name} {attrs:?}");
        assert_eq!(made.elements::<u16>().unwrap(), [1, 2, 3, 4, 5, 6]);
    };
    check("identity", none(), &[2, 3]);
    check("reshape", ints("shape", &[3, 2]), &[3, 2]);
    check("reshape", ints("shape", &[-1]), &[6]);
    check("reshape", ints("shape", &[1, -1, 2]), &[1, 3, 2]);
    check("reshape", none().with("shape", Shape::from([6, 1])), &[6, 1]);
    check("expand_dims", none().with("axis", 0i64), &[1, 2, 3]);
    check("expand_dims", none().with("axis", -1i64), &[2, 3, 1]);
    let input = six();
    let made = ok("reshape", std::slice::from_ref(&input), ints("shape", &[-1]));
    assert_eq!(made.bytes().as_ptr(), input.bytes().as_ptr());
    let thin = tensor([1, 2, 1], &[1i8, 2]);
    assert_eq!(ok("squeeze", std::slice::from_ref(&thin), none()), tensor([2], &[1i8, 2]));
    assert_eq!(ok("squeeze", &[thin], ints("axes", &[-1])), tensor([1, 2], &[1i8, 2]));
    let empty = tensor::<u8>([0, 4], &[]);
    assert_eq!(ok("reshape", &[empty], ints("shape", &[2, -1])), tensor::<u8>([2, 0], &[]));
}

#[test]
fn axes_are_exchanged() {
    assert_eq!(ok("transpose", &[six()], none()), tensor([3, 2], &[1u16, 4, 2, 5, 3, 6]));
    assert_eq!(ok("transpose", &[six()], ints("perm", &[0, 1])), six());
    let cube = tensor([1, 2, 3], &[1u64, 2, 3, 4, 5, 6]);
    let made = ok("transpose", &[cube], ints("perm", &[-1, 0, 1]));
    assert_eq!(made, tensor([3, 1, 2], &[1u64, 4, 2, 5, 3, 6]));
    assert_eq!(ok("transpose", &[tensor([], &[5u8])], none()), tensor([], &[5u8]));
}

#[test]
fn tensors_are_put_together() {
    let more = tensor([2, 1], &[7u16, 8]);
    let made = ok("concat", &[six(), more.clone(), more], none().with("axis", -1i64));
    assert_eq!(made, tensor([2, 5], &[1u16, 2, 3, 7, 7, 4, 5, 6, 8, 8]));
    let made = ok("concat", &[six(), tensor::<u16>([0, 3], &[])], none().with("axis", 0i64));
    assert_eq!(made, six());
}

#[test]
fn a_part_is_cut_out() {
    let row = tensor([5], &[10i64, 11, 12, 13, 14]);
    let check = |begin: i64, end: i64, stride: i64, expected: &[i64]| {
        let attrs = ints("begin", &[begin]).with("end", vec![end]).with("stride", vec![stride]);
        let made = ok("slice", std::slice::from_ref(&row), attrs);
        assert_eq!(made.elements::<i64>().unwrap(), expected, "{begin}:{end}:{stride}");
    };
    check(1, 3, 1, &[11, 12]);
    check(0, 5, 2, &[10, 12, 14]);
    check(1, 5, 2, &[11, 13]);
    check(-2, i64::MAX, 1, &[13, 14]);
    check(0, -1, 3, &[10, 13]);
    check(4, i64::MIN, -1, &[14, 13, 12, 11, 10]);
    check(4, 0, -1, &[14, 13, 12, 11]);
    check(3, 0, -2, &[13, 11]);
    check(i64::MAX, i64::MIN, -3, &[14, 11]);
    check(-1, 0, -3, &[14, 11]);
    check(3, 1, 1, &[]);
    check(1, 3, -1, &[]);
    check(9, 99, 1, &[]);
    check(2, 5, i64::MAX, &[12]);
    check(2, i64::MIN, i64::MIN, &[12]);
    check(0, 1, i64::MIN, &[]);
    let attrs = ints("begin", &[0, 1]).with("end", vec![2i64, 3]);
    assert_eq!(ok("slice", &[six()], attrs), tensor([2, 2], &[2u16, 3, 5, 6]));
}

#[test]
fn data_of_every_type_is_moved() {
    for &dtype in DType::ALL {
        let bytes: Vec<u8> =
            (0..6 * dtype.size_bytes()).map(|i| if dtype == DType::Bool { i % 2 } else { i } as u8).collect();
        let size = dtype.size_bytes() as usize;
        let element = |i: usize| bytes[i * size..(i + 1) * size].to_vec();
        let of = |dims: [u64; 2], order: &[usize]| {
            let data: Vec<u8> = order.iter().flat_map(|&i| element(i)).collect();
            Tensor::from_bytes(TensorMetadata::new(dtype, dims), data.into()).unwrap()
        };
        let x = of([2, 3], &[0, 1, 2, 3, 4, 5]);
        assert_eq!(ok("transpose", std::slice::from_ref(&x), none()), of([3, 2], &[0, 3, 1, 4, 2, 5]));
        let twice = ok("concat", &[x.clone(), x.clone()], none().with("axis", 1i64));
        assert_eq!(twice, of([2, 6], &[0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]));
        let attrs = ints("begin", &[1, 2]).with("end", vec![2i64, 0]).with("stride", vec![1i64, -1]);
        assert_eq!(ok("slice", std::slice::from_ref(&x), attrs), of([1, 2], &[5, 4]));
        let inputs = [bools([2, 1], [true, false]), x.clone(), of([1, 1], &[5])];
        assert_eq!(ok("select", &inputs, none()), of([2, 3], &[0, 1, 2, 5, 5, 5]));
        let scalar = of([1, 1], &[4]).reshape([]).unwrap();
        assert_eq!(ok("fill", &[scalar], ints("shape", &[2, 2])), of([2, 2], &[4; 4]));
        assert_eq!(ok("identity", std::slice::from_ref(&x), none()), x);
    }
}

#[test]
fn elements_are_converted() {
    let to = |x: Tensor, dtype: DType| ok("cast", &[x], none().with("dtype", dtype));
    assert_eq!(to(tensor([2], &[300i32, -1]), DType::U8), tensor([2], &[44u8, 255]));
    assert_eq!(to(tensor([4], &[1.9f32, -1.9, 1e10, f32::NAN]), DType::I32), tensor([4], &[1, -1, i32::MAX, 0]));
    assert_eq!(to(tensor([3], &[0.0f64, 0.5, f64::NAN]), DType::Bool), bools([3], [false, true, true]));
    assert_eq!(to(bools([2], [true, false]), DType::F16), tensor([2], &[f16::ONE, f16::ZERO]));
    assert_eq!(to(tensor([1], &[u64::MAX]), DType::F64), tensor([1], &[18446744073709551616f64]));
    // By way of f64 this would be rounded twice, to the even neighbour.
    assert_eq!(to(tensor([1], &[(1i64 << 54) + (1 << 30) + 1]), DType::F32), tensor([1], &[18014400656965632f32]));
    assert_eq!(to(tensor([1], &[1e6f32]), DType::F16), tensor([1], &[f16::INFINITY]));
    assert_eq!(to(tensor([1], &[f16::from_f32(1.5)]), DType::Bf16), tensor([1], &[bf16::from_f32(1.5)]));
    for &from in DType::ALL {
        for &dtype in DType::ALL {
            let one = to(bools([2], [true, false]), from);
            assert_eq!(to(to(one.clone(), dtype), from), one, "{from} {dtype}");
        }
    }
}

#[test]
fn constants_are_made() {
    let make = |dtype: DType, shape: &[i64]| none().with("dtype", dtype).with("shape", shape.to_vec());
    let made = ok("constant", &[], make(DType::I8, &[2]).with("values", vec![-128i64, 127]));
    assert_eq!(made, tensor([2], &[-128i8, 127]));
    let made = ok("constant", &[], make(DType::F32, &[2, 2]).with("values", 1.5));
    assert_eq!(made, tensor([2, 2], &[1.5f32; 4]));
    let made = ok("constant", &[], make(DType::F16, &[2]).with("values", vec![f64::INFINITY, 2.0]));
    assert_eq!(made, tensor([2], &[f16::INFINITY, f16::from_f32(2.0)]));
    let made = ok("constant", &[], make(DType::Bool, &[]).with("values", true));
    assert_eq!(made, bools([], [true]));
    let made = ok("constant", &[], make(DType::F64, &[0]).with("values", Vec::<i64>::new()));
    assert_eq!(made, tensor::<f64>([0], &[]));
}

fn random(dtype: DType, count: i64, seed: i64) -> Attrs {
    none().with("dtype", dtype).with("shape", vec![count]).with("seed", seed)
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for name in ["random_uniform", "random_normal"] {
        for dtype in [DType::F16, DType::Bf16, DType::F32, DType::F64] {
            let made = |seed: i64| ok(name, &[], random(dtype, 100, seed));
            assert_eq!(made(-7), made(-7));
            assert_ne!(made(-7), made(8));
        }
    }
    // What callers have seen stays. These were computed from the key stream by another program.
    let made = ok("random_uniform", &[], random(DType::F64, 2, 1));
    assert_eq!(made.elements::<f64>().unwrap(), [0.381489413238261, 0.2949273257816749]);
    let made = ok("random_normal", &[], random(DType::F64, 2, 1));
    // The last bits are those of the system's logarithm and sine.
    let expected = [-0.27305001487063346, 0.9414486870263347];
    assert!(made.elements::<f64>().unwrap().iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-12));
}

#[test]
fn random_numbers_are_distributed_as_asked_for() {
    let moments = |x: &[f32]| {
        let mean = x.iter().sum::<f32>() / x.len() as f32;
        (mean, (x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / x.len() as f32).sqrt())
    };
    let attrs = random(DType::F32, 20_000, 3).with("low", -2.0).with("high", 4.0);
    let made = ok("random_uniform", &[], attrs);
    let x = made.elements::<f32>().unwrap();
    assert!(x.iter().all(|x| (-2.0..4.0).contains(x)));
    let (mean, deviation) = moments(x);
    assert!((mean - 1.0).abs() < 0.05 && (deviation - 3f32.sqrt()).abs() < 0.05, "{mean} {deviation}");
    let made = ok("random_normal", &[], random(DType::F32, 20_000, 3).with("mean", 5.0).with("stddev", 2.0));
    let (mean, deviation) = moments(made.elements::<f32>().unwrap());
    assert!((mean - 5.0).abs() < 0.05 && (deviation - 2.0).abs() < 0.05, "{mean} {deviation}");
}

#[test]
fn the_upper_bound_is_not_drawn_in_any_type() {
    // Between these two there is no other number, so that half of what is drawn would be rounded up.
    let narrow = |dtype: DType, next: f64| {
        let made = ok("random_uniform", &[], random(dtype, 200, 1).with("low", 1.0).with("high", next));
        let made = ok("cast", &[made], none().with("dtype", DType::F64));
        assert_eq!(made.elements::<f64>().unwrap(), [1.0; 200], "{dtype}");
    };
    narrow(DType::F16, 1.0 + 2f64.powi(-10));
    narrow(DType::Bf16, 1.0 + 2f64.powi(-7));
    narrow(DType::F32, 1.0 + f64::from(f32::EPSILON));
    narrow(DType::F64, 1.0 + f64::EPSILON);
    let made = ok("random_uniform", &[], random(DType::Bf16, 5000, 1));
    assert!(made.elements::<bf16>().unwrap().iter().all(|x| (0.0..1.0).contains(&x.to_f32())));
    let whole = random(DType::F32, 100, 1).with("low", f64::from(f32::MIN)).with("high", f64::from(f32::MAX));
    assert!(ok("random_uniform", &[], whole).elements::<f32>().unwrap().iter().all(|x| x.is_finite()));
}
