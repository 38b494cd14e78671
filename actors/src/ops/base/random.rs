//! Random numbers out of a seed: the same seed gives the same bytes, on every task and in every version.
//!
//! The numbers are what callers have seen, so that nothing here may follow what a library thinks of as its default: the
//! generator is ChaCha with 8 rounds, its key the seed's 8 bytes (little-endian) and 24 zeros, its nonce zero. Each draw
//! takes 64 bits of the key stream, and the upper 53 of them are a fraction of one.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use remex_protocol::{
    attrs::Attrs,
    tensor::{DType, Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome,
    attributes::{Kind, optional, required},
    check,
    make::make,
    movement::shape,
    number::{Number, Real, for_real},
};

pub(super) const OPS: &[BaseOp] = &[
    BaseOp {
        name: "random_uniform",
        inputs: (0, 0),
        attrs: &[
            required("dtype", Kind::DType),
            required("shape", Kind::Shape),
            required("seed", Kind::Int),
            optional("low", Kind::Float),
            optional("high", Kind::Float),
        ],
        infer: |_, attrs| {
            let output = infer(attrs)?;
            uniform(attrs, output.dtype)?;
            Ok(output)
        },
        run: |_, attrs, output| {
            let (low, high) = uniform(attrs, output.dtype)?;
            draw(attrs, output, |rng| low + (high - low) * fraction(rng), |x| x < high)
        },
        shares: false,
    },
    BaseOp {
        name: "random_normal",
        inputs: (0, 0),
        attrs: &[
            required("dtype", Kind::DType),
            required("shape", Kind::Shape),
            required("seed", Kind::Int),
            optional("mean", Kind::Float),
            optional("stddev", Kind::Float),
        ],
        infer: |_, attrs| {
            let output = infer(attrs)?;
            normal(attrs, output.dtype)?;
            Ok(output)
        },
        run: |_, attrs, output| {
            let (mean, deviation) = normal(attrs, output.dtype)?;
            let mut pair = Pair(None);
            draw(attrs, output, move |rng| mean + deviation * pair.next(rng), |_| true)
        },
        shares: false,
    },
];

fn infer(attrs: &Attrs) -> Outcome<TensorMetadata> {
    attrs.int("seed")?;
    let dtype = *attrs.dtype("dtype")?;
    if !check::FLOATS.contains(&dtype) {
        let names: Vec<_> = check::FLOATS.iter().map(|dtype| dtype.name()).collect();
        return check::refuse(format!("attribute \"dtype\" is {dtype}, it must be one of {}", names.join(", ")));
    }
    check::output(dtype, shape(attrs)?)
}

/// The bounds as the numbers of the output's type that they are nearest to.
fn uniform(attrs: &Attrs, dtype: DType) -> Outcome<(f64, f64)> {
    let (low, high) = (*attrs.float_or("low", &0.0)?, *attrs.float_or("high", &1.0)?);
    let (least, most) = (stored(low, dtype)?, stored(high, dtype)?);
    // Of bounds that are not finite the difference is not, either.
    if (most - least).is_finite() && least < most {
        return Ok((least, most));
    }
    let why = "both, and their difference, must be finite and \"low\" below \"high\"";
    check::refuse(format!(
        "attributes \"low\" and \"high\" are {low:?} and {high:?}, as {dtype} {least:?} and {most:?}; {why}"
    ))
}

fn normal(attrs: &Attrs, dtype: DType) -> Outcome<(f64, f64)> {
    let (mean, deviation) = (*attrs.float_or("mean", &0.0)?, *attrs.float_or("stddev", &1.0)?);
    let finite = stored(mean, dtype)?.is_finite() && stored(deviation, dtype)?.is_finite();
    if !finite || deviation < 0.0 {
        let why = format!("both must be finite as {dtype} and \"stddev\" not negative");
        return check::refuse(format!("attributes \"mean\" and \"stddev\" are {mean:?} and {deviation:?}; {why}"));
    }
    Ok((mean, deviation))
}

/// The number of a type that is nearest to `x`.
fn stored(x: f64, dtype: DType) -> Outcome<f64> {
    for_real!(dtype, T => Ok(to_f64(narrow::<T>(x))))
}

fn narrow<T: Number<Wide: Real>>(x: f64) -> T {
    T::narrow(Real::of_f64(x))
}

fn to_f64<T: Number<Wide: Real>>(x: T) -> f64 {
    x.wide().to_f64()
}

/// Numbers in row-major order, drawn as `f64` whatever they are stored as. One that is not `wanted` as it is stored is
/// drawn again.
fn draw(
    attrs: &Attrs,
    output: TensorMetadata,
    mut next: impl FnMut(&mut ChaCha8Rng) -> f64,
    wanted: impl Fn(f64) -> bool,
) -> Outcome<Tensor> {
    let mut key = <ChaCha8Rng as SeedableRng>::Seed::default();
    key[..8].copy_from_slice(&attrs.int("seed")?.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    for_real!(output.dtype, T => make::<T>(output, |mut array| {
        array.iter_mut().for_each(|to| {
            // Not many times: at most about half of the interval is rounded up to its end.
            *to = loop {
                let drawn = narrow::<T>(next(&mut rng));
                if wanted(to_f64(drawn)) {
                    break drawn;
                }
            };
        });
        Ok(())
    }))
}

/// In [0, 1), a multiple of 2^-53.
fn fraction(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Normal numbers come in pairs (Box and Muller): the second one is kept for the next time.
struct Pair(Option<f64>);

impl Pair {
    fn next(&mut self, rng: &mut ChaCha8Rng) -> f64 {
        if let Some(second) = self.0.take() {
            return second;
        }
        // In (0, 1]: of zero there is no logarithm.
        let radius = (-2.0 * (1.0 - fraction(rng)).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * fraction(rng)).sin_cos();
        self.0 = Some(radius * sine);
        radius * cosine
    }
}
