//! Random numbers out of a seed: the same seed gives the same bytes, on every task of one version.

use rand::{
    Rng, SeedableRng,
    distr::{Distribution, Uniform},
    rngs::StdRng,
};
use remex_protocol::{
    attrs::Attrs,
    tensor::{Tensor, TensorMetadata},
};

use super::{
    BaseOp, Outcome, check,
    make::make,
    movement::shape,
    number::{Number, for_real},
};
use crate::programs::ProgramError;

pub(super) const OPS: &[BaseOp] = &[
    BaseOp {
        name: "random_uniform",
        inputs: (0, 0),
        attrs: &["dtype", "shape", "seed", "low", "high"],
        infer: |_, attrs| uniform(attrs).and_then(|_| infer(attrs)),
        run: |_, attrs, output| {
            let range = uniform(attrs)?;
            draw(attrs, output, move |rng| range.sample(rng))
        },
        shares: false,
    },
    BaseOp {
        name: "random_normal",
        inputs: (0, 0),
        attrs: &["dtype", "shape", "seed", "mean", "stddev"],
        infer: |_, attrs| normal(attrs).and_then(|_| infer(attrs)),
        run: |_, attrs, output| {
            let (mean, deviation) = normal(attrs)?;
            let mut pair = Pair(None);
            draw(attrs, output, move |rng| mean + deviation * pair.next(rng))
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

fn uniform(attrs: &Attrs) -> Outcome<Uniform<f64>> {
    let (low, high) = (*attrs.float_or("low", &0.0)?, *attrs.float_or("high", &1.0)?);
    Uniform::new(low, high).map_err(|_| {
        let why = "both must be finite and \"low\" below \"high\"";
        ProgramError::invalid(format!("attributes \"low\" and \"high\" are {low} and {high}; {why}"))
    })
}

fn normal(attrs: &Attrs) -> Outcome<(f64, f64)> {
    let (mean, deviation) = (*attrs.float_or("mean", &0.0)?, *attrs.float_or("stddev", &1.0)?);
    if !mean.is_finite() || !deviation.is_finite() || deviation < 0.0 {
        let why = "both must be finite and \"stddev\" not negative";
        return check::refuse(format!("attributes \"mean\" and \"stddev\" are {mean} and {deviation}; {why}"));
    }
    Ok((mean, deviation))
}

/// Numbers in row-major order, drawn as `f64` whatever they are stored as.
fn draw(attrs: &Attrs, output: TensorMetadata, mut next: impl FnMut(&mut StdRng) -> f64) -> Outcome<Tensor> {
    // Not `SmallRng`, which is another generator on 32 bits.
    let mut rng = StdRng::seed_from_u64(attrs.int("seed")?.cast_unsigned());
    for_real!(output.dtype, T => make::<T>(output, |mut array| {
        array.iter_mut().for_each(|to| *to = T::narrow(next(&mut rng) as <T as Number>::Wide));
        Ok(())
    }))
}

/// Normal numbers come in pairs (Box and Muller): the second one is kept for the next time.
struct Pair(Option<f64>);

impl Pair {
    fn next(&mut self, rng: &mut StdRng) -> f64 {
        if let Some(second) = self.0.take() {
            return second;
        }
        // In (0, 1]: of zero there is no logarithm.
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        self.0 = Some(radius * sine);
        radius * cosine
    }
}
