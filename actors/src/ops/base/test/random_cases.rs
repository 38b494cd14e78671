//! Random cases: broadcasting against a computation by index, and that every op gives what it said or refuses.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use remex_protocol::{
    ErrorCode,
    attrs::{Attr, Attrs},
    tensor::{Bool, DType, Shape, Tensor, TensorMetadata},
};

use super::{none, ok, run, tensor};
use crate::ops::base::{
    self, BaseOp,
    attributes::{Attribute, Kind},
};

fn shape(rng: &mut SmallRng, rank: usize) -> Vec<u64> {
    (0..rank).map(|_| *[0, 1, 2, 3, 3, 4].choose(rng).unwrap()).collect()
}

/// A shape that can be stretched to `full`.
fn part(rng: &mut SmallRng, full: &[u64]) -> Vec<u64> {
    let rank = rng.random_range(0..=full.len());
    full[full.len() - rank..].iter().map(|&len| if rng.random_bool(0.3) { 1 } else { len }).collect()
}

fn integers(rng: &mut SmallRng, dims: &[u64]) -> Tensor {
    let elements: Vec<i64> = (0..dims.iter().product()).map(|_| rng.random_range(-9..9)).collect();
    tensor(Shape::try_from(dims).unwrap(), &elements)
}

/// The element that stands at `index` of the stretched tensor.
fn at(tensor: &Tensor, index: &[u64]) -> i64 {
    let dims = tensor.shape().dims();
    let own = index[index.len() - dims.len()..].iter().zip(dims);
    let flat = own.fold(0, |flat, (&i, &len)| flat * len + if len == 1 { 0 } else { i });
    tensor.elements::<i64>().unwrap()[flat as usize]
}

fn indices(dims: &[u64]) -> Vec<Vec<u64>> {
    dims.iter().fold(vec![Vec::new()], |all, &len| {
        all.iter().flat_map(|index| (0..len).map(move |i| [&index[..], &[i]].concat())).collect()
    })
}

#[test]
fn broadcasting_is_the_same_as_by_index() {
    let mut rng = SmallRng::seed_from_u64(1);
    for case in 0..300 {
        let rank = rng.random_range(0..5);
        let full = shape(&mut rng, rank);
        let (a, b) = (part(&mut rng, &full), part(&mut rng, &full));
        let (a, b) = (integers(&mut rng, &a), integers(&mut rng, &b));
        let sum = ok("sub", &[a.clone(), b.clone()], none());
        let index = indices(sum.shape().dims());
        let expected: Vec<i64> = index.iter().map(|index| at(&a, index) - at(&b, index)).collect();
        assert_eq!(sum.elements::<i64>().unwrap(), expected, "case {case}: {a:?} {b:?}");
        let less = ok("less", &[a.clone(), b.clone()], none());
        let expected: Vec<Bool> = index.iter().map(|index| (at(&a, index) < at(&b, index)).into()).collect();
        assert_eq!(less.elements::<Bool>().unwrap(), expected, "case {case}");
        let chosen = ok("select", &[less.clone(), a.clone(), b.clone()], none());
        let expected: Vec<i64> = index.iter().map(|index| at(&a, index).min(at(&b, index))).collect();
        assert_eq!(chosen.elements::<i64>().unwrap(), expected, "case {case}");
    }
}

