//! What a `RemoteExecute` gives at once.

use smallvec::SmallVec;

use super::{Chain, ObjectRef, RemoteChain, TensorHandle};

/// What a call gives when it is admitted: long before it has run.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Settles when the call is done.
    pub chain: Chain,
    /// One for each output, in order; those that were given, where the caller gave them.
    pub outputs: SmallVec<[ObjectRef; 1]>,
    /// For the last N outputs that handles were asked for; for all where the outputs were given by the caller.
    pub handles: SmallVec<[TensorHandle; 1]>,
    /// A chain on the receiver for work there that is to come after; there if it was asked for.
    pub remote_chain: Option<RemoteChain>,
}
