//! Files of numpy's.

use bytes::Bytes;
use remex_protocol::tensor::{Tensor, TensorError, npy};

use crate::memory;

/// The input is a file.
pub(super) fn run(input: &[u8]) {
    let file = Bytes::copy_from_slice(input);
    let (tensor, usage) = memory::measure(|| npy::from_bytes(&file));
    // The header's text, and the data once or twice.
    assert!(usage.peak <= (256 << 10) + 4 * input.len(), "{} bytes came, {usage:?}", input.len());
    match (tensor, npy::read(&mut &*file)) {
        (Ok(a), Ok(b)) => {
            assert!(a == b, "a file in memory is the same tensor as a stream: {:?} {:?}", a.metadata(), b.metadata());
            again(&a);
        }
        // A stream is as long as its header says until it ends, so there may be no memory for it.
        (_, Err(npy::NpyError::Tensor(TensorError::OutOfMemory(_)))) => {}
        (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string(), "both ways find the same fault"),
        (a, b) => panic!("in memory {a:?}, as a stream {b:?}"),
    }
}

fn again(tensor: &Tensor) {
    let bytes = npy::to_bytes(tensor).expect("what was read can be written");
    let same = npy::from_bytes(&Bytes::from(bytes)).expect("what was written can be read");
    assert!(same == *tensor, "{:?} {:?}", same.metadata(), tensor.metadata());
}
