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
    /// An output's metadata is known before the call is done. An output that the call does not have, or whose metadata
    /// is known already, is passed over.
    pub fn metadata(&self, output: usize, metadata: TensorMetadata) {
        let Some(shared) = &self.0 else { return };
        shared.write(|state| {
            if let Some(slot @ None) = state.metadata.get_mut(output) {
                *slot = Some(metadata);
            }
        });
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
        writer.metadata(0, f32([1]));
        writer.metadata(7, f32([1]));
        assert!(cell.try_ready(0).is_none() && cell.try_done().is_none() && cell.try_metadata(1).is_none());
        writer.complete(Err(Error::new(ErrorCode::Aborted, "x")));
        assert_eq!(cell.metadata(0).await.unwrap(), f32([1]));
        for error in
            [cell.metadata(1).await.unwrap_err(), cell.ready(0).await.unwrap_err(), cell.done().await.unwrap_err()]
        {
            assert_eq!(error.code(), ErrorCode::Aborted);
        }
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
