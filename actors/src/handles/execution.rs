//! What a `RemoteExecute` gives at once.

use super::{Chain, ObjectRef, TensorHandle};

/// What a call gives when it is admitted: long before it has run.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Settles when the call is done.
    pub chain: Chain,
    /// One for each output, in order; empty where the outputs were given by the caller.
    pub outputs: Vec<ObjectRef>,
    /// For the last N outputs that handles were asked for; for all where the outputs were given by the caller.
    pub handles: Vec<TensorHandle>,
}
