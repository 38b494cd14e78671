//! Random cases: broadcasting against a computation by index, and that every op gives what it said or refuses.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use remex_protocol::{
    attrs::{Attr, Attrs},
    tensor::{Bool, DType, Shape, Tensor, TensorMetadata},
};

use super::{none, ok, run, tensor};
use crate::ops::base;

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
fn attrs(rng: &mut SmallRng, names: &[&str], rank: usize) -> Attrs {
    let mut attrs = none();
    for &name in names {
        if rng.random_bool(0.1) {
            continue;
        }
        let list = |rng: &mut SmallRng| {
            let count = if rng.random_bool(0.7) { rank } else { rng.random_range(0..4) };
            (0..count).map(|_| rng.random_range(-3..4)).collect()
        };
        let value = match name {
            "axis" | "seed" => Attr::Int(rng.random_range(-3..3)),
            "keepdims" => Attr::Bool(rng.random()),
            "dtype" => Attr::DType(*DType::ALL.choose(rng).unwrap()),
            "low" | "high" | "mean" | "stddev" => Attr::Float(rng.random_range(-1.0..2.0)),
            "shape" if rng.random() => Attr::Shape(Shape::try_from(shape(rng, 2)).unwrap()),
            "values" if rng.random() => Attr::Float(1.0),
            "values" if rng.random() => Attr::Bool(true),
            "values" if rng.random() => Attr::Int(2),
            _ => Attr::Ints(list(rng)),
        };
        attrs.set(name, value);
    }
    attrs
}

fn any(rng: &mut SmallRng, dtype: DType, dims: Vec<u64>) -> Tensor {
    let metadata = TensorMetadata::new(dtype, Shape::try_from(dims).unwrap());
    let most = if dtype == DType::Bool { 1 } else { u8::MAX };
    let bytes: Vec<u8> = (0..metadata.size_bytes().unwrap()).map(|_| rng.random_range(0..=most)).collect();
    Tensor::from_bytes(metadata, bytes.into()).unwrap()
}

/// OP-1: `run` compares what is inferred to what comes out.
#[test]
fn every_op_gives_what_it_said() {
    let mut rng = SmallRng::seed_from_u64(4);
    for op in base::all() {
        let mut made = 0;
        for _ in 0..500 {
            let (rank, dtype) = (rng.random_range(0..4), *DType::ALL.choose(&mut rng).unwrap());
            let full = shape(&mut rng, rank);
            let count = if op.inputs.1 > 3 { rng.random_range(1..4) } else { op.inputs.0 };
            let inputs: Vec<Tensor> = (0..count)
                .map(|i| {
                    let dims = if rng.random() { part(&mut rng, &full) } else { full.clone() };
                    any(&mut rng, if op.name == "select" && i == 0 { DType::Bool } else { dtype }, dims)
                })
                .collect();
            let attrs = attrs(&mut rng, op.attrs, rank);
            made += u32::from(run(op.name, &inputs, &attrs).is_ok());
        }
        assert!(made >= 10, "{} ran {made} times only", op.name);
    }
}