#[test]
fn batches_of_matrices_are_multiplied_as_by_index() {
    let mut rng = SmallRng::seed_from_u64(2);
    for case in 0..200 {
        let rank = rng.random_range(0..3);
        let batch = shape(&mut rng, rank);
        let [m, k, n] = [0; 3].map(|_| rng.random_range(0..5u64));
        let a_dims = [part(&mut rng, &batch), vec![m, k]].concat();
        let b_dims = [part(&mut rng, &batch), vec![k, n]].concat();
        let (a, b) = (integers(&mut rng, &a_dims), integers(&mut rng, &b_dims));
        let product = ok("matmul", &[a.clone(), b.clone()], none());
        let index = indices(product.shape().dims());
        let expected = index.iter().map(|index| {
            let [batch @ .., i, j] = &index[..] else { panic!("rank {}", index.len()) };
            (0..k).map(|l| at(&a, &[batch, &[*i, l]].concat()) * at(&b, &[batch, &[l, *j]].concat())).sum()
        });
        let expected: Vec<i64> = expected.collect();
        assert_eq!(product.elements::<i64>().unwrap(), expected, "case {case}: {a:?} {b:?}");
        let float = |x: &Tensor| ok("cast", std::slice::from_ref(x), none().with("dtype", DType::F32));
        assert_eq!(ok("matmul", &[float(&a), float(&b)], none()), float(&product), "case {case}");
    }
}

#[test]
fn reductions_are_the_same_as_by_index() {
    let mut rng = SmallRng::seed_from_u64(3);
    for case in 0..300 {
        let rank = rng.random_range(1..5);
        let x = {
            let dims = shape(&mut rng, rank);
            integers(&mut rng, &dims)
        };
        let axes: Vec<i64> = (0..rank as i64).filter(|_| rng.random_bool(0.5)).collect();
        let attrs = none().with("axes", axes.clone()).with("keepdims", true);
        let sum = ok("sum", std::slice::from_ref(&x), attrs.clone());
        let mut expected = vec![Vec::new(); sum.elements::<i64>().unwrap().len()];
        for index in indices(x.shape().dims()) {
            let kept = index.iter().enumerate().map(|(axis, &i)| if axes.contains(&(axis as i64)) { 0 } else { i });
            let flat = kept.zip(sum.shape().dims()).fold(0, |flat, (i, &len)| flat * len + i);
            expected[flat as usize].push(at(&x, &index));
        }
        let check = |name: &str, fold: fn(&[i64]) -> i64| {
            let expected: Vec<i64> = expected.iter().map(|group| fold(group)).collect();
            let made = ok(name, std::slice::from_ref(&x), attrs.clone());
            assert_eq!(made.elements::<i64>().unwrap(), expected, "case {case}: {name} {x:?} {axes:?}");
        };
        check("sum", |group| group.iter().sum());
        check("prod", |group| group.iter().fold(1i64, |product, x| product.wrapping_mul(*x)));
        if axes.iter().all(|axis| x.shape().dims()[*axis as usize] != 0) {
            check("max", |group| *group.iter().max().unwrap());
            check("min", |group| *group.iter().min().unwrap());
            check("mean", |group| group.iter().sum::<i64>() / group.len() as i64);
        }
    }
}

/// Attributes, right and wrong ones.
fn attrs(rng: &mut SmallRng, op: &BaseOp, rank: usize) -> Attrs {
    let mut attrs = none();
    for Attribute { name, kind, .. } in op.attrs {
        match rng.random_range(0..100) {
            0..10 => continue,
            10..13 => attrs.set(*name, any_value(rng)),
            _ => attrs.set(*name, value(rng, *kind, rank)),
        }
    }
    if rng.random_bool(0.01) {
        attrs.set("colour", 1i64);
    }
    attrs
}

fn value(rng: &mut SmallRng, kind: Kind, rank: usize) -> Attr {
    let list = |rng: &mut SmallRng| {
        let count = if rng.random_bool(0.7) { rank } else { rng.random_range(0..4) };
        (0..count).map(|_| integer(rng, -3..4)).collect()
    };
    match kind {
        Kind::Int => Attr::Int(integer(rng, -3..3)),
        Kind::Float => Attr::Float(float(rng)),
        Kind::Bool => Attr::Bool(rng.random()),
        Kind::DType => Attr::DType(*DType::ALL.choose(rng).unwrap()),
        Kind::Shape if rng.random() => Attr::Shape(Shape::try_from(shape(rng, 2)).unwrap()),
        Kind::Ints | Kind::Shape => Attr::Ints(list(rng)),
        Kind::Values => match rng.random_range(0..6) {
            0 => Attr::Int(integer(rng, 0..3)),
            1 => Attr::Float(float(rng)),
            2 => Attr::Bool(rng.random()),
            3 => Attr::Floats(vec![float(rng); rng.random_range(0..7)]),
            4 => Attr::Bools(vec![true; rng.random_range(0..7)]),
            _ => Attr::Ints(list(rng)),
        },
    }
}

