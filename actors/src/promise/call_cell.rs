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

/// What is known of a call. Boxed: a client has a hundred thousand calls in flight, and of most nothing is known yet.
#[derive(Debug)]
enum State {
    /// Nothing.
    Pending,
    /// What outputs will be, ahead of the outcome.
    Known(Box<OutputMetadata>),
    /// Settled last (I2): the call is done.
    Done(Box<OutputMetadata>),
    /// The same: it failed. What was known before stays known.
    Failed(Box<(Error, OutputMetadata)>),
}

/// An output is not what was said of it before (I2).
fn differs(output: usize, given: &TensorMetadata, said: &TensorMetadata) -> String {
    format!(
        "output {output} as {given}, but {said} was said of it before: by its task, or by the signature that its program \
         was registered with"
    )
}

impl State {
    fn outcome(&self) -> Option<Result<()>> {
        match self {
            State::Pending | State::Known(_) => None,
            State::Done(_) => Some(Ok(())),
            State::Failed(failed) => Some(Err(failed.0.clone())),
        }
    }

    /// What was said of an output.
    fn said(&self, output: usize) -> Option<&TensorMetadata> {
        let metadata = match self {
            State::Pending => return None,
            State::Known(metadata) | State::Done(metadata) => metadata,
            State::Failed(failed) => &failed.1,
        };
        metadata.get(output)?.as_ref()
    }

    /// What is known of an output's metadata; it may be known long before the outcome.
    fn metadata(&self, output: usize) -> Option<Result<TensorMetadata>> {
        if let Some(metadata) = self.said(output) {
            return Some(Ok(metadata.clone()));
        }
        Some(Err(self.outcome()?.err().unwrap_or_else(|| {
            let message = format!("the call is done but nothing was said of output {output}'s metadata");
            Error::new(ErrorCode::Internal, message)
        })))
    }

    /// The metadata of an output whose value is ready.
    fn ready(&self, output: usize) -> Option<Result<TensorMetadata>> {
        match self.outcome()? {
            Ok(()) => self.metadata(output),
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether what is said now differs from what was said before.
    fn check(&self, output: usize, metadata: &TensorMetadata) -> Result<(), String> {
        match self.said(output) {
            Some(said) if said != metadata => Err(differs(output, metadata, said)),
            Some(_) | None => Ok(()),
        }
    }
}

/// The readers' side. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct CallCell(Arc<Shared<State>>);

/// The writer's side: one per call, owned by `PendingResults`. Dropped before the call is done, it fails what is left.
#[derive(Debug)]
pub struct CallWriter {
    /// `None` when it is settled.
    shared: Option<Arc<Shared<State>>>,
    /// Whether anything was said before the call is done, so that there is something to hold the end against.
    early: bool,
    outputs: u32,
}

/// A cell for a call with so many outputs.
pub(crate) fn call_cell(outputs: usize) -> (CallWriter, CallCell) {
    let shared = Arc::new(Shared::new(State::Pending));
    (CallWriter { shared: Some(shared.clone()), early: false, outputs: outputs as u32 }, CallCell(shared))
}

impl CallCell {
    pub(crate) async fn done(&self) -> Result<()> {
        Wait::new(self.0.clone(), State::outcome).await
    }

    pub(crate) fn try_done(&self) -> Option<Result<()>> {
        self.0.read(State::outcome)
    }

    pub(crate) async fn metadata(&self, output: usize) -> Result<TensorMetadata> {
        Wait::new(self.0.clone(), move |state: &State| state.metadata(output)).await
    }

    pub(crate) fn try_metadata(&self, output: usize) -> Option<Result<TensorMetadata>> {
        self.0.read(|state| state.metadata(output))
    }

    /// Whether an output's metadata is known.
    pub(crate) fn is_known(&self, output: usize) -> bool {
        self.0.read(|state| state.said(output).is_some())
    }

    pub(crate) async fn ready(&self, output: usize) -> Result<TensorMetadata> {
        Wait::new(self.0.clone(), move |state: &State| state.ready(output)).await
    }

    pub(crate) fn try_ready(&self, output: usize) -> Option<Result<TensorMetadata>> {
        self.0.read(|state| state.ready(output))
    }
}

impl CallWriter {
    /// An output's metadata is known before the call is done. The first value stands (I2): an error, which says what differs,
    /// if it was known to be something else, or if there is no such output; then the call is to fail.
    pub fn metadata(&mut self, output: usize, metadata: TensorMetadata) -> Result<(), String> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let outputs = self.outputs as usize;
        if output >= outputs {
            return Err(format!("metadata of output {output} of a call with {outputs} outputs"));
        }
        self.early = true;
        shared.write(|state| {
            state.check(output, &metadata)?;
            if let State::Pending = state {
                *state = State::Known(Box::new(SmallVec::from_elem(None, outputs)));
            }
            if let State::Known(known) = state {
                known[output].get_or_insert(metadata);
            }
            Ok(())
        })
    }

    /// What the caller itself inferred, before anybody knows of the call.
    pub(crate) fn infer(&mut self, inferred: OutputMetadata) {
        let Some(shared) = &self.shared else { return };
        self.early = inferred.iter().any(Option::is_some);
        if self.early {
            shared.write(|state| *state = State::Known(Box::new(inferred)));
        }
    }

    /// Whether what a reply says is what may be said: something or nothing of each output, and of none something else than was
    /// said before.
    pub(crate) fn check(&self, given: &OutputMetadata) -> Result<(), String> {
        let Some(shared) = &self.shared else { return Ok(()) };
        if given.len() != self.outputs as usize {
            return Err(format!("metadata of {} outputs, the call has {}", given.len(), self.outputs));
        }
        if !self.early {
            return Ok(());
        }
        let told = given.iter().enumerate().filter_map(|(i, metadata)| Some((i, metadata.as_ref()?)));
        shared.read(|state| told.into_iter().try_for_each(|(i, metadata)| state.check(i, metadata)))
    }

    /// The call is done (I2): everything that is not settled settles now. Metadata that settled early stays.
    pub fn complete(mut self, outcome: Result<OutputMetadata>) {
        if let Some(shared) = self.shared.take() {
            settle(&shared, outcome);
        }
    }
}

impl Drop for CallWriter {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            settle(&shared, Err(abandoned()));
        }
    }
}

