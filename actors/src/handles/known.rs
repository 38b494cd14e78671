//! What this task knows of an object's metadata.

use std::sync::OnceLock;

use remex_protocol::tensor::TensorMetadata;

use crate::promise::CallCell;

/// Set once, when this task puts the object or makes the call that gives it; of an object that others make it stays empty.
#[derive(Debug, Default)]
pub(super) struct Known(OnceLock<Source>);

#[derive(Debug)]
enum Source {
    /// Boxed: it is asked for seldom, and an object is made with every call.
    Said(Box<TensorMetadata>),
    /// What the call promises, as soon as it is settled, of this one of its outputs.
    Promised(CallCell, u32),
}

impl Known {
    pub(super) fn say(&self, metadata: TensorMetadata) {
        let _ = self.0.set(Source::Said(Box::new(metadata)));
    }

    pub(super) fn promise(&self, cell: CallCell, output: usize) {
        let _ = self.0.set(Source::Promised(cell, output as u32));
    }

    pub(super) fn metadata(&self) -> Option<TensorMetadata> {
        match self.0.get()? {
            Source::Said(metadata) => Some((**metadata).clone()),
            Source::Promised(cell, output) => cell.try_metadata(*output as usize)?.ok(),
        }
    }
}
