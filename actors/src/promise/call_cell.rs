//! All that is promised about one call: its chain, and the metadata and tensors of its outputs.

use std::sync::Arc;

use remex_protocol::{ErrorCode, tensor::TensorMetadata};
use smallvec::SmallVec;

use super::{
    shared::{Shared, Wait},
    single::abandoned,
};
use crate::{Error, Result};

/// Metadata of the outputs of a call, `None` where it is not known.
pub type OutputMetadata = SmallVec<[Option<TensorMetadata>; 1]>;

/// What is known of a call.
#[derive(Debug)]
struct State {
    /// Settled last (I2): how the call ended.
    outcome: Option<Result<()>>,
    metadata: OutputMetadata,
}

impl State {
    /// What is known of an output's metadata; it may be known long before the outcome.
    fn metadata(&self, output: usize) -> Option<Result<TensorMetadata>> {
        if let Some(Some(metadata)) = self.metadata.get(output) {
            return Some(Ok(metadata.clone()));
        }
        match self.outcome.as_ref()? {
            Ok(()) => Some(Err(Error::new(
                ErrorCode::Internal,
                format!("the call is done but nothing was said of output {output}'s metadata"),
            ))),
            Err(error) => Some(Err(error.clone())),
        }
    }

    /// The metadata of an output whose value is ready.
    fn ready(&self, output: usize) -> Option<Result<TensorMetadata>> {
        match self.outcome.as_ref()? {
            Ok(()) => self.metadata(output),
            Err(error) => Some(Err(error.clone())),
        }
    }
}

/// The readers' side. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct CallCell(Arc<Shared<State>>);

/// The writer's side: one per call, owned by `PendingResults`. Dropped before the call is done, it fails what is left.
#[derive(Debug)]
pub struct CallWriter(Option<Arc<Shared<State>>>);

/// A cell for a call with so many outputs.
pub(crate) fn call_cell(outputs: usize) -> (CallWriter, CallCell) {
    let metadata = SmallVec::from_elem(None, outputs);
    let shared = Arc::new(Shared::new(State { outcome: None, metadata }));
    (CallWriter(Some(shared.clone())), CallCell(shared))
}

impl CallCell {
    pub(crate) async fn done(&self) -> Result<()> {
        Wait::new(self.0.clone(), |state: &State| state.outcome.clone()).await
    }

    pub(crate) fn try_done(&self) -> Option<Result<()>> {
        self.0.read(|state| state.outcome.clone())
    }

    pub(crate) async fn metadata(&self, output: usize) -> Result<TensorMetadata> {
        Wait::new(self.0.clone(), move |state: &State| state.metadata(output)).await
    }

    pub(crate) fn try_metadata(&self, output: usize) -> Option<Result<TensorMetadata>> {
        self.0.read(|state| state.metadata(output))
    }

    pub(crate) async fn ready(&self, output: usize) -> Result<TensorMetadata> {
        Wait::new(self.0.clone(), move |state: &State| state.ready(output)).await
    }

    pub(crate) fn try_ready(&self, output: usize) -> Option<Result<TensorMetadata>> {
        self.0.read(|state| state.ready(output))
    }
}

impl CallWriter {
    /// An output's metadata is known before the call is done. A first value stands (I2): an error, which says what differs,
    /// if there is another one already, or no such output.
    pub fn metadata(&self, output: usize, metadata: TensorMetadata) -> Result<(), String> {
        let Some(shared) = &self.0 else { return Ok(()) };
        shared.write(|state| {
            let outputs = state.metadata.len();
            match state.metadata.get_mut(output) {
                None => Err(format!("metadata of output {output} of a call with {outputs} outputs")),
                Some(Some(said)) if *said != metadata => Err(differs(output, said, Some(&metadata))),
                Some(slot) => {
                    *slot = Some(metadata);
                    Ok(())
                }
            }
        })
    }

    /// Whether what a reply says of all outputs is what may be said: of each something, and of none something else than
    /// before.
    pub(crate) fn check(&self, given: &OutputMetadata) -> Result<(), String> {
        let Some(shared) = &self.0 else { return Ok(()) };
        shared.read(|state| {
            let outputs = state.metadata.len();
            if given.len() != outputs {
                return Err(format!("metadata of {} outputs, the call has {outputs}", given.len()));
            }
            let mut known = state.metadata.iter().zip(given).enumerate();
            known
                .find_map(|(output, (said, given))| match said {
                    Some(said) if given.as_ref() != Some(said) => Some(Err(differs(output, said, given.as_ref()))),
                    _ => None,
                })
                .unwrap_or(Ok(()))
        })
    }

