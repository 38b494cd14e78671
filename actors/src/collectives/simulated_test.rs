//! Whole groups on a simulated network, against one process that computes the same.

use half::{bf16, f16};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use remex_protocol::{
    collective::{CollectiveOp, Reduction},
    tensor::{DType, Element, Shape, Tensor},
};

use super::{
    numbers::with_number,
    simulated::{Network, Order, Terms},
};

/// An element that the test can draw, and reduce in the plainest way.
trait Plain: Element + PartialEq {
    /// One whose reduction is exact, so that the order of the members does not matter.
    fn draw(rng: &mut SmallRng, reduction: Reduction) -> Self;
    fn reduce(reduction: Reduction, all: &[Self]) -> Self;
    fn same(self, other: Self) -> bool {
        self == other
    }
}

macro_rules! plain_floats {
    ($($ty:ident)*) => {$(
        impl Plain for $ty {
            fn draw(rng: &mut SmallRng, reduction: Reduction) -> Self {
                let x = match reduction {
                    Reduction::Prod => [1.0, -1.0, 2.0, 0.5][rng.random_range(0..4)],
                    Reduction::Min | Reduction::Max if rng.random_bool(0.02) => f64::NAN,
                    Reduction::Min | Reduction::Max if rng.random_bool(0.02) => f64::INFINITY,
                    _ => f64::from(rng.random_range(-8i32..9)),
                };
                from_f64!($ty, x)
            }
            fn reduce(reduction: Reduction, all: &[Self]) -> Self {
                let all = all.iter().map(|&x| f64::from(x));
                let least = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) };
                let greatest = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
                let count = all.len() as f64;
                let result = match reduction {
                    Reduction::Sum => all.sum(),
                    Reduction::Mean => all.sum::<f64>() / count,
                    Reduction::Prod => all.product(),
                    Reduction::Min => all.reduce(least).unwrap(),
                    Reduction::Max => all.reduce(greatest).unwrap(),
                    _ => unreachable!(),
                };
                from_f64!($ty, result)
            }
            fn same(self, other: Self) -> bool {
                self == other || (self.is_nan() && other.is_nan())
            }
        }
    )*};
}

macro_rules! from_f64 {
    (f64, $x:expr) => {
        $x
    };
    (f32, $x:expr) => {
        $x as f32
    };
    ($ty:ident, $x:expr) => {
        $ty::from_f64($x)
    };
}

macro_rules! plain_integers {
    ($($ty:ident)*) => {$(
        impl Plain for $ty {
            fn draw(rng: &mut SmallRng, _: Reduction) -> Self {
                rng.random()
            }
            fn reduce(reduction: Reduction, all: &[Self]) -> Self {
                let sum = all.iter().map(|&x| x as i128).sum::<i128>() as $ty;
                match reduction {
                    Reduction::Sum => sum,
                    Reduction::Mean => (sum as i128 / all.len() as i128) as $ty,
                    Reduction::Prod => all.iter().fold(1, |product: $ty, &x| product.wrapping_mul(x)),
                    Reduction::Min => *all.iter().min().unwrap(),
                    Reduction::Max => *all.iter().max().unwrap(),
                    _ => unreachable!(),
                }
            }
        }
    )*};
}

plain_floats! { f32 f64 f16 bf16 }
plain_integers! { i8 u8 i16 u16 i32 u32 i64 u64 }

