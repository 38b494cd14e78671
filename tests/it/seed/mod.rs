//! The faults of TFRT's distributed runtime: for each a test that would fail if remex had it.
//!
//! Their numbers, and what each was, stand in `src/guide/tfrt_map.md`. A test says at the start of its doc comment which
//! fault it is about. Those of pure state are beside the state.

mod execute;
mod execute_order;
mod fake;
mod membership;
mod worker;
mod worker_state;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use remex::{
    prelude::*,
    protocol::{
        calls::{DeleteMode, DeleteObjectsRequest, PutObjectRequest},
        ids::ObjectId,
    },
};

use crate::{raw::INDEX, support::vector};

/// A call has failed, and so has all that was promised of it, with the same error.
#[track_caller]
fn all_failed(call: &Execution) -> Error {
    let error = call.chain.try_get().expect("the chain has settled").unwrap_err();
    for handle in &call.handles {
        assert_eq!(handle.try_metadata().expect("the metadata has settled").unwrap_err(), error);
        assert_eq!(handle.try_tensor().expect("the tensor has settled").unwrap_err(), error);
    }
    error
}

/// A program that counts its runs and gives so many outputs.
fn counted(outputs: usize) -> (remex::Executable, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let program = native(move |_| {
        let run = count.fetch_add(1, Ordering::Relaxed);
        Ok(vec![vector(&[run as f32]); outputs])
    });
    (program.outputs(outputs), runs)
}

fn delete(objects: &[ObjectId]) -> DeleteObjectsRequest {
    DeleteObjectsRequest { context: INDEX, objects: objects.to_vec(), mode: DeleteMode::Delete }
}

fn put_object(object: ObjectId) -> PutObjectRequest {
    PutObjectRequest { context: INDEX, object, metadata: vector(&[0.0]).metadata().clone() }
}