    /// The call is done (I2): everything that is not settled settles now. Metadata that settled early stays.
    pub fn complete(mut self, outcome: Result<OutputMetadata>) {
        if let Some(shared) = self.0.take() {
            settle(&shared, outcome);
        }
    }
}

impl Drop for CallWriter {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            settle(&shared, Err(abandoned()));
        }
    }
}

fn differs(output: usize, said: &TensorMetadata, given: Option<&TensorMetadata>) -> String {
    match given {
        Some(given) => format!("output {output} is {given}, it said {said} before"),
        None => format!("nothing of output {output}, it said {said} before"),
    }
}

fn settle(shared: &Shared<State>, outcome: Result<OutputMetadata>) {
    shared.write(|state| {
        state.outcome = Some(outcome.map(|given| {
            for (slot, metadata) in state.metadata.iter_mut().zip(given) {
                if slot.is_none() {
                    *slot = metadata;
                }
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use remex_protocol::tensor::DType;

    use super::*;

    fn f32(dims: [u64; 1]) -> TensorMetadata {
        TensorMetadata::new(DType::F32, dims)
    }

    /// I2: metadata that settled early stays, the rest fails with one cause.
    #[tokio::test]
    async fn a_failed_call_fails_what_is_left() {
        let (writer, cell) = call_cell(2);
        writer.metadata(0, f32([1])).unwrap();
        assert!(writer.metadata(7, f32([1])).unwrap_err().contains("output 7 of a call with 2 outputs"));
        assert!(cell.try_ready(0).is_none() && cell.try_done().is_none() && cell.try_metadata(1).is_none());
        writer.complete(Err(Error::new(ErrorCode::Aborted, "x")));
        assert_eq!(cell.metadata(0).await.unwrap(), f32([1]));
        for error in
            [cell.metadata(1).await.unwrap_err(), cell.ready(0).await.unwrap_err(), cell.done().await.unwrap_err()]
        {
            assert_eq!(error.code(), ErrorCode::Aborted);
        }
    }

    /// I2: a first value stands, and a reply has to fit it and the call.
    #[tokio::test]
    async fn what_does_not_fit_is_said_and_changes_nothing() {
        let (writer, cell) = call_cell(2);
        writer.metadata(0, f32([1])).unwrap();
        writer.metadata(0, f32([1])).unwrap();
        assert_eq!(writer.metadata(0, f32([2])).unwrap_err(), "output 0 is f32[2], it said f32[1] before");
        let given = |metadata: &[Option<TensorMetadata>]| writer.check(&metadata.iter().cloned().collect());
        assert_eq!(given(&[Some(f32([1])), None]), Ok(()), "nobody asked for the second");
        assert_eq!(given(&[Some(f32([1])), Some(f32([9]))]), Ok(()));
        assert_eq!(given(&[]).unwrap_err(), "metadata of 0 outputs, the call has 2");
        assert_eq!(given(&[Some(f32([1])), None, None]).unwrap_err(), "metadata of 3 outputs, the call has 2");
        assert_eq!(given(&[Some(f32([3])), None]).unwrap_err(), "output 0 is f32[3], it said f32[1] before");
        assert_eq!(given(&[None, None]).unwrap_err(), "nothing of output 0, it said f32[1] before");
        assert_eq!(cell.try_metadata(0).unwrap().unwrap(), f32([1]));
        assert!(cell.try_done().is_none());
    }

    /// I1: dropping the writer settles everything with an error.
    #[tokio::test]
    async fn a_dropped_writer_fails_everything() {
        let (writer, cell) = call_cell(1);
        drop(writer);
        assert_eq!(cell.done().await.unwrap_err().code(), ErrorCode::Internal);
        assert_eq!(cell.ready(0).await.unwrap_err().code(), ErrorCode::Internal);
    }

    /// I2: an output of which nothing was said does not hang.
    #[tokio::test]
    async fn missing_metadata_of_a_done_call_is_an_error() {
        let (writer, cell) = call_cell(1);
        writer.complete(Ok(OutputMetadata::new()));
        assert!(cell.done().await.is_ok());
        assert_eq!(cell.metadata(0).await.unwrap_err().code(), ErrorCode::Internal);
        assert_eq!(cell.ready(0).await.unwrap_err().code(), ErrorCode::Internal);
    }
}