/// What the caller gives, and what the case is called when it fails.
struct Case {
    rng: SmallRng,
    seed: u64,
    members: u16,
    terms: Terms,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        // Every number of members often enough, small ones more often.
        let members = if rng.random_bool(0.5) { rng.random_range(1..=5) } else { rng.random_range(1..=32) };
        let order = if rng.random_bool(0.5) { Order::Links } else { Order::Any };
        let chunk = [8, 16, 64, 256][rng.random_range(0..4)];
        let window = [1, 2, 32][rng.random_range(0..3)];
        Self { rng, seed, members, terms: Terms { seed, order, chunk, window } }
    }

    /// From no element to some hundred; fewer than members, and a scalar, among them.
    fn dims(&mut self) -> Vec<u64> {
        let rank = self.rng.random_range(0..4);
        let longest = if rank == 1 { 100 } else { 6 };
        (0..rank).map(|_| self.rng.random_range(0..=longest)).collect()
    }

    fn tensor<T: Plain>(&mut self, dims: &[u64], reduction: Reduction) -> Tensor {
        let shape = Shape::try_from(dims).unwrap();
        let elements: Vec<T> = (0..shape.elements().unwrap()).map(|_| T::draw(&mut self.rng, reduction)).collect();
        Tensor::from_slice(shape, &elements).unwrap()
    }

    fn run(&self, op: CollectiveOp, inputs: &[Tensor]) -> Vec<Tensor> {
        let before: Vec<Vec<u8>> = inputs.iter().map(|input| input.bytes().to_vec()).collect();
        let members = inputs.iter().map(|input| (op, Some(input.clone()))).collect();
        let results = Network::new(self.terms.clone(), members).run().results();
        for (input, before) in inputs.iter().zip(before) {
            assert_eq!(input.bytes()[..], before[..], "CO-4, seed {}: the input was written to", self.seed);
        }
        results.into_iter().map(|result| result.unwrap()).collect()
    }

    fn reduce<T: Plain>(&mut self) {
        let reduction = Reduction::ALL[self.rng.random_range(0..5)];
        let dims = self.dims();
        let inputs: Vec<_> = (0..self.members).map(|_| self.tensor::<T>(&dims, reduction)).collect();
        let all: Vec<&[T]> = inputs.iter().map(|input| input.elements().unwrap()).collect();
        let column = |i: usize| all.iter().map(|elements| elements[i]).collect::<Vec<T>>();
        let expected: Vec<T> = (0..all[0].len()).map(|i| T::reduce(reduction, &column(i))).collect();
        let what = format!("seed {}: {reduction:?} of {} {}{dims:?}", self.seed, self.members, T::DTYPE);
        let same = |result: &[T], expected: &[T]| {
            result.len() == expected.len() && result.iter().zip(expected).all(|(a, b)| a.same(*b))
        };
        for result in self.run(CollectiveOp::AllReduce(reduction), &inputs) {
            assert_eq!(result.shape().dims(), dims, "{what}");
            let result = result.elements::<T>().unwrap();
            assert!(same(result, &expected), "{what}: {result:?} is not {expected:?}");
        }
        let Some(&rows) = dims.first() else { return };
        let row = dims[1..].iter().product::<u64>();
        for (me, result) in self.run(CollectiveOp::ReduceScatter(reduction), &inputs).into_iter().enumerate() {
            let bound = |part: usize| rows * part as u64 / u64::from(self.members);
            let (begin, end) = (bound(me), bound(me + 1));
            assert_eq!((result.shape().dims()[0], &result.shape().dims()[1..]), (end - begin, &dims[1..]), "{what}");
            let expected = &expected[(begin * row) as usize..(end * row) as usize];
            assert!(same(result.elements::<T>().unwrap(), expected), "{what}: part {me}");
        }
    }

    fn gather<T: Plain>(&mut self) {
        let mut dims = self.dims();
        if dims.is_empty() {
            dims.push(3);
        }
        let axis = self.rng.random_range(0..dims.len());
        let any = self.rng.random_bool(0.5);
        let inputs: Vec<_> = (0..self.members)
            .map(|_| {
                if any {
                    dims[axis] = self.rng.random_range(0..5);
                }
                self.tensor::<T>(&dims, Reduction::Sum)
            })
            .collect();
        let total: u64 = inputs.iter().map(|input| input.shape().dims()[axis]).sum();
        let (outer, inner): (u64, u64) = (dims[..axis].iter().product(), dims[axis + 1..].iter().product());
        let mut expected: Vec<T> = Vec::new();
        for row in 0..outer {
            for input in &inputs {
                let length = input.shape().dims()[axis] * inner;
                let begin = (row * length) as usize;
                expected.extend(&input.elements::<T>().unwrap()[begin..begin + length as usize]);
            }
        }
        dims[axis] = total;
        let axis = axis as u16;
        let op = if any { CollectiveOp::AllGatherAnyShape { axis } } else { CollectiveOp::AllGather { axis } };
        for result in self.run(op, &inputs) {
            assert_eq!(result.shape().dims(), dims, "seed {}: {op} of {}", self.seed, self.members);
            assert!(result.elements::<T>().unwrap() == expected, "seed {}: {op} of {}", self.seed, self.members);
        }
    }

    fn broadcast<T: Plain>(&mut self) {
        let root = self.rng.random_range(0..self.members);
        let dims = self.dims();
        let tensor = self.tensor::<T>(&dims, Reduction::Sum);
        let op = CollectiveOp::Broadcast { root };
        let members = (0..self.members).map(|member| (op, (member == root).then(|| tensor.clone()))).collect();
        for result in Network::new(self.terms.clone(), members).run().results() {
            assert_eq!(result.unwrap(), tensor, "seed {}: {op} of {}", self.seed, self.members);
        }
    }

    fn barrier(&mut self) {
        let members = vec![(CollectiveOp::Barrier, None); self.members.into()];
        let mut network = Network::new(self.terms.clone(), members).without(0);
        while network.step() {}
        let others = usize::from(self.members) - 1;
        assert_eq!(network.ended().iter().flatten().count(), 0, "seed {}: {others} others went on alone", self.seed);
        network.join(0);
        assert!(network.run().results().iter().all(Option::is_none), "seed {}", self.seed);
    }
}

