//! What an op does.

use remex_protocol::{
    attrs::Attrs,
    tensor::{Tensor, TensorMetadata},
};

use crate::programs::ProgramError;

/// A function of tensors and attributes: the same inputs and attributes always give the same outputs.
///
/// Attributes and inputs come from callers on other tasks: nothing is right before it has been checked.
pub trait Op: Send + Sync + 'static {
    /// What calls name it by.
    fn name(&self) -> &str;

    /// How many outputs it gives.
    fn outputs(&self, attrs: &Attrs) -> usize {
        let _ = attrs;
        1
    }

    /// Refuses what can be seen to be wrong before anything is known of the inputs but their number: unknown attributes,
    /// too few inputs.
    fn check(&self, inputs: usize, attrs: &Attrs) -> Result<(), ProgramError> {
        let _ = (inputs, attrs);
        Ok(())
    }

    /// Refuses inputs and attributes that do not fit, and says what the outputs will be: `None` for one whose dtype or
    /// shape depends on the data. Runs on the arbiter, so it computes nothing that takes long.
    fn infer(&self, inputs: &[TensorMetadata], attrs: &Attrs) -> Result<Vec<Option<TensorMetadata>>, ProgramError>;

    /// Computes the outputs, which are what `infer` said.
    fn run(&self, inputs: &[Tensor], attrs: &Attrs) -> Result<Vec<Tensor>, ProgramError>;

    /// Whether a run takes less than 50 µs and may hold up the arbiter for that long; else it runs on the pool.
    fn is_cheap(&self, inputs: &[TensorMetadata], attrs: &Attrs) -> bool {
        let _ = (inputs, attrs);
        false
    }
}