/// One near to zero, or seldom one of those that overflow.
fn integer(rng: &mut SmallRng, near: std::ops::Range<i64>) -> i64 {
    let odd = [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 1 << 40, 1 << 62];
    if rng.random_bool(0.02) { *odd.choose(rng).unwrap() } else { rng.random_range(near) }
}

fn float(rng: &mut SmallRng) -> f64 {
    let odd = [f64::NAN, f64::INFINITY, f64::MIN, f64::MAX, f64::MIN_POSITIVE, 1e39, -0.0];
    if rng.random_bool(0.05) { *odd.choose(rng).unwrap() } else { rng.random_range(-1.0..2.0) }
}

/// A value of any kind, also of those that no op takes.
fn any_value(rng: &mut SmallRng) -> Attr {
    match rng.random_range(0..12) {
        0 => Attr::Int(integer(rng, -3..3)),
        1 => Attr::Float(float(rng)),
        2 => Attr::Bool(true),
        3 => "x".into(),
        4 => Attr::DType(DType::F32),
        5 => Attr::Shape(Shape::from([2])),
        6 => Attr::Ints(vec![1]),
        7 => Attr::Floats(vec![1.0]),
        8 => Attr::Bools(Vec::new()),
        9 => Attr::Strs(vec!["x".to_owned()]),
        10 => Attr::DTypes(vec![DType::F32]),
        _ => Attr::Shapes(vec![Shape::scalar()]),
    }
}

fn any(rng: &mut SmallRng, dtype: DType, dims: Vec<u64>) -> Tensor {
    let metadata = TensorMetadata::new(dtype, Shape::try_from(dims).unwrap());
    let most = if dtype == DType::Bool { 1 } else { u8::MAX };
    let bytes: Vec<u8> = (0..metadata.size_bytes().unwrap()).map(|_| rng.random_range(0..=most)).collect();
    Tensor::from_bytes(metadata, bytes.into()).unwrap()
}

/// OP-1, OP-3: `run` compares what is inferred to what comes out. Nothing panics, and what fails has a reason that the
/// caller can do something about.
#[test]
fn every_op_gives_what_it_said_or_refuses() {
    let mut rng = SmallRng::seed_from_u64(4);
    for op in base::all() {
        let mut made = 0;
        for round in 0..500 {
            let (rank, dtype) = (rng.random_range(0..4), *DType::ALL.choose(&mut rng).unwrap());
            let full = shape(&mut rng, rank);
            let count = match op.inputs {
                _ if rng.random_bool(0.02) => rng.random_range(0..5),
                (fewest, most) => rng.random_range(fewest..=most.min(fewest + 3)),
            };
            let inputs: Vec<Tensor> = (0..count)
                .map(|i| {
                    let dims = if rng.random() { part(&mut rng, &full) } else { full.clone() };
                    any(&mut rng, if op.name == "select" && i == 0 { DType::Bool } else { dtype }, dims)
                })
                .collect();
            let attrs = attrs(&mut rng, &op, rank);
            match run(op.name, &inputs, &attrs) {
                Ok(_) => made += 1,
                Err(error) => {
                    let reasons = [ErrorCode::InvalidArgument, ErrorCode::OutOfRange, ErrorCode::ResourceExhausted];
                    assert!(reasons.contains(&error.code), "round {round} of {} {attrs:?}: {error}", op.name);
                }
            }
        }
        assert!(made >= 10, "{} ran {made} times only", op.name);
    }
}