/// Some reductions, gathers, broadcasts and barriers, as the seed says.
fn check(seed: u64) {
    let mut case = Case::new(seed);
    let dtypes: Vec<_> = DType::ALL.iter().filter(|dtype| **dtype != DType::Bool).collect();
    let dtype = *dtypes[case.rng.random_range(0..dtypes.len())];
    match case.rng.random_range(0..8) {
        0..=3 => with_number!(dtype, T => case.reduce::<T>()),
        4..=5 => with_number!(dtype, T => case.gather::<T>()),
        6 => with_number!(dtype, T => case.broadcast::<T>()),
        _ => {
            case.barrier();
            Some(())
        }
    };
}

/// CO-1, CO-4: members, shapes, axes, types, chunks, windows and orders of arrival drawn a thousand times.
#[test]
fn a_thousand_collectives_give_what_one_process_computes() {
    (0..1000).for_each(check);
}

/// TFRT §3.5-3: fewer elements than members killed the process, and the input was overwritten. Here neither happens (CO-4).
#[test]
fn every_number_of_members_reduces_every_small_number_of_elements() {
    for members in 1..=32u16 {
        for elements in [0, 1, 2, u64::from(members), 33] {
            let mut case = Case::new(elements);
            case.members = members;
            let inputs: Vec<_> = (0..members).map(|_| case.tensor::<i32>(&[elements], Reduction::Sum)).collect();
            let expected: Vec<i32> = (0..elements as usize)
                .map(|i| inputs.iter().fold(0, |sum: i32, x| sum.wrapping_add(x.elements::<i32>().unwrap()[i])))
                .collect();
            for result in case.run(CollectiveOp::AllReduce(Reduction::Sum), &inputs) {
                assert_eq!(result.elements::<i32>().unwrap(), expected, "{members} members, {elements} elements");
            }
        }
    }
}

/// Sums of real numbers differ by rounding from those of another order, but not between members.
#[test]
fn all_members_get_the_same_bits() {
    let mut case = Case::new(1);
    case.members = 7;
    let draw = |rng: &mut SmallRng| (0..100).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
    let inputs: Vec<_> = (0..7).map(|_| Tensor::from_slice([100], &draw(&mut case.rng)).unwrap()).collect();
    let results = case.run(CollectiveOp::AllReduce(Reduction::Mean), &inputs);
    for (i, &mean) in results[0].elements::<f32>().unwrap().iter().enumerate() {
        let exact = inputs.iter().map(|x| f64::from(x.elements::<f32>().unwrap()[i])).sum::<f64>() / 7.0;
        assert!((f64::from(mean) - exact).abs() < 1e-6, "element {i}: {mean} is not {exact}");
    }
    assert!(results.iter().all(|result| result == &results[0]));
}
