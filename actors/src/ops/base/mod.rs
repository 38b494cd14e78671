//! The base set: what an op of it is made of, and the list of all.

mod attributes;
mod cast;
mod check;
mod compare;
mod elementwise;
mod literal;
mod make;
mod matmul;
mod movement;
mod number;
mod random;
mod reduce;
mod shape;
mod source;
#[cfg(test)]
mod test;

use remex_protocol::{
    attrs::Attrs,
    tensor::{DType, Tensor, TensorMetadata},
};

use self::attributes::Attribute;
use super::Op;
use crate::programs::ProgramError;

type Outcome<T> = Result<T, ProgramError>;

/// An op with one output.
#[derive(Clone, Copy)]
pub(super) struct BaseOp {
    name: &'static str,
    /// Fewest and most inputs.
    inputs: (usize, usize),
    /// The attributes, those that must be given and those that may be.
    attrs: &'static [Attribute],
    /// Checks what it is given and says what the output will be.
    infer: fn(&[TensorMetadata], &Attrs) -> Outcome<TensorMetadata>,
    /// Computes the output, whose metadata has been inferred.
    run: fn(&[Tensor], &Attrs, TensorMetadata) -> Outcome<Tensor>,
    /// Whether the output has the input's bytes, and costs nothing.
    shares: bool,
}

/// Inputs and output together that any op is through with in less than 50 µs.
const CHEAP: u64 = 8 << 10;

/// All ops of the base set.
pub(super) fn all() -> impl Iterator<Item = BaseOp> {
    let families = [
        elementwise::OPS,
        compare::OPS,
        matmul::OPS,
        reduce::OPS,
        movement::OPS,
        shape::OPS,
        cast::OPS,
        source::OPS,
        random::OPS,
    ];
    families.into_iter().flatten().copied()
}

impl BaseOp {
    fn inferred(&self, inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<TensorMetadata> {
        self.check(inputs.len(), attrs)?;
        inputs.iter().enumerate().try_for_each(|(i, input)| check::array(i, input))?;
        (self.infer)(inputs, attrs)
    }

    fn check(&self, inputs: usize, attrs: &Attrs) -> Outcome<()> {
        let (fewest, most) = self.inputs;
        if inputs < fewest || inputs > most {
            let takes = if fewest == most { fewest.to_string() } else { format!("{fewest} to {most}") };
            return check::refuse(format!("takes {takes} inputs, {inputs} were given"));
        }
        attributes::check(self.attrs, attrs)
    }

    fn named(&self, error: ProgramError) -> ProgramError {
        ProgramError::new(error.code, format!("op {}: {}", self.name, error.message))
    }
}

impl Op for BaseOp {
    fn name(&self) -> &str {
        self.name
    }

    fn check(&self, inputs: usize, attrs: &Attrs) -> Outcome<()> {
        self.check(inputs, attrs).map_err(|error| self.named(error))
    }

    fn infer(&self, inputs: &[TensorMetadata], attrs: &Attrs) -> Outcome<Vec<Option<TensorMetadata>>> {
        self.inferred(inputs, attrs).map(|output| vec![Some(output)]).map_err(|error| self.named(error))
    }

    fn run(&self, inputs: &[Tensor], attrs: &Attrs) -> Outcome<Vec<Tensor>> {
        let metadata: Vec<_> = inputs.iter().map(|input| input.metadata().clone()).collect();
        let output = self.inferred(&metadata, attrs).and_then(|output| (self.run)(inputs, attrs, output));
        output.map(|output| vec![output]).map_err(|error| self.named(error))
    }

    fn is_cheap(&self, inputs: &[TensorMetadata], attrs: &Attrs) -> bool {
        let bytes = |tensor: &TensorMetadata| tensor.size_bytes().unwrap_or(u64::MAX);
        match self.inferred(inputs, attrs) {
            // Bytes that become bools, or are given as such once more, are looked at one by one.
            Ok(output) if self.shares && output.dtype != DType::Bool => true,
            Ok(output) => {
                let all = inputs.iter().map(bytes).fold(bytes(&output), u64::saturating_add);
                // Of an empty tensor with other long dimensions nothing is computed, either.
                all <= CHEAP
            }
            Err(_) => true,
        }
    }
}