fn settle(shared: &Shared<State>, outcome: Result<OutputMetadata>) {
    shared.write(|state| {
        let known = match std::mem::replace(state, State::Pending) {
            State::Known(known) => *known,
            State::Pending | State::Done(_) | State::Failed(_) => OutputMetadata::new(),
        };
        *state = match outcome {
            Ok(given) if known.is_empty() => State::Done(Box::new(given)),
            Ok(given) => {
                let mut given = given.into_iter();
                State::Done(Box::new(known.into_iter().map(|known| known.or(given.next().flatten())).collect()))
            }
            Err(error) => State::Failed(Box::new((error, known))),
        };
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
        let (mut writer, cell) = call_cell(2);
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

    /// I2: the first value stands, and what differs from it is an error that names both.
    #[tokio::test]
    async fn metadata_that_changes_is_refused() {
        let (mut writer, cell) = call_cell(2);
        writer.infer([Some(f32([1])), None].into_iter().collect());
        assert!(cell.is_known(0) && !cell.is_known(1) && cell.try_done().is_none());
        let why = writer.metadata(0, f32([2])).unwrap_err();
        assert!(why.contains("output 0 as f32[2], but f32[1] was said"), "{why}");
        writer.metadata(0, f32([1])).unwrap();
        writer.metadata(1, f32([3])).unwrap();
        let end = |metadata: [Option<TensorMetadata>; 2]| writer.check(&metadata.into_iter().collect());
        assert!(end([None, None]).is_ok() && end([Some(f32([1])), Some(f32([3]))]).is_ok());
        assert!(end([None, Some(f32([1]))]).is_err());
        let given = |count| writer.check(&smallvec::SmallVec::from_elem(None, count)).unwrap_err();
        assert_eq!(given(0), "metadata of 0 outputs, the call has 2");
        assert_eq!(given(3), "metadata of 3 outputs, the call has 2");
        assert_eq!((cell.metadata(0).await.unwrap(), cell.metadata(1).await.unwrap()), (f32([1]), f32([3])));
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
